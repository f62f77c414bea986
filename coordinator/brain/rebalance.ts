import { byNumberedName } from './shards.js';

/**
 * Moves of state shards from hot instances to cold ones: the weighted move of Slicer (Adya et al., Slicer: Auto-Sharding
 * for Datacenter Applications, OSDI 2016, section 4.4.1). One move after another goes from the hottest to the coldest
 * instance, the one that lowers the peak of the two most for what it costs; every state shard is the same share of the
 * keys, so all cost the same. An instance that no move can relieve, as one with a single hot shard, is passed over. State
 * shards are fixed, so nothing is split or merged. Pure, and independent of the order in which instances are given.
 */
export interface ShardLoads {
  /** Index: state shard. Owners that are not among the instances do not matter. */
  owners: readonly (string | null)[];
  /** Index: state shard; in cores, or any other unit. */
  heat: ArrayLike<number>;
  /** Those that may own shards. */
  instances: readonly string[];
  /** Shards that stay where they are, for example since they have moved lately. */
  resting?: ReadonlySet<number>;
}

export interface RebalanceBounds {
  /** Nothing moves while the hottest instance has at most so many times the mean load. */
  imbalanceMax: number;
  /** So many shards may move: the churn budget. */
  movesMax: number;
}

export interface ShardMove {
  shard: number;
  from: string;
  to: string;
}

/** A move lowers the peak of its two instances by at least this share of the mean shard's heat; less is not worth it. */
export const GAIN_MIN = 0.25;
/** A shard without heat counts as this share of the mean one when shards are spread, since it may have some later. */
const HEAT_FLOOR = 0.25;

/** Spread evenly enough: the hottest has so many times the mean load. */
const EVEN = 1.05;

/** In the order in which they are best made. Each shard moves at most once. */
export function rebalance(loads: ShardLoads, { imbalanceMax, movesMax }: RebalanceBounds): ShardMove[] {
  const { heat, resting = new Set() } = loads;
  const instances = instanceLoads(loads);
  const mean = instances.reduce((sum, each) => sum + each.load, 0) / Math.max(1, instances.length);
  const gainMin = (GAIN_MIN * mean * instances.length) / Math.max(1, loads.owners.length);
  const moves: ShardMove[] = [];
  const moved = new Set<number>();
  const hot = new Set(instances);
  while (moves.length < movesMax) {
    const hottest = extreme(hot, (a, b) => a > b);
    const coldest = extreme(instances, (a, b) => a < b);
    if (hottest === undefined || coldest === undefined || hottest.load <= imbalanceMax * mean) break;
    const movable = hottest.shards.filter((shard) => !resting.has(shard) && !moved.has(shard));
    const shard = bestToMove(movable, heat, hottest.load, coldest.load, gainMin);
    if (shard === null) {
      hot.delete(hottest);
      continue;
    }
    const load = at(heat, shard);
    hottest.shards.splice(hottest.shards.indexOf(shard), 1);
    hottest.load -= load;
    coldest.shards.push(shard);
    coldest.load += load;
    moved.add(shard);
    moves.push({ shard, from: hottest.id, to: coldest.id });
  }
  return moves;
}

/**
 * Owners after the set of instances has changed, by heat: shards without an owner go to the coldest, the hottest of them
 * first; then the others are evened out as far as single moves can, with at most `movesMax` of them, the best first.
 * Called again with what it answered, it goes on.
 */
