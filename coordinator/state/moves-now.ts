/** A host to which a state shard is to go, as one more copy or for its ownership, or has begun to. */
export interface PendingMove {
  shard: string;
  /** The owner's host, from which copies are filled. */
  from: string;
  to: string;
  /** Nobody serves the shard before; it has fewer copies than are wanted; or both is well, and it is to be elsewhere. */
  why: 'unserved' | 'missing' | 'elsewhere';
  /** Hosts that have the whole shard, with those that are to get it before this one. */
  copies: number;
  /** In cores, or any other unit. */
  heat: number;
  /** `held-up`: for so long, or by a host that is away, that it shall not hold up others. */
  begun: 'no' | 'yes' | 'held-up';
}

export interface MoveLimits {
  /** Of one host, from it or to it: at once, at least 2 … */
  perHostMax: number;
  /** … of them those with enough copies. Those without leave one place to them. */
  elsewherePerHostMax: number;
  /** Those with enough copies, of all hosts. */
  elsewhereMax: number;
}

/** Shard → hosts. */
export type MovesNow = ReadonlyMap<string, ReadonlySet<string>>;

const URGENCY = { unserved: 0, missing: 1, elsewhere: 2 };

/**
 * Which shards of the cluster may go to which hosts now. What has begun goes on. Then come those that nobody serves, those with the
 * fewest copies, and those that are only to be elsewhere; the hottest of them first, as they relieve the most. On each host those that are
 * lacking something and the others have a place of their own, so that neither wait for the end of the other. Pure, and
 * independent of the order in which they are given.
 */
export function movesNow(pending: readonly PendingMove[], limits: MoveLimits): MovesNow {
  const chosen = new Map<string, Set<string>>();
  const places = new Places(limits);
  const choose = ({ shard, to }: PendingMove) => {
    const hosts = chosen.get(shard) ?? new Set();
    chosen.set(shard, hosts.add(to));
  };
  for (const each of pending) {
    if (each.begun === 'no') continue;
    choose(each);
    if (each.begun === 'yes') places.take(each);
  }
  for (const each of pending.filter(({ begun }) => begun === 'no').sort(byUrgency)) {
    if (!places.isFreeFor(each)) continue;
    choose(each);
    places.take(each);
  }
  return chosen;
}

function byUrgency(a: PendingMove, b: PendingMove): number {
  const urgency = URGENCY[a.why] - URGENCY[b.why] || a.copies - b.copies || b.heat - a.heat;
  return urgency || order(a.shard, b.shard) || order(a.to, b.to);
}

function order(a: string, b: string): number {
  return a < b ? -1 : Number(a > b);
}

class Places {
  readonly #limits: MoveLimits;
  readonly #taken = new Map<string, { all: number; elsewhere: number }>();
  #elsewhere = 0;

  constructor(limits: MoveLimits) {
    this.#limits = limits;
  }

  isFreeFor({ from, to, why }: PendingMove): boolean {
    const { perHostMax, elsewherePerHostMax, elsewhereMax } = this.#limits;
    const isElsewhere = why === 'elsewhere';
    if (isElsewhere && this.#elsewhere >= elsewhereMax) return false;
    return [from, to].every((host) => {
      const { all, elsewhere } = this.#at(host);
      if (all >= perHostMax) return false;
      return isElsewhere ? elsewhere < elsewherePerHostMax : all - elsewhere < perHostMax - 1;
    });
  }

  take({ from, to, why }: PendingMove): void {
    const by = Number(why === 'elsewhere');
    this.#elsewhere += by;
    for (const host of [from, to]) {
      const { all, elsewhere } = this.#at(host);
      this.#taken.set(host, { all: all + 1, elsewhere: elsewhere + by });
    }
  }

  #at(host: string): { all: number; elsewhere: number } {
    return this.#taken.get(host) ?? { all: 0, elsewhere: 0 };
  }
}
