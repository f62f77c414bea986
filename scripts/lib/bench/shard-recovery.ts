import type { ShardView } from '../../../protocol/http.js';
import type { ShardChange } from './shard-changes.js';

/** What a host had when it was lost. */
export interface Loss {
  host: string;
  /** Shards that it served. */
  owned: number[];
  /** Shards of which it had one of the copies in sync, those among them. */
  held: number[];
}

export function lossOf(host: string, shards: readonly ShardView[]): Loss {
  const those = (has: (shard: ShardView) => boolean | undefined) => shards.filter(has).map(({ shard }) => shard);
  return {
    host,
    owned: those(({ copies }) => copies?.owner === host),
    held: those(({ copies }) => copies?.inSync.includes(host)),
  };
}

/** When shards have as many whole copies again as before a host was lost, from looks at all of them. */
export class RecoveryWatch {
  readonly #loss: Loss;
  readonly #replicas: number;
  /** By shard. */
  readonly wholeAtMs = new Map<number, number>();
  /** When the host was first seen to count as lost; null while it may come back. */
  goneAtMs: number | null = null;

  constructor(loss: Loss, replicas: number) {
    this.#loss = loss;
    this.#replicas = replicas;
  }

  /** Whether all have, and others serve what the host has served. */
  look(shards: readonly ShardView[], nowMs: number): boolean {
    let isServed = true;
    for (const { shard, copies } of shards) {
      if (copies === null || !this.#loss.held.includes(shard)) continue;
      if (copies.owner === null || copies.owner === this.#loss.host) isServed = false;
      const others = copies.inSync.filter((host) => host !== this.#loss.host).length;
      if (others > this.#replicas && !this.wholeAtMs.has(shard)) this.wholeAtMs.set(shard, nowMs);
    }
    return isServed && this.wholeAtMs.size === this.#loss.held.length;
  }
}

/** From when the host was lost until each shard that it owned has come to another one, in ms; those that have not are missing. */
export function servedAfter({ owned }: Loss, changes: readonly ShardChange[], lostAtMs: number): number[] {
  return owned.flatMap((shard) => {
    const arrivals = changes.filter((each) => each.shard === shard && each.kind === 'arrive' && each.atMs > lostAtMs);
    return arrivals.length === 0 ? [] : [Math.min(...arrivals.map(({ atMs }) => atMs)) - lostAtMs];
  });
}
