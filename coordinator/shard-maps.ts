import { LIMITS } from '../protocol/limits.js';
import { hasShards, shardCountOf } from '../protocol/manifest.js';
import { rebalance, spreadByHeat } from './brain/rebalance.js';
import {
  bump,
  type ClusterState,
  componentKey,
  componentOf,
  componentsOf,
  type InstanceRecord,
  own,
  planModeOf,
  type ShardRecord,
} from './cluster.js';
import { type Observed, seenOf } from './observed.js';
import type { HeatView, Measured } from './traffic.js';

/** Owners for a set of instances; of the shards whose owner stays at most `movesMax` move, all unless told. */
export type AssignShards = (
  owners: readonly (string | null)[],
  instances: readonly string[],
  movesMax?: number,
) => (string | null)[];

type Owners = readonly (string | null)[];

/** A handover that has not been reported as done for this long no longer holds up the next one. */
export const SETTLE_MS_MAX = 2 * LIMITS.handoverMsMax;

/** Shards move for their heat while the hottest owner has more than so many times the mean heat … */
const IMBALANCE_MAX = 1.25;
/** … and at least this share of its own CPU in use, since it is in nobody's way otherwise; */
const BUSY_SHARE = 0.25;
/** at most this share of them in a round, as in Slicer; */
const MOVES_SHARE_MAX = 0.09;
/** and a round begins so long after the last change. */
const ROUND_MS = 20_000;
/** A new owner gets its share in rounds of at most this share of all shards, one after the other. */
export const FILL_SHARE_MAX = 1 / 8;

function shareOf(shardCount: number, share: number): number {
  return Math.max(1, Math.floor(share * shardCount));
}

/** Brings the shard maps of all components that have some in line with their instances; the rest lose theirs. */
export function assignAllShards(
  state: ClusterState,
  observed: Observed,
  assign: AssignShards,
  nowMs: number,
  measured: Measured,
): ClusterState {
  const shards: Record<string, ShardRecord> = {};
  let changed = false;
  for (const { app, key, component } of componentsOf(state)) {
    if (!hasShards(component)) continue;
    const before = own(state.shards, key);
    const instances = state.instances.byComponent.get(key) ?? [];
    const heat = planModeOf(state, app, key, component) === 'act' ? measured.heatOf(key) : null;
    const choose = chooserOf(assign, instances, heat);
    const able = component.state === 'replicated' ? 'starting' : 'ready';
    const after = nextRecord(before, shardCountOf(component), instances, observed, choose, able, nowMs);
    shards[key] = after;
    changed ||= after !== before;
  }
  changed ||= Object.keys(state.shards).some((key) => !Object.hasOwn(shards, key));
  return changed ? bump({ ...state, shards }) : state;
}

/** How owners are chosen: by heat where it is known, else by number. */
interface Chooser {
  /** For a set of instances other than before. */
  assign: AssignShards;
  /** For the same set. */
  rebalance(owners: Owners, instances: readonly string[]): Owners;
}

function chooserOf(assign: AssignShards, instances: readonly InstanceRecord[], view: HeatView | null): Chooser {
  if (view === null) return { assign, rebalance: (owners) => owners };
  const { heat, resting } = view;
  return {
    assign: (owners, ids, movesMax) => spreadByHeat({ owners, heat, instances: ids }, movesMax),
    rebalance: (owners, ids) => {
      const cores = new Map(instances.map(({ id, size }) => [id, size.cpu]));
      const busy = ids.some((id) => {
        const load = owners.reduce((sum, owner, shard) => sum + (owner === id ? (heat[shard] ?? 0) : 0), 0);
        return load >= BUSY_SHARE * (cores.get(id) ?? 0);
      });
      if (!busy) return owners;
      const bounds = { imbalanceMax: IMBALANCE_MAX, movesMax: shareOf(owners.length, MOVES_SHARE_MAX) };
      const result = [...owners];
      for (const { shard, to } of rebalance({ owners, heat, resting, instances: ids }, bounds)) result[shard] = to;
      return result;
    },
  };
}

/**
 * The phase in which an instance can be given shards when none is ready. With replicated state it is `starting`: they all
 * wait for the entries, and would wait for good for an owner that does not come.
 */
type Able = 'ready' | 'starting';