export function spreadByHeat(
  { owners, heat, instances }: ShardLoads,
  movesMax = Number.POSITIVE_INFINITY,
): (string | null)[] {
  if (instances.length === 0) return owners.map(() => null);
  const total = owners.reduce((sum, _, shard) => sum + at(heat, shard), 0);
  const floor = (HEAT_FLOOR * total) / Math.max(1, owners.length) || 1;
  const floored = owners.map((_, shard) => Math.max(floor, at(heat, shard)));
  const present = new Set(instances);
  const result = owners.map((owner) => (owner !== null && present.has(owner) ? owner : null));
  const loads = instanceLoads({ owners: result, heat: floored, instances });
  const orphans = [...result.keys()].filter((shard) => result[shard] === null);
  for (const shard of orphans.sort((a, b) => at(floored, b) - at(floored, a) || a - b)) {
    const coldest = extreme(loads, (a, b) => a < b);
    if (coldest === undefined) break;
    coldest.load += at(floored, shard);
    result[shard] = coldest.id;
  }
  let left = movesMax;
  // Until none is left: what could not go at first may when others have gone. Each move brings two loads closer, so it ends.
  for (let moves = 1; moves > 0; left -= moves) {
    const made = rebalance({ owners: result, heat: floored, instances }, { imbalanceMax: EVEN, movesMax: left });
    for (const { shard, to } of made) result[shard] = to;
    moves = made.length;
  }
  return withoutEmpty({ owners: result, heat: floored, instances }, left);
}

/** Whoever has got nothing, as beside one very hot shard, takes the coldest shard of the one with the most. */
function withoutEmpty(given: ShardLoads, movesMax: number): (string | null)[] {
  const { owners, heat } = given;
  const loads = instanceLoads(given);
  const result = [...owners];
  for (const empty of loads.filter(({ shards }) => shards.length === 0).slice(0, movesMax)) {
    const most = loads.reduce((a, b) => (b.shards.length > a.shards.length ? b : a));
    if (most.shards.length < 2) break;
    const coldest = most.shards.reduce((a, b) => (at(heat, b) < at(heat, a) ? b : a));
    most.shards.splice(most.shards.indexOf(coldest), 1);
    empty.shards.push(coldest);
    result[coldest] = empty.id;
  }
  return result;
}

/** The highest load of an instance over the mean; 1 when nothing has any. */
export function imbalanceOf(loads: ShardLoads): number {
  const all = instanceLoads(loads).map(({ load }) => load);
  const sum = all.reduce((total, load) => total + load, 0);
  return sum > 0 ? (Math.max(...all) * all.length) / sum : 1;
}

interface InstanceLoad {
  id: string;
  load: number;
  shards: number[];
}

/** In the order of their names, so that what is equal is decided by the name. */
function instanceLoads({ owners, heat, instances }: ShardLoads): InstanceLoad[] {
  const sorted = [...new Set(instances)].sort(byNumberedName);
  const byId = new Map(sorted.map((id): [string, InstanceLoad] => [id, { id, load: 0, shards: [] }]));
  for (const [shard, owner] of owners.entries()) {
    const instance = owner === null ? undefined : byId.get(owner);
    if (instance === undefined) continue;
    instance.load += at(heat, shard);
    instance.shards.push(shard);
  }
  return [...byId.values()];
}

function extreme(
  instances: Iterable<InstanceLoad>,
  isMore: (a: number, b: number) => boolean,
): InstanceLoad | undefined {
  let found: InstanceLoad | undefined;
  for (const each of instances) if (found === undefined || isMore(each.load, found.load)) found = each;
  return found;
}

/** The shard after whose move the higher of the two loads is lowest; null when none lowers it by the gain. */
function bestToMove(
  shards: readonly number[],
  heat: ArrayLike<number>,
  hot: number,
  cold: number,
  gainMin: number,
): number | null {
  let best: number | null = null;
  let lowest = Number.POSITIVE_INFINITY;
  for (const shard of shards) {
    const load = at(heat, shard);
    const peak = Math.max(hot - load, cold + load);
    if (peak > hot - gainMin || peak >= hot || peak > lowest) continue;
    if (peak === lowest && best !== null && shard > best) continue;
    best = shard;
    lowest = peak;
  }
  return best;
}

/** Measured by others: what makes no sense counts as no heat. */
function at(heat: ArrayLike<number>, shard: number): number {
  const value = heat[shard] ?? 0;
  return Number.isFinite(value) && value > 0 ? value : 0;
}
