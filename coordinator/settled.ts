import { type ClusterState, type ComponentEntry, own, type Target } from './cluster.js';
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
  /** Of which every instance runs, whatever its size. */
  readonly #running = new WeakMap<ComponentEntry, Pick<Mark, 'instances' | 'sums' | 'news'>>();
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
      own(overrides, key) === mark.override &&
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
    if (sums === undefined || target === undefined || !this.allRun(entry, instances, observed)) {
      this.#marks.delete(entry);
    } else {
      this.#marks.set(entry, { target, override: own(overrides, key), instances, sums, news: sums.news });
    }
  }

  /** Whether the hosts name each of the instances, none of them drains and none has failed. */
  allRun(entry: ComponentEntry, instances: readonly InstanceRecord[], observed: Observed): boolean {
    const sums = observed.components.get(entry.key);
    if (sums === undefined) return false;
    const known = this.#running.get(entry);
    if (known !== undefined && known.instances === instances && known.sums === sums && known.news === sums.news) {
      return true;
    }
    const all = instances.every((each) => {
      const seen = seenOf(observed, each);
      const runs = seen !== undefined && seen.sums === sums && seen.status.phase !== 'failed';
      return runs && each.draining === undefined;
    });
    if (all) this.#running.set(entry, { instances, sums, news: sums.news });
    return all;
  }

  /** The component's instances have been resized and nothing else: if all of `before` ran, so do all of `after`. */
  resized(
    entry: ComponentEntry,
    before: readonly InstanceRecord[] | undefined,
    after: readonly InstanceRecord[],
  ): void {
    const known = this.#running.get(entry);
    if (known !== undefined && known.instances === before) known.instances = after;
  }
}
