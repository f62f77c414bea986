import type { Size } from '../protocol/link.js';
import { allottedBy, allottedOwnCores, allottedSize, CPU_OVERCOMMIT, ownCoresOf, takes } from './brain/allotted.js';
import type { InstanceRecord } from './instance-table.js';
import type { Observed } from './observed.js';

/** What is left on a host: to allot, and of cores that it can give to single instances. */
interface Room extends Size {
  ownCores: number;
}

type Grows = Pick<InstanceRecord, 'host' | 'exclusive'>;

/** What is left to allot on each host; worked out for those that are asked for. Sizes are upper bounds: cores count four times. */
export class HostRooms {
  readonly #known = new Map<string, Room>();

  constructor(
    private readonly onHost: (name: string) => readonly InstanceRecord[],
    private readonly observed: Observed,
  ) {}

  /** What an instance there can grow by. */
  for({ host, exclusive = false }: Grows): Size {
    const { cpu, memory, ownCores } = this.on(host);
    return { cpu: exclusive ? Math.floor(Math.min(cpu / CPU_OVERCOMMIT, ownCores)) : cpu, memory };
  }

  /** Of a host that has not been seen nothing is known, so nothing on it grows. */
  on(name: string): Room {
    let room = this.#known.get(name);
    if (room !== undefined) return room;
    const { cores = 0, memoryBytes = 0, ownCores = 0 } = this.observed.hosts.get(name)?.info ?? {};
    const allotted = allottedBy(this.onHost(name));
    const { cpu, memory } = allottedSize(allotted);
    room = {
      cpu: exact(cores * CPU_OVERCOMMIT - cpu),
      memory: memoryBytes - memory,
      ownCores: ownCores - allottedOwnCores(allotted),
    };
    this.#known.set(name, room);
    return room;
  }

  take({ host, exclusive = false }: Grows, before: Size, after: Size): void {
    const room = this.on(host);
    const change = { cpu: after.cpu - before.cpu, memory: after.memory - before.memory };
    room.cpu -= takes({ size: change, exclusive }).cpu;
    room.memory -= change.memory;
    room.ownCores -= ownCoresOf({ size: change, exclusive });
  }

  /**
   * Cores that each of a component's instances can have where it is: those on one host share what they have and what is
   * left. So it does not change with how large they are now, but with what others take.
   */
  reachOf(instances: readonly InstanceRecord[]): number[] {
    const hosts = new Map<string, { cpu: number; count: number }>();
    for (const instance of instances) {
      const { host, size } = instance;
      const known = hosts.get(host) ?? { cpu: Math.max(0, this.for(instance).cpu), count: 0 };
      hosts.set(host, { cpu: known.cpu + size.cpu, count: known.count + 1 });
    }
    return instances.map(({ host }) => {
      const { cpu = 0, count = 1 } = hosts.get(host) ?? {};
      return exact(cpu / count);
    });
  }
}

/** Whole millionths, not rounded up: a host that is full to the last digit has neither more nor less than that. */
function exact(cpu: number): number {
  return Math.floor(cpu * 1e6 + 1e-3) / 1e6;
}
