import { LIMITS } from '../protocol/limits.js';
import {
  bump,
  type ClusterState,
  componentKey,
  componentOf,
  type InstanceRecord,
  instancesOf,
  type ShardRecord,
} from './cluster.js';
import { type Observed, seenOf } from './observed.js';

export type AssignShards = (owners: (string | null)[], instances: string[]) => (string | null)[];

/** A handover that has not been reported as done for this long no longer holds up the next one. */
export const SETTLE_MS_MAX = 2 * LIMITS.handoverMsMax;

/** Brings the shard maps of all partitioned components in line with their instances; the rest lose theirs. */
export function assignAllShards(
  state: ClusterState,
  observed: Observed,
  assign: AssignShards,
  nowMs: number,
): ClusterState {
  const shards: Record<string, ShardRecord> = {};
  let changed = false;
  for (const [app, record] of Object.entries(state.apps)) {
    for (const [name, component] of Object.entries(record.manifest.components)) {
      if (component.state !== 'partitioned') continue;
      const key = componentKey(app, name);
      const before = Object.hasOwn(state.shards, key) ? state.shards[key] : undefined;
      const instances = instancesOf(state, app, name);
      const after = nextRecord(before, instances, observed, assign, nowMs);
      shards[key] = after;
      changed ||= after !== before;
    }
  }
  changed ||= Object.keys(state.shards).some((key) => !Object.hasOwn(shards, key));
  return changed ? bump({ ...state, shards }) : state;
}

function nextRecord(
  before: ShardRecord | undefined,
  instances: readonly InstanceRecord[],
  observed: Observed,
  assign: AssignShards,
  nowMs: number,
): ShardRecord {
  const current: ShardRecord = before ?? {
    epoch: 0,
    owners: Array.from({ length: LIMITS.shardCount }, () => null),
    changedAtMs: nowMs,
  };
  const present = new Set(instances.map((each) => each.id));
  const kept = current.owners.map((owner) => (owner !== null && present.has(owner) ? owner : null));
  const owners = nextOwners(kept, instances, current, observed, assign, nowMs);
  if (before !== undefined && owners.every((owner, shard) => owner === before.owners[shard])) return before;
  return { epoch: current.epoch + 1, owners, changedAtMs: nowMs };
}

/**
 * At first, when nobody owns anything, all instances that are not leaving share the shards even before they are
 * ready: there is no state to lose, and waiting would only mean handing over later. Afterwards only ready ones take
 * part. One handover at a time: while agents still move shards, only shards without a usable owner are given anew.
 */
function nextOwners(
  owners: (string | null)[],
  instances: readonly InstanceRecord[],
  current: ShardRecord,
  observed: Observed,
  assign: AssignShards,
  nowMs: number,
): (string | null)[] {
  const staying = instances.filter((each) => each.draining === undefined);
  const phases = new Map(instances.map((each) => [each.id, seenOf(observed, each)?.status.phase]));
  const phaseOf = (id: string) => phases.get(id);
  const broken = (id: string) => phaseOf(id) === 'backoff' || phaseOf(id) === 'failed';
  if (owners.every((owner) => owner === null)) {
    const candidates = staying.filter((each) => !broken(each.id)).map((each) => each.id);
    return candidates.length === 0 ? owners : assign(owners, candidates);
  }
  const ready = staying.filter((each) => phaseOf(each.id) === 'ready').map((each) => each.id);
  if (ready.length === 0) return owners;
  // An owner that only starts (for example again, after its host did) keeps what it has.
  const holding = new Set(owners.filter((owner) => owner !== null && !broken(owner)));
  const candidates = staying.map((each) => each.id).filter((id) => ready.includes(id) || holding.has(id));
  const settled = isSettled(current, instances, observed) || nowMs - current.changedAtMs >= SETTLE_MS_MAX;
  if (settled) return assign(owners, candidates);
  const orphaned = owners.some((owner) => owner === null || broken(owner));
  if (!orphaned) return owners;
  const rebalanced = assign(owners, candidates);
  return owners.map((owner, shard) =>
    owner === null || broken(owner) ? (rebalanced[shard] ?? ready[shard % ready.length] ?? null) : owner,
  );
}

/** Whether every shard has been reported by its owner. */
export function isSettled(record: ShardRecord, instances: readonly InstanceRecord[], observed: Observed): boolean {
  const held = new Map(instances.map((each) => [each.id, new Set(seenOf(observed, each)?.status.shards)]));
  return record.owners.every((owner, shard) => owner === null || held.get(owner)?.has(shard) === true);
}

/** Whether the instance owns no shard by the map, so that it may go once it reports none either. */
export function ownsNone(state: ClusterState, instance: InstanceRecord): boolean {
  if (componentOf(state, instance.app, instance.component)?.state !== 'partitioned') return true;
  const record = state.shards[componentKey(instance.app, instance.component)];
  return record === undefined || !record.owners.includes(instance.id);
}
