import { byNumberedName } from './shards.js';

/**
 * On which hosts the replicas of state shards are. Pure, and independent of the order in which hosts are given. A copy that is
 * there stays there as long as it may, since each other place costs the transfer of a shard; a former owner's copy counts as
 * one. Of those that are too many one that keeps zones apart the least goes first, and a whole one before one that is being filled for
 * its place. What is lacking goes to the host with the fewest copies, of another zone than the shard's other copies where there is
 * one. Then hosts are evened out, one copy after the other, within `movesMax`. Called again with what it answered, it goes on.
 */
export interface CopyPlaces {
  /** Index: state shard; the owner's host, null without one. */
  owners: readonly (string | null)[];
  /** Index: state shard; hosts that hold a copy, the owner's among them or not. */
  copies: readonly (readonly string[])[];
  /** Index: state shard; those of them that are not yet whole. Absent: none. */
  filling?: readonly (readonly string[])[];
  /** Those that may hold copies, each with its zone. */
  hosts: readonly { name: string; zone?: string }[];
  /** R: for each shard so many hosts beside the owner's, or as many as there are. */
  replicas: number;
}

/** Index: state shard; in the order of names. */
export function replicaHosts(places: CopyPlaces, movesMax = Number.POSITIVE_INFINITY): string[][] {
  const { owners, copies, replicas } = places;
  const zones = new Map(places.hosts.map(({ name, zone }) => [name, zone]));
  const names = [...zones.keys()].sort(byNumberedName);
  const counts = new Map(names.map((name) => [name, 0]));
  const countOf = (name: string) => counts.get(name) ?? 0;
  const add = (name: string, by: number) => counts.set(name, countOf(name) + by);
  for (const owner of owners) if (owner !== null && counts.has(owner)) add(owner, 1);

  const result = owners.map((owner, shard) => {
    const there = [...new Set(copies[shard])].filter((name) => name !== owner && counts.has(name));
    for (const name of there) add(name, 1);
    return there.sort(byNumberedName);
  });
  for (const [shard, kept] of result.entries()) {
    const owner = owners[shard] ?? null;
    const isFilling = (name: string) => places.filling?.[shard]?.includes(name) === true;
    const zonesWithout = (name: string) =>
      new Set(
        [...kept.filter((each) => each !== name), ...(owner === null ? [] : [owner])].map((each) => zones.get(each)),
      ).size;
    while (kept.length > replicas) {
      const order = kept.toSorted(
        (a, b) =>
          zonesWithout(b) - zonesWithout(a) ||
          Number(isFilling(a)) - Number(isFilling(b)) ||
          countOf(b) - countOf(a) ||
          byNumberedName(b, a),
      );
      const [least = ''] = order;
      kept.splice(kept.indexOf(least), 1);
      add(least, -1);
    }
  }
  for (const [shard, kept] of result.entries()) {
    const owner = owners[shard] ?? null;
    while (owner !== null && kept.length < replicas) {
      const used = new Set([owner, ...kept].map((name) => zones.get(name)));
      const isFar = (name: string) => zones.get(name) !== undefined && !used.has(zones.get(name));
      const free = names.filter((name) => name !== owner && !kept.includes(name));
      const [best] = free.sort((a, b) => Number(isFar(b)) - Number(isFar(a)) || countOf(a) - countOf(b));
      if (best === undefined) break;
      kept.push(best);
      add(best, 1);
    }
  }
  evenOut(result, owners, zones, counts, movesMax);
  return result.map((kept) => kept.sort(byNumberedName));
}

/** Copies of all, owners' and replicas', go from the hosts with the most to those with the fewest, while two differ by 2. */
function evenOut(
  result: string[][],
  owners: readonly (string | null)[],
  zones: ReadonlyMap<string, string | undefined>,
  counts: Map<string, number>,
  movesMax: number,
): void {
  const ranked = () => [...counts].sort(([a, n], [b, m]) => m - n || byNumberedName(a, b));
  const distinct = (names: readonly string[]) => new Set(names.map((name) => zones.get(name))).size;
  const next = (): { shard: number; from: string; to: string } | null => {
    const order = ranked();
    for (const [from, most] of order) {
      for (const [to, fewest] of order.toReversed()) {
        if (most - fewest < 2) break;
        const shard = result.findIndex((kept, at) => {
          if (!kept.includes(from) || kept.includes(to) || owners[at] === to) return false;
          const others = kept.filter((name) => name !== from).concat(owners[at] ?? []);
          return distinct([...others, to]) >= distinct([...others, from]);
        });
        if (shard >= 0) return { shard, from, to };
      }
    }
    return null;
  };
  for (let moves = 0; moves < movesMax; moves += 1) {
    const move = next();
    if (move === null) return;
    const { shard, from, to } = move;
    const kept = result[shard] ?? [];
    kept[kept.indexOf(from)] = to;
    counts.set(from, (counts.get(from) ?? 0) - 1);
    counts.set(to, (counts.get(to) ?? 0) + 1);
  }
}
