import { ShoalError } from '../protocol/errors.js';
import { changedKeys } from './changed-keys.js';
import { type ClusterState, EMPTY_CLUSTER } from './cluster.js';
import { type InstanceRecord, type InstanceTable, tableOf } from './instance-table.js';
import { REVOKED_PREFIX } from './revoking.js';
import type { Store, StoreOperation } from './store/store.js';

/** Where each part of the cluster state lives in the store: one key per entry, so that a change writes little. */
const PARTS = {
  apps: 'app/',
  counters: 'counter/',
  targets: 'target/',
  overrides: 'override/',
  modes: 'mode/',
  pauses: 'pause/',
  secrets: 'secret/',
  shards: 'shards/',
  copies: 'copies/',
  stateLost: 'state-lost/',
  knownEvents: 'known-events/',
  cordons: 'cordon/',
  joinTokens: 'join-token/',
  joined: 'joined/',
  revoked: REVOKED_PREFIX,
} as const;
const INSTANCES = 'instance/';
const META_KEY = 'meta';
const FORMAT = 1;

type Part = keyof typeof PARTS;

/** The batch that turns the stored `before` into `after`; empty when nothing changed. Compares entries by identity. */
export function differences(before: ClusterState, after: ClusterState): StoreOperation[] {
  const batch: StoreOperation[] = [];
  for (const part of Object.keys(PARTS) as Part[]) {
    const from = before[part] as Readonly<Record<string, unknown>>;
    const to = after[part] as Readonly<Record<string, unknown>>;
    if (from !== to) batch.push(...recordDifferences(PARTS[part], from, to));
  }
  batch.push(...instanceDifferences(before.instances, after.instances));
  if (batch.length > 0 || before.revision !== after.revision) {
    batch.push({ kind: 'put', key: META_KEY, value: { format: FORMAT, revision: after.revision } });
  }
  return batch;
}

function recordDifferences(
  prefix: string,
  from: Readonly<Record<string, unknown>>,
  to: Readonly<Record<string, unknown>>,
): StoreOperation[] {
  const changed = changedKeys(from, to);
  if (changed !== null) return changed.map((key) => ({ kind: 'put', key: prefix + key, value: to[key] }));
  const batch: StoreOperation[] = [];
  let kept = 0;
  for (const key of Object.keys(to)) {
    const value = to[key];
    const isNew = !Object.hasOwn(from, key);
    if (!isNew) kept += 1;
    if (isNew || from[key] !== value) batch.push({ kind: 'put', key: prefix + key, value });
  }
  const known = Object.keys(from);
  if (known.length === kept) return batch;
  for (const key of known) if (!Object.hasOwn(to, key)) batch.push({ kind: 'delete', key: prefix + key });
  return batch;
}

/** Looks only into the components of which something changed. */
function instanceDifferences(before: InstanceTable, after: InstanceTable): StoreOperation[] {
  if (before === after) return [];
  const batch: StoreOperation[] = [];
  for (const [key, group] of after.byComponent) {
    const from = before.byComponent.get(key) ?? [];
    if (from === group) continue;
    const known = new Map(from.map((each) => [each.id, each]));
    for (const each of group) {
      if (known.get(each.id) !== each) batch.push({ kind: 'put', key: INSTANCES + each.id, value: each });
      known.delete(each.id);
    }
    for (const id of known.keys()) batch.push({ kind: 'delete', key: INSTANCES + id });
  }
  for (const [key, group] of before.byComponent) {
    if (after.byComponent.has(key)) continue;
    for (const { id } of group) batch.push({ kind: 'delete', key: INSTANCES + id });
  }
  return batch;
}

/** The cluster state as last committed; empty for a new store. */
export async function loadCluster(store: Store): Promise<ClusterState> {
  const meta = (await store.load(META_KEY)).get(META_KEY);
  if (meta === undefined) {
    if ((await store.load('')).size > 0)
      throw new ShoalError('SHOAL_E_STORE', 'the store holds data but no revision; it is not Shoal’s');
    return EMPTY_CLUSTER;
  }
  const { format, revision } = meta as { format?: unknown; revision?: unknown };
  if (format !== FORMAT || typeof revision !== 'number') {
    throw new ShoalError('SHOAL_E_STORE', `the store has format ${String(format)}; this version reads ${FORMAT}`);
  }
  const parts: Record<Part, Record<string, unknown>> = {
    apps: {},
    counters: {},
    targets: {},
    overrides: {},
    modes: {},
    pauses: {},
    secrets: {},
    shards: {},
    copies: {},
    stateLost: {},
    knownEvents: {},
    cordons: {},
    joinTokens: {},
    joined: {},
    revoked: {},
  };
  // The store is this program's own and its format was checked above, so the entries have the shapes it wrote.
  const readPart = async (part: Part) => {
    for (const [key, value] of await store.load(PARTS[part])) parts[part][key.slice(PARTS[part].length)] = value;
  };
  // At once: one after the other they would hold up a new leader.
  const [loaded] = await Promise.all([store.load(INSTANCES), ...(Object.keys(PARTS) as Part[]).map(readPart)]);
  const instances = [...loaded.values()] as InstanceRecord[];
  return { revision, instances: tableOf(instances), ...parts } as unknown as ClusterState;
}
