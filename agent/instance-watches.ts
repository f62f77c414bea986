import type { Logger } from 'pino';
import type { Profilers } from './profilers.js';

interface Owner {
  app: string;
  component: string;
}

type Watched = { cgroup: string; owner: Owner };
type Watchers = Pick<Profilers, 'cpu' | 'activity' | 'recorder'>;
type Kind = keyof Watchers;

/**
 * Has each profiler watch the cgroups of the instances. One that has no place for it, or that the kernel has no memory for
 * at this moment, is asked again by retry(): the instance runs on meanwhile, and is not measured in this way.
 */
export class InstanceWatches {
  readonly #watchers: Watchers;
  readonly #log: Logger;
  readonly #waiting: Record<Kind, Map<string, Watched>> = { cpu: new Map(), activity: new Map(), recorder: new Map() };

  constructor({ cpu, activity, recorder }: Watchers, log: Logger) {
    this.#watchers = { cpu, activity, recorder };
    this.#log = log;
  }

  watch(cgroup: string, owner: Owner): void {
    for (const kind of KINDS) {
      const problem = this.#try(kind, { cgroup, owner });
      if (problem === undefined) continue;
      this.#waiting[kind].set(cgroup, { cgroup, owner });
      this.#log.warn({ err: problem, cgroup, kind }, 'cannot measure an instance yet');
    }
  }

  unwatch(cgroup: string): void {
    for (const kind of KINDS) {
      if (!this.#waiting[kind].delete(cgroup)) this.#watchers[kind]?.unwatch(cgroup);
    }
  }

  /** Call it now and then. */
  retry(): void {
    for (const kind of KINDS) {
      for (const each of this.#waiting[kind].values()) {
        // Where one finds no place the next would find none either.
        if (this.#try(kind, each) !== undefined) break;
        this.#waiting[kind].delete(each.cgroup);
      }
    }
  }

  #try(kind: Kind, { cgroup, owner }: Watched): unknown {
    try {
      this.#watchers[kind]?.watch(cgroup, owner);
      return undefined;
    } catch (error) {
      return error;
    }
  }
}

const KINDS = ['cpu', 'activity', 'recorder'] as const;
