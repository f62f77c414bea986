/**
 * Owners of state shards after the set of instances has changed: balanced to within one shard, with the fewest
 * shards changing hands. Depends on nothing but its input, nor on the order of `instances`.
 *
 * Shards whose owner is not among the instances all go at once; of the others at most `movesMax` do. Called again with
 * what it answered, it comes to the balance in that many fewer moves, and makes none in vain.
 */
export function assignShards(
  owners: readonly (string | null)[],
  instances: readonly string[],
  movesMax = Number.POSITIVE_INFINITY,
): (string | null)[] {
  const alive = [...new Set(instances)].sort(byNumberedName);
  if (alive.length === 0) return owners.map(() => null);

  const held = new Map<string, number[]>(alive.map((id) => [id, []]));
  for (const [shard, owner] of owners.entries()) if (owner !== null) held.get(owner)?.push(shard);

  // Whoever holds most keeps the one more that does not divide evenly: any other choice would move more shards.
  const share = Math.floor(owners.length / alive.length);
  const larger = owners.length % alive.length;
  const heldBy = (id: string): number => held.get(id)?.length ?? 0;
  const ranked = alive.toSorted((a, b) => heldBy(b) - heldBy(a) || byNumberedName(a, b));

  const result: (string | null)[] = owners.map(() => null);
  const short: { id: string; room: number }[] = [];
  for (const [rank, id] of ranked.entries()) {
    const target = share + (rank < larger ? 1 : 0);
    const kept = (held.get(id) ?? []).slice(0, target);
    for (const shard of kept) result[shard] = id;
    if (kept.length < target) short.push({ id, room: target - kept.length });
  }
  // One after another round the short ones, so that neighbouring shards do not all go to the same instance.
  let turn = 0;
  for (const [shard, owner] of result.entries()) {
    if (owner !== null) continue;
    const next = short[turn % short.length];
    if (next === undefined) break;
    result[shard] = next.id;
    next.room -= 1;
    if (next.room === 0) short.splice(turn % short.length, 1);
    else turn += 1;
  }
  return withinBudget(owners, result, held, movesMax);
}

/** The owners wanted, but the shards of those that stay keep their owner once so many have another one. */
function withinBudget(
  owners: readonly (string | null)[],
  wanted: readonly (string | null)[],
  staying: { has(id: string): boolean },
  movesMax: number,
): (string | null)[] {
  let moves = 0;
  return wanted.map((next, shard) => {
    const owner = owners[shard] ?? null;
    if (owner === null || owner === next || !staying.has(owner)) return next;
    moves += 1;
    return moves <= movesMax ? next : owner;
  });
}

/** `a-2` before `a-10`. */
export function byNumberedName(a: string, b: string): number {
  return a.length - b.length || (a < b ? -1 : a > b ? 1 : 0);
}
