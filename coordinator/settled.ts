import type { ClusterState, ComponentEntry, Target } from './cluster.js';
import type { ComponentSums } from './component-sums.js';
import type { InstanceRecord } from './instance-table.js';
import { type Observed, seenOf } from './observed.js';

/** All that what a component needs follows from, save the state of hosts. */
interface Mark {
  target: Target;
  override: number | undefined;
  instances: readonly InstanceRecord[];
  sums: ComponentSums;
  /** Of the sums: rises with every instance that comes, goes or changes its phase. */
  news: number;
}

/**
 * Components that reconcile found to be as they shall be: it passes over them until something changes that they depend on,
 * so that a tick costs what changes. A short cut only: without it the outcome is the same.
 */
export class SettledComponents {
  /** An entry is made anew with its manifest. */
  readonly #marks = new WeakMap<ComponentEntry, Mark>();
  #cordons: ClusterState['cordons'] = {};
  #isCordonedAnew = false;

  /** To be called first: drained hosts concern every component. */
  begin({ cordons }: ClusterState): void {
    this.#isCordonedAnew = cordons !== this.#cordons;
    this.#cordons = cordons;
  }

  has(
    entry: ComponentEntry,
    instances: readonly InstanceRecord[],
    { targets, overrides }: ClusterState,
    { components }: Observed,
  ): boolean {
    if (this.#isCordonedAnew) return false;
    const mark = this.#marks.get(entry);
    if (mark === undefined) return false;
    const { key } = entry;
    return (
      mark.sums.news === mark.news &&
      instances === mark.instances &&
      targets[key] === mark.target &&
      overrides[key] === mark.override &&
      components.get(key) === mark.sums
    );
  }

  /** It needs something, and does until it is found to be as it shall be: a drained host need not change anything else. */
  forget(entry: ComponentEntry): void {
    this.#marks.delete(entry);
  }

  /** Marks a component of which every instance is as wanted, if its hosts say so too; else it loses its mark. */
  note(
    entry: ComponentEntry,
    instances: readonly InstanceRecord[],
    { targets, overrides }: ClusterState,
    observed: Observed,
  ): void {
    const { key } = entry;
    const sums = observed.components.get(key);
    const target = targets[key];
    const calm = instances.every((each) => {
      const seen = seenOf(observed, each);
      return seen !== undefined && seen.sums === sums && seen.status.phase !== 'failed';
    });
    if (!calm || sums === undefined || target === undefined) this.#marks.delete(entry);
    else this.#marks.set(entry, { target, override: overrides[key], instances, sums, news: sums.news });
  }
}
