import type { Size } from '../protocol/link.js';
import { CPU_OVERCOMMIT } from './brain/placement.js';
import type { InstanceRecord } from './instance-table.js';
import type { Observed } from './observed.js';

/** What is left to allot on each host; worked out for those that are asked for. Sizes are upper bounds: cores count four times. */
export class HostRooms {
  readonly #known = new Map<string, Size>();

  constructor(
    private readonly onHost: (name: string) => readonly InstanceRecord[],
    private readonly observed: Observed,
  ) {}

  /** Of a host that has not been seen nothing is known, so nothing on it grows. */
  on(name: string): Size {
    let room = this.#known.get(name);
    if (room !== undefined) return room;
    const info = this.observed.hosts.get(name)?.info;
    room = { cpu: (info?.cores ?? 0) * CPU_OVERCOMMIT, memory: info?.memoryBytes ?? 0 };
    for (const { size } of this.onHost(name)) {
      room.cpu -= size.cpu;
      room.memory -= size.memory;
    }
    this.#known.set(name, room);
    return room;
  }

  take(name: string, before: Size, after: Size): void {
    const room = this.on(name);
    room.cpu -= after.cpu - before.cpu;
    room.memory -= after.memory - before.memory;
  }

  /**
   * Cores that each of a component's instances can have where it is: those on one host share what they have and what is
   * left. So it does not change with how large they are now, but with what others take.
   */
  reachOf(instances: readonly InstanceRecord[]): number[] {
    const hosts = new Map<string, { cpu: number; count: number }>();
    for (const { host, size } of instances) {
      const known = hosts.get(host) ?? { cpu: Math.max(0, this.on(host).cpu), count: 0 };
      hosts.set(host, { cpu: known.cpu + size.cpu, count: known.count + 1 });
    }
    return instances.map(({ host }) => {
      const { cpu = 0, count = 1 } = hosts.get(host) ?? {};
      return cpu / count;
    });
  }
}
