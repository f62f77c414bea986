/** A state shard that is to go from one host to another, or has begun to. */
export interface PendingMove {
  shard: string;
  from: string;
  to: string;
  /** In cores, or any other unit. */
  heat: number;
  underWay: boolean;
}

export interface MoveLimits {
  /** At once: of all, and of those that leave or come to one host. */
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
    const hosts = from === to ? [] : [from, to];
    const isFull = chosen.size >= movesMax || hosts.some((host) => (perHost.get(host) ?? 0) >= movesPerHostMax);
    if (isFull && !underWay) continue;
    chosen.add(shard);
    for (const host of hosts) perHost.set(host, (perHost.get(host) ?? 0) + 1);
  }
  return chosen;
}
