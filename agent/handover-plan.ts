import type { ShardMap } from '../protocol/link.js';

/** What the handover of a component's state shards needs to know of one of its instances. */
export interface Holder {
  id: string;
  /** Its process speaks with the agent now. */
  connected: boolean;
  /** It can be sent the segment of a shard. */
  reachable: boolean;
  /** It may hold state that it has not told of: it ran before this agent did and has not dialled yet, as while it is paused. */
  unknown: boolean;
  shards: readonly number[];
  frozen: readonly number[];
}

export type HandoverStep =
  | { kind: 'own'; shard: number; to: string }
  /** Prepare at `to`, freeze at `from`, own at `to`, switch the routes, drop at `from`. */
  | { kind: 'move'; shard: number; from: string; to: string }
  /** It has another owner already. */
  | { kind: 'drop'; shard: number; from: string };

/**
 * The next step for each state shard to come from who has it to whom the map wants. What is in it is in its segment; who
 * holds it unfrozen may write there, and no other may own it before that one has frozen it or ended. Whatever crash left
 * the shards as they are, repeating the steps brings each to its owner without losing a key. `isNew`: the segment of the shard was
 * made since this agent began, so that only who has dialled can have it.
 */
export function planHandover(
  map: ShardMap,
  holders: readonly Holder[],
  isNew: (shard: number) => boolean,
): HandoverStep[] {
  const holdersOf = byShard(holders);
  return map.owners.flatMap((wanted, shard) => {
    return planShard(shard, wanted, holders, isNew(shard), holdersOf.get(shard) ?? []);
  });
}

/** The same for one shard. `holding`: those of all `holders` that have it. */
export function planShard(
  shard: number,
  wanted: string | null,
  holders: readonly Holder[],
  isNew: boolean,
  holding: readonly Holder[] = holders.filter(({ shards }) => shards.includes(shard)),
): HandoverStep[] {
  const steps: HandoverStep[] = [];
  const mayHideState = !isNew && holders.some((each) => each.unknown);
  const live = holding.filter((each) => !each.frozen.includes(shard));
  const truth =
    live.find((each) => each.id === wanted) ?? live[0] ?? holding.find((each) => each.id === wanted) ?? holding[0];
  const target = holders.find((each) => each.id === wanted && each.connected && each.reachable);
  if (truth === undefined) {
    return target !== undefined && !mayHideState ? [{ kind: 'own', shard, to: target.id }] : [];
  }
  for (const other of holding) {
    // Two that both serve it cannot be told apart by age; then neither is thrown away until one is the wanted owner.
    const stale = other !== truth && (other.frozen.includes(shard) || truth.id === wanted);
    if (stale && other.connected && live.includes(truth)) steps.push({ kind: 'drop', shard, from: other.id });
  }
  if (target === undefined || !truth.connected) return steps;
  if (truth.id !== target.id) steps.push({ kind: 'move', shard, from: truth.id, to: target.id });
  else if (truth.frozen.includes(shard)) steps.push({ kind: 'own', shard, to: target.id });
  return steps;
}

function byShard(holders: readonly Holder[]): Map<number, Holder[]> {
  const holdersOf = new Map<number, Holder[]>();
  for (const holder of holders) {
    for (const shard of holder.shards) {
      const others = holdersOf.get(shard);
      if (others === undefined) holdersOf.set(shard, [holder]);
      else others.push(holder);
    }
  }
  return holdersOf;
}
