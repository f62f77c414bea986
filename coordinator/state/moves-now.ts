/** A state shard of which the ownership or copies are to go to other hosts, or have begun to. */
export interface PendingMove {
  shard: string;
  /** The owner's host, from which copies are filled. */
  from: string;
  to: readonly string[];
  /** In cores, or any other unit. */
  heat: number;
  underWay: boolean;
}

export interface MoveLimits {
  /** At once: of all, and of those that are filled from one host or come to it. */
  movesMax: number;
  movesPerHostMax: number;
}

/**
 * Which of the moves may be under way now. What has begun goes on; then the hottest first, as they relieve the most. Pure, and
 * independent of the order in which they are given.
 */
export function movesNow(pending: readonly PendingMove[], { movesMax, movesPerHostMax }: MoveLimits): Set<string> {
  const rank = (a: PendingMove, b: PendingMove) => {
    return Number(b.underWay) - Number(a.underWay) || b.heat - a.heat || (a.shard < b.shard ? -1 : 1);
  };
  const chosen = new Set<string>();
  const perHost = new Map<string, number>();
  for (const { shard, from, to, underWay } of pending.toSorted(rank)) {
    const others = to.filter((host) => host !== from);
    const hosts = others.length === 0 ? [] : [from, ...others];
    const isFull = chosen.size >= movesMax || hosts.some((host) => (perHost.get(host) ?? 0) >= movesPerHostMax);
    if (isFull && !underWay) continue;
    chosen.add(shard);
    for (const host of hosts) perHost.set(host, (perHost.get(host) ?? 0) + 1);
  }
  return chosen;
}
