import type { Size } from '../protocol/link.js';
import { noteCopied, noteExchanged } from './brain/allotted.js';
import { byNumberedName } from './brain/shards.js';
import { interned } from './interned.js';

export interface InstanceRecord {
  id: string;
  app: string;
  component: string;
  host: string;
  size: Size;
  generation: number;
  createdAtMs: number;
  createdRevision: number;
  /** Share of calls that it gets beside one of weight 1; absent: 1. */
  weight?: number;
  /** Frozen by hand. Absent: false. */
  paused?: boolean;
  /** Present while draining. */
  draining?: { sinceMs: number; revision: number };
  /** Never beside another one of its component: it is replaced when it is known to have ended. Absent: false. */
  singleton?: boolean;
  /** Its cores are its own. Absent: false. */
  exclusive?: boolean;
  /** Present on a singleton that its host shall end: since this revision its host is no longer told of it. */
  ending?: { revision: number; why: string };
}

type Groups = ReadonlyMap<string, readonly InstanceRecord[]>;

/**
 * The wanted instances, under each of the two keys by which they are asked for. An immutable value: a change makes a new
 * table that shares every group it does not touch, so that who looks at one component or one host pays for that alone,
 * and can tell by identity whether anything of it has changed. Groups are in the order of their ids and never empty.
 */
export interface InstanceTable {
  /** By component key. */
  byComponent: Groups;
  byHost: Groups;
}

export const NO_INSTANCES: InstanceTable = { byComponent: new Map(), byHost: new Map() };

export function componentKey(app: string, component: string): string {
  return `${app}/${component}`;
}

export function tableOf(instances: Iterable<InstanceRecord>): InstanceTable {
  const draft = new InstanceDraft(NO_INSTANCES);
  for (const instance of instances) draft.put(instance);
  return draft.finish();
}

/** All instances, component by component. */
export function* eachInstance(table: InstanceTable): Generator<InstanceRecord> {
  for (const group of table.byComponent.values()) yield* group;
}

/** The instance of this id, by looking through all: for a question of a person, not for the loop. */
export function findInstance(table: InstanceTable, id: string): InstanceRecord | undefined {
  for (const group of table.byComponent.values()) {
    const found = group.find((each) => each.id === id);
    if (found !== undefined) return found;
  }
  return undefined;
}

export function countInstances(table: InstanceTable): number {
  let count = 0;
  for (const group of table.byComponent.values()) count += group.length;
  return count;
}

/** Collects changes to a table, so that many cost one copy of the keys. Reads see what was put and removed so far. */
export class InstanceDraft {
  readonly #base: InstanceTable;
  readonly #components: DraftGroups;
  readonly #hosts: DraftGroups;

  constructor(base: InstanceTable) {
    this.#base = base;
    this.#components = new DraftGroups(base.byComponent);
    this.#hosts = new DraftGroups(base.byHost);
  }

  ofComponent(key: string): readonly InstanceRecord[] {
    return this.#components.get(key);
  }

  onHost(host: string): readonly InstanceRecord[] {
    return this.#hosts.get(host);
  }

  /** Adds the instance, or takes the place of the one of the same id, which was on the same host. */
  put(instance: InstanceRecord): void {
    this.#components.put(componentKey(instance.app, instance.component), instance);
    this.#hosts.put(instance.host, instance);
  }

  /** Puts `after` in the place of `before`, a record of the same instance that is in the table. */
  replace(key: string, before: InstanceRecord, after: InstanceRecord): void {
    this.#components.replace(key, before, after);
    this.#hosts.replace(before.host, before, after);
  }

  remove(instance: InstanceRecord): void {
    this.#components.remove(componentKey(instance.app, instance.component), instance);
    this.#hosts.remove(instance.host, instance);
  }

  /** The table with all changes; the very same one when there are none. */
  finish(): InstanceTable {
    if (!this.#components.changed) return this.#base;
    return { byComponent: this.#components.finish(), byHost: this.#hosts.finish() };
  }
}

/** Copies a group when it is first changed, and the map of groups at the end. What a group is allotted in all stays known. */
class DraftGroups {
  readonly #base: Groups;
  readonly #own = new Map<string, InstanceRecord[]>();

  constructor(base: Groups) {
    this.#base = base;
  }

  get changed(): boolean {
    return this.#own.size > 0;
  }

  get(key: string): readonly InstanceRecord[] {
    return (this.#own.size === 0 ? undefined : this.#own.get(key)) ?? this.#base.get(key) ?? [];
  }

  put(key: string, instance: InstanceRecord): void {
    const group = this.#writable(key);
    const last = group.at(-1);
    if (last === undefined || byNumberedName(last.id, instance.id) < 0) {
      group.push(instance);
      noteExchanged(group, undefined, instance);
      return;
    }
    const at = firstNotBefore(group, instance.id);
    const before = group[at]?.id === instance.id ? group[at] : undefined;
    group.splice(at, before === undefined ? 0 : 1, instance);
    noteExchanged(group, before, instance);
  }

  replace(key: string, before: InstanceRecord, after: InstanceRecord): void {
    const group = this.#writable(key);
    const at = group.indexOf(before);
    if (at < 0 || before.id !== after.id)
      throw new Error(`${after.id} cannot take the place of ${before.id} in ${key}`);
    group[at] = after;
    noteExchanged(group, before, after);
  }

  remove(key: string, { id }: InstanceRecord): void {
    const group = this.#writable(key);
    const at = firstNotBefore(group, id);
    if (group[at]?.id !== id) return;
    noteExchanged(group, group[at], undefined);
    group.splice(at, 1);
  }

  finish(): Groups {
    const groups = new Map(this.#base);
    for (const [key, group] of this.#own) {
      if (group.length > 0) groups.set(key, group);
      else groups.delete(key);
    }
    return groups;
  }

  #writable(key: string): InstanceRecord[] {
    const present = this.#own.get(key);
    if (present !== undefined) return present;
    const group = this.#base.get(key);
    const copy = group === undefined ? [] : group.slice();
    if (group !== undefined) noteCopied(group, copy);
    this.#own.set(group === undefined ? interned(key) : key, copy);
    return copy;
  }
}

/** Where the id is in the group, or would be. */
function firstNotBefore(group: readonly InstanceRecord[], id: string): number {
  let low = 0;
  let high = group.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (byNumberedName((group[middle] as InstanceRecord).id, id) < 0) low = middle + 1;
    else high = middle;
  }
  return low;
}