function nextRecord(
  stored: ShardRecord | undefined,
  shardCount: number,
  instances: readonly InstanceRecord[],
  observed: Observed,
  choose: Chooser,
  able: Able,
  nowMs: number,
): ShardRecord {
  const before = stored?.owners.length === shardCount ? stored : undefined;
  const current: ShardRecord = before ?? {
    epoch: stored?.epoch ?? 0,
    owners: Array.from({ length: shardCount }, () => null),
    changedAtMs: nowMs,
  };
  const present = new Set(instances.map((each) => each.id));
  const kept = current.owners.map((owner) => (owner !== null && present.has(owner) ? owner : null));
  const { owners, filling } = nextOwners(kept, instances, current, observed, choose, able, nowMs);
  const moved = before === undefined || !isSame(owners, before.owners);
  if (!moved && filling === (before.filling ?? false)) return before;
  return {
    epoch: moved ? current.epoch + 1 : current.epoch,
    owners,
    changedAtMs: moved ? nowMs : current.changedAtMs,
    ...(filling ? { filling } : {}),
  };
}

function isSame(a: Owners, b: Owners): boolean {
  return a.every((owner, shard) => owner === b[shard]);
}

/**
 * At first, when nobody owns anything, all instances that are not leaving share the shards even before they are
 * ready: there is no state to lose, and waiting would only mean handing over later. Afterwards only ready ones take
 * part. One handover at a time: while agents still move shards, only shards without a usable owner are given anew.
 * An owner that goes hands over all that it has at once; one that comes gets its share in rounds, so that few shards are
 * on their way at any time. While the set of owners stays, shards move for their heat alone, a few at a time.
 */
function nextOwners(
  owners: Owners,
  instances: readonly InstanceRecord[],
  current: ShardRecord,
  observed: Observed,
  { assign, rebalance }: Chooser,
  able: Able,
  nowMs: number,
): { owners: Owners; filling: boolean } {
  const filling = current.filling ?? false;
  const staying = instances.filter((each) => each.draining === undefined);
  const phases = new Map(instances.map((each) => [each.id, seenOf(observed, each)?.status.phase]));
  const phaseOf = (id: string) => phases.get(id);
  const broken = (id: string) => phaseOf(id) === 'backoff' || phaseOf(id) === 'failed';
  if (owners.every((owner) => owner === null)) {
    const candidates = staying.filter((each) => !broken(each.id)).map((each) => each.id);
    return { owners: candidates.length === 0 ? owners : assign(owners, candidates), filling: false };
  }
  const inPhase = (phase: Able) => staying.filter((each) => phaseOf(each.id) === phase).map((each) => each.id);
  const ready = inPhase('ready').length > 0 ? inPhase('ready') : inPhase(able);
  if (ready.length === 0) return { owners, filling };
  // An owner that only starts (for example again, after its host did) keeps what it has.
  const holding = new Set(owners.filter((owner) => owner !== null && !broken(owner)));
  const candidates = staying.map((each) => each.id).filter((id) => ready.includes(id) || holding.has(id));
  const settled = isSettled(current, instances, observed) || nowMs - current.changedAtMs >= SETTLE_MS_MAX;
  if (settled) {
    const owning = new Set(owners);
    const same =
      owners.every((owner) => owner !== null && candidates.includes(owner)) && candidates.every((id) => owning.has(id));
    if (filling || !same) {
      const next = assign(owners, candidates, shareOf(owners.length, FILL_SHARE_MAX));
      return { owners: next, filling: !isSame(next, assign(owners, candidates)) };
    }
    const rests = nowMs - current.changedAtMs < ROUND_MS;
    return { owners: rests ? owners : rebalance(owners, candidates), filling };
  }
  const orphaned = owners.some((owner) => owner === null || broken(owner));
  if (!orphaned) return { owners, filling };
  const rebalanced = assign(owners, candidates);
  const usable = owners.map((owner, shard) =>
    owner === null || broken(owner) ? (rebalanced[shard] ?? ready[shard % ready.length] ?? null) : owner,
  );
  return { owners: usable, filling: true };
}

/** Whether every shard has been reported by its owner. */
export function isSettled(record: ShardRecord, instances: readonly InstanceRecord[], observed: Observed): boolean {
  const held = new Map(instances.map((each) => [each.id, new Set(seenOf(observed, each)?.status.shards)]));
  return record.owners.every((owner, shard) => owner === null || held.get(owner)?.has(shard) === true);
}

/** Whether the instance owns no shard by the map, so that it may go once it reports none either. */
export function ownsNone(state: ClusterState, instance: InstanceRecord): boolean {
  if (!hasShards(componentOf(state, instance.app, instance.component))) return true;
  const record = state.shards[componentKey(instance.app, instance.component)];
  return record === undefined || !record.owners.includes(instance.id);
}
