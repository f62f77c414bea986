import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import type { Kind, NetCluster, Part } from '../cluster/net-cluster.js';

const run = promisify(execFile);

/** What goes wrong for so many ms, and is mended then. */
export interface Fault {
  name: string;
  lastsMs: number;
  begin(): Promise<void>;
  /** What of it does not pass by itself. */
  mend(): Promise<void>;
}

const nothing = (): Promise<void> => Promise.resolve();
/** Of the tmpfs that a host's state is on. */
const DISK_BYTES = 32 * 2 ** 20;

/** Chooses faults, all chance from one series of numbers: the same seed, the same faults in the same order. */
export class Nemesis {
  constructor(
    private readonly cluster: NetCluster,
    private readonly random: () => number,
  ) {}

  next(): Fault {
    const kinds = [
      () => this.#kill(this.#one('coordinator')),
      () => this.#kill(this.#one('agent')),
      () => this.#kill(this.#one('etcd')),
      () => this.#stop(this.#one('coordinator')),
      () => this.#stop(this.#one('agent')),
      () => this.#stop(this.#one('etcd')),
      () => this.#cut('both'),
      () => this.#cut('in'),
      () => this.#cut('out'),
      () => this.#lose(),
      () => this.#slow(),
      () => this.#late(),
      () => this.#storm(),
      () => this.#fill(),
      () => this.#setClock(),
    ];
    return (kinds[Math.floor(this.random() * kinds.length)] as () => Fault)();
  }

  #between(low: number, high: number): number {
    return low + (high - low) * this.random();
  }

  #pick<T>(list: readonly T[]): T {
    return list[Math.floor(this.random() * list.length)] as T;
  }

  #one(kind: Kind): Part {
    return this.#pick(this.cluster.parts.filter((part) => part.kind === kind));
  }

  #machine(): string {
    return this.#pick([...this.cluster.coordinators, ...this.cluster.hosts]);
  }

  #kill(part: Part): Fault {
    const lastsMs = this.#between(0, 5_000);
    const begin = () => this.cluster.kill(part, lastsMs);
    return { name: `SIGKILL ${part.kind} of ${part.machine}`, lastsMs, begin, mend: nothing };
  }

  #stop(part: Part): Fault {
    const begin = () => this.cluster.signal(part, 'SIGSTOP');
    const mend = () => this.cluster.signal(part, 'SIGCONT');
    const name = `SIGSTOP ${part.kind} of ${part.machine}`;
    return { name, lastsMs: this.#between(500, 15_000), begin, mend };
  }

  #cut(direction: 'both' | 'in' | 'out'): Fault {
    const machine = this.#machine();
    const begin = () => this.cluster.rack.drop(machine, direction);
    const name = `${machine} is cut off, ${direction}`;
    return { name, lastsMs: this.#between(1_000, 20_000), begin, mend: () => this.cluster.rack.heal(machine) };
  }

  #lose(): Fault {
    const [machine, probability] = [this.#machine(), this.#between(0.05, 0.3)];
    const begin = () => this.cluster.rack.drop(machine, 'both', Number(probability.toFixed(2)));
    const name = `${machine} loses ${Math.round(probability * 100)} % of packets`;
    return { name, lastsMs: this.#between(2_000, 15_000), begin, mend: () => this.cluster.rack.heal(machine) };
  }

  #slow(): Fault {
    const [machine, kilobits] = [this.#machine(), Math.round(this.#between(50, 500))];
    const begin = () => this.cluster.rack.slow(machine, kilobits);
    const name = `${machine} sends ${kilobits} kbit/s`;
    return { name, lastsMs: this.#between(2_000, 15_000), begin, mend: () => this.cluster.rack.heal(machine) };
  }

  /** A far network: delay that varies so much that packets overtake one another, and some that come twice. */
  #late(): Fault {
    const [machine, fromMs, moreMs] = [this.#machine(), this.#between(5, 100), this.#between(0, 150)];
    const [twicePermille, seed] = [Math.round(this.#between(0, 100)), Math.floor(this.random() * 2 ** 31)];
    const begin = () => this.cluster.rack.late(machine, { fromMs, toMs: fromMs + moreMs, twicePermille, seed });
    const late = `${Math.round(fromMs)} to ${Math.round(fromMs + moreMs)} ms late`;
    const name = `${machine} is ${late}, ${twicePermille / 10} % of packets come twice`;
    return { name, lastsMs: this.#between(2_000, 15_000), begin, mend: () => this.cluster.rack.heal(machine) };
  }

  /** All agents at once, and one again and again. */
  #storm(): Fault {
    const agents = this.cluster.parts.filter(({ kind }) => kind === 'agent');
    const one = this.#pick(agents);
    const begin = async () => {
      await Promise.all(agents.map((part) => this.cluster.kill(part, 0)));
      for (let again = 0; again < 3; again += 1) {
        await new Promise((resolve) => setTimeout(resolve, 700));
        await this.cluster.kill(one, 0);
      }
    };
    return { name: `restart storm of agents, most at ${one.machine}`, lastsMs: 0, begin, mend: nothing };
  }

  /** The clock on the wall jumps, and back: by a second up to most of an hour, for which certificates of now are made. */
  #setClock(): Fault {
    const machine = this.#machine();
    const aheadMs = Math.round((this.random() < 0.5 ? -1 : 1) * 1_000 * 3_000 ** this.random());
    const name = `the clock of ${machine} is set ${aheadMs} ms ahead`;
    const begin = () => this.cluster.setClock(machine, aheadMs);
    return { name, lastsMs: this.#between(500, 15_000), begin, mend: () => this.cluster.setClock(machine, 0) };
  }

  /** The disk of a host is full. */
  #fill(): Fault {
    const run = this.cluster.runOf(this.#pick(this.cluster.hosts));
    const begin = async () => {
      // It ends with an error, which is what is wanted: no room is left.
      await fill(run).catch(() => undefined);
    };
    const name = `the disk at ${run} is full`;
    return { name, lastsMs: this.#between(2_000, 10_000), begin, mend: () => removeFill(run) };
  }
}

/** A small file system for a host's state, so that it can be full. To be called before the host's agent starts. */
export async function mountSmallDisk(folder: string): Promise<void> {
  await run('mount', ['-t', 'tmpfs', '-o', `size=${DISK_BYTES},mode=711`, 'shoal-soak', folder]);
}

export async function unmountSmallDisk(folder: string): Promise<void> {
  await run('umount', ['-l', folder]);
}

async function fill(folder: string): Promise<void> {
  await run('dd', ['if=/dev/zero', `of=${folder}/full`, 'bs=64k', `count=${DISK_BYTES / 65_536}`]);
}

async function removeFill(folder: string): Promise<void> {
  await run('rm', ['-f', `${folder}/full`]);
}
