import { ShoalError } from '../protocol/errors.js';
import { formatCores, parseCores } from './core-list.js';
import { CONTROLLER_REMEDY } from './host.js';

/** The part of a cgroup that says on which cores its processes run. */
export interface CoresOfCgroup {
  readonly path: string;
  /** Writes cpuset.cpus; false when it has no such file, or is gone. */
  runOn(cores: string): Promise<boolean>;
  /** What cpuset.cpus says; empty when nothing was ever written. */
  cores(): Promise<string>;
}

/** Cgroup → the cores that nobody else's instances run on. */
type Owned = ReadonlyMap<string, readonly number[]>;

/** So many cores stay for all that have none of their own. */
const SHARED_MIN = 1;

/**
 * Which cores of the host belong to one instance alone. All cgroups of instances and builds are known here: those that have
 * no cores of their own run on the rest. Changes are made one after the other; one that the kernel refuses is undone. Other
 * processes of the host are not kept away.
 */
export class ExclusiveCores {
  readonly #all: readonly number[];
  readonly #members = new Map<string, CoresOfCgroup>();
  #owned: Owned = new Map();
  #last: Promise<unknown> = Promise.resolve();

  /** `all`: cores that instances can run on; empty on a host without the cpuset controller. */
  constructor(all: readonly number[]) {
    this.#all = all;
  }

  /** How many can be given away; 0 where none can. */
  get most(): number {
    return Math.max(0, this.#all.length - SHARED_MIN);
  }

  /**
   * The cgroup is there and gets so many cores of its own, or another number than it had; null: it shares those that are
   * nobody's. Throws SHOAL_E_START when the host has not so many, and then nothing has changed.
   */
  set(cgroup: CoresOfCgroup, count: number | null): Promise<void> {
    return this.#inTurn(async () => {
      const isNew = !this.#members.has(cgroup.path);
      const owned = count === null ? without(this.#owned, cgroup.path) : this.#give(cgroup.path, count);
      this.#members.set(cgroup.path, cgroup);
      try {
        await this.#change(owned, isNew ? cgroup.path : null);
      } catch (error) {
        if (isNew) this.#members.delete(cgroup.path);
        throw error;
      }
    });
  }

  /** The cgroup is gone; what it had is shared again. */
  leave(path: string): Promise<void> {
    return this.#inTurn(async () => {
      if (this.#members.delete(path)) await this.#change(without(this.#owned, path), null);
    });
  }

  /** Takes over what an earlier agent has given. Once all are known, settle() makes the others share the rest. */
  adopt(cgroup: CoresOfCgroup, hasOwn: boolean): Promise<void> {
    return this.#inTurn(async () => {
      this.#members.set(cgroup.path, cgroup);
      if (!hasOwn) return;
      const cores = parseCores(await cgroup.cores()).filter((core) => this.#all.includes(core));
      if (cores.length > 0) this.#owned = new Map([...this.#owned, [cgroup.path, cores]]);
    });
  }

  settle(): Promise<void> {
    return this.#inTurn(async () => {
      const list = formatCores(sharedOf(this.#all, this.#owned));
      for (const [path, member] of this.#members) if (!this.#owned.has(path)) await this.#write(member, list);
    });
  }

  #give(path: string, count: number): Owned {
    if (this.most === 0) {
      const without =
        this.#all.length === 1 ? 'this host has one core' : 'this host has no cgroup v2 cpuset controller';
      const remedy = this.#all.length === 1 ? 'place it on a larger host' : CONTROLLER_REMEDY;
      throw new ShoalError('SHOAL_E_START', `no cores can be given to one instance alone: ${without}; ${remedy}`);
    }
    if (!Number.isInteger(count) || count < 1) {
      throw new ShoalError('SHOAL_E_START', `${count} is no number of whole cores: \`exclusive\` needs whole ones`);
    }
    const given = ownCores(this.#all, this.#owned, path, count);
    if (given !== null) return given;
    const taken = [...without(this.#owned, path).values()].reduce((sum, cores) => sum + cores.length, 0);
    const left = `${this.most - taken} of ${this.most} are left`;
    throw new ShoalError('SHOAL_E_START', `this host cannot give ${count} cores to one instance alone: ${left}`);
  }

  /** In this order no core is ever two's: first those that lose some. When one is refused, all go back. */
  async #change(after: Owned, fresh: string | null): Promise<void> {
    const before = this.#owned;
    const [was, is] = [sharedOf(this.#all, before), sharedOf(this.#all, after)];
    const of = (owned: Owned, shared: readonly number[]) => (path: string) => owned.get(path) ?? shared;
    const [coresBefore, coresAfter] = [of(before, was), of(after, is)];
    const isLess = (path: string) => coresAfter(path).length < coresBefore(path).length;
    // Most come and go without cores of their own, and change nothing for the others.
    const concerned = after === before ? (fresh === null ? [] : [fresh]) : [...this.#members.keys()];
    const changed = concerned.filter((path) =>
      // What nothing was ever written for runs on all cores.
      path === fresh ? coresAfter(path).length < this.#all.length : !isSame(coresBefore(path), coresAfter(path)),
    );
    const ordered = [...changed.filter(isLess), ...changed.filter((path) => !isLess(path))];
    const done: string[] = [];
    try {
      for (const path of ordered) {
        await this.#write(this.#members.get(path), formatCores(coresAfter(path)), after.has(path));
        done.push(path);
      }
      this.#owned = after;
    } catch (error) {
      for (const path of done.reverse()) await this.#write(this.#members.get(path), formatCores(coresBefore(path)));
      throw error;
    }
  }

  /** One that is gone meanwhile needs nothing, unless the cores are to be its own. */
  async #write(member: CoresOfCgroup | undefined, cores: string, isOwner = false): Promise<void> {
    const written = (await member?.runOn(cores)) ?? false;
    if (!written && isOwner) throw new ShoalError('SHOAL_E_START', `${member?.path} has no cpuset.cpus`);
  }

  #inTurn<T>(action: () => Promise<T>): Promise<T> {
    const done = this.#last.then(action);
    this.#last = done.catch(() => undefined);
    return done;
  }
}

/**
 * What all own when this one has so many: it keeps as many as it can of those that it has, and gets the highest of the
 * others, since interrupts are mostly taken by the lowest. Null when there are not so many. Pure.
 */
export function ownCores(all: readonly number[], owned: Owned, path: string, count: number): Owned | null {
  const others = without(owned, path);
  const free = sharedOf(all, others).toSorted((a, b) => b - a);
  if (free.length - count < SHARED_MIN) return null;
  const kept = free.filter((core) => owned.get(path)?.includes(core)).slice(0, count);
  const more = free.filter((core) => !kept.includes(core)).slice(0, count - kept.length);
  return new Map([...others, [path, [...kept, ...more].sort((a, b) => a - b)]]);
}

function sharedOf(all: readonly number[], owned: Owned): readonly number[] {
  const taken = new Set([...owned.values()].flat());
  return all.filter((core) => !taken.has(core));
}

function without(owned: Owned, path: string): Owned {
  if (!owned.has(path)) return owned;
  return new Map([...owned].filter(([each]) => each !== path));
}

function isSame(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((core, at) => core === b[at]);
}
