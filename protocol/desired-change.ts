import { isDeepStrictEqual } from 'node:util';
import type { Desired, DesiredChange } from './link.js';

/** What makes `after` of `before`; pure. Parts that both share by identity cost nothing. */
export function changeOf(before: Desired, after: Desired): DesiredChange {
  const change: DesiredChange = { from: before.revision, revision: after.revision };
  const apps = entriesChanged(before.apps, after.apps);
  if (apps !== null) change.apps = apps;
  const shards = entriesChanged(before.shards, after.shards);
  if (shards !== null) change.shards = shards;
  const secrets = entriesChanged(before.secrets ?? {}, after.secrets ?? {});
  if (secrets !== null) change.secrets = secrets;
  const known = new Map(before.instances.map((each) => [each.id, each]));
  const instances = after.instances.filter((each) => !isDeepStrictEqual(known.get(each.id), each));
  if (instances.length > 0) change.instances = instances;
  for (const { id } of after.instances) known.delete(id);
  if (known.size > 0) change.removed = [...known.keys()];
  if (!isDeepStrictEqual(before.warm ?? [], after.warm ?? [])) change.warm = after.warm ?? [];
  if (!isDeepStrictEqual(before.elsewhere ?? [], after.elsewhere ?? [])) change.elsewhere = after.elsewhere ?? [];
  const copies = entriesChanged(before.copies ?? {}, after.copies ?? {});
  if (copies !== null) change.copies = copies;
  return change;
}

/**
 * The desired state after the change; pure. Null when the change was made from another one, so that the whole is needed.
 * One that has been made already changes nothing.
 */
export function withChange(desired: Desired, change: DesiredChange): Desired | null {
  if (change.revision <= desired.revision) return desired;
  if (change.from !== desired.revision) return null;
  const { warm: warmBefore = [], elsewhere: elsewhereBefore = [] } = desired;
  const { warm = warmBefore, elsewhere = elsewhereBefore } = change;
  const copies = withEntries(desired.copies ?? {}, change.copies);
  const secrets = withEntries(desired.secrets ?? {}, change.secrets);
  return {
    revision: change.revision,
    apps: withEntries(desired.apps, change.apps),
    instances: withInstances(desired.instances, change),
    shards: withEntries(desired.shards, change.shards),
    ...(warm.length === 0 ? {} : { warm }),
    ...(elsewhere.length === 0 ? {} : { elsewhere }),
    ...(Object.keys(copies).length === 0 ? {} : { copies }),
    ...(Object.keys(secrets).length === 0 ? {} : { secrets }),
  };
}

/**
 * Whether nothing but records of copies has changed, of the same state shards as before. By identity, as withChange makes it: what
 * is equal by chance counts as changed.
 */
export function isOnlyRecords(before: Desired, after: Desired): boolean {
  const names = (desired: Desired) => Object.keys(desired.copies ?? {});
  const others = ['apps', 'instances', 'shards', 'warm', 'elsewhere', 'secrets'] as const;
  const known = new Set(names(before));
  const now = names(after);
  const isSame = now.length === known.size && now.every((name) => known.has(name));
  return isSame && others.every((part) => before[part] === after[part]);
}

function withInstances(before: Desired['instances'], { instances, removed }: DesiredChange): Desired['instances'] {
  if (instances === undefined && removed === undefined) return before;
  const gone = new Set(removed);
  const changed = new Map(instances?.map((each) => [each.id, each]));
  const kept = before.filter(({ id }) => !gone.has(id)).map((each) => changed.get(each.id) ?? each);
  const present = new Set(kept.map(({ id }) => id));
  return [...kept, ...[...changed.values()].filter(({ id }) => !present.has(id))];
}

type Entries<T> = Record<string, T>;

/** Null: none. */
function entriesChanged<T>(before: Entries<T>, after: Entries<T>): Entries<T | null> | null {
  const changed: [string, T | null][] = [];
  for (const [key, value] of Object.entries(after)) {
    const old = Object.hasOwn(before, key) ? before[key] : undefined;
    if (old !== value && !isDeepStrictEqual(old, value)) changed.push([key, value]);
  }
  for (const key of Object.keys(before)) if (!Object.hasOwn(after, key)) changed.push([key, null]);
  return changed.length === 0 ? null : Object.fromEntries(changed);
}

function withEntries<T>(before: Entries<T>, changed: Entries<T | null> | undefined): Entries<T> {
  if (changed === undefined) return before;
  const after: Entries<T | null> = { ...before, ...changed };
  for (const key of Object.keys(changed)) if (after[key] === null) delete after[key];
  return after as Entries<T>;
}
