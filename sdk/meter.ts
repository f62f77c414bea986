import { type InstanceStats, LATENCY_BUCKETS, latencyBucket, type ShardHeat } from '../protocol/control.js';

/** Counts what this instance serves: calls and HTTP requests. */
export class Meter {
  #arrived = 0;
  #finished = 0;
  #failed = 0;
  #busyMs = 0;
  /** By state shard. */
  readonly #heat = new Map<number, { calls: number; busyMs: number }>();
  readonly #buckets = Array.from({ length: LATENCY_BUCKETS }, () => 0);

  /** A call has arrived, to work on these state shards; the function that is answered is to be called once at its end. */
  begin(shards: readonly number[] = []): (ok: boolean) => void {
    const startMs = performance.now();
    this.#arrived += 1;
    return (ok) => {
      this.#finished += 1;
      if (!ok) this.#failed += 1;
      const tookMs = performance.now() - startMs;
      this.#busyMs += tookMs;
      for (const shard of shards) this.#heatUp(shard, tookMs / shards.length);
      const bucket = latencyBucket(tookMs);
      this.#buckets[bucket] = (this.#buckets[bucket] ?? 0) + 1;
    };
  }

  get outstanding(): number {
    return this.#arrived - this.#finished;
  }

  read(): Omit<InstanceStats, 'shards' | 'frozen' | 'called'> {
    return {
      arrived: this.#arrived,
      finished: this.#finished,
      failed: this.#failed,
      outstanding: this.outstanding,
      latencyBuckets: [...this.#buckets],
      busyMs: this.#busyMs,
      heat: [...this.#heat].map(([shard, { calls, busyMs }]): ShardHeat => [shard, calls, busyMs]),
    };
  }

  #heatUp(shard: number, ms: number): void {
    const heat = this.#heat.get(shard);
    if (heat === undefined) this.#heat.set(shard, { calls: 1, busyMs: ms });
    else {
      heat.calls += 1;
      heat.busyMs += ms;
    }
  }
}
