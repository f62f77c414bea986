import { type InstanceStats, LATENCY_BUCKETS, latencyBucket, type ShardHeat } from '../protocol/control.js';
import { WorkClock } from './work-clock.js';

/** One call or request that is counted. */
export interface Counted {
  /** Runs the first turn of what answers it. */
  turn<T>(run: () => T): T;
  /** Its first item is on its way: what follows is no latency. */
  answered(): void;
  /** It has ended. To be called once. */
  end(ok: boolean): void;
}

/** Counts what this instance serves: calls and HTTP requests. */
export class Meter {
  readonly #clock = new WorkClock();
  #arrived = 0;
  #finished = 0;
  #failed = 0;
  #busyMs = 0;
  /** By state shard. */
  readonly #heat = new Map<number, { calls: number; workMs: number }>();
  readonly #buckets = Array.from({ length: LATENCY_BUCKETS }, () => 0);

  /** A call has arrived, to work on these state shards. */
  begin(shards: readonly number[] = []): Counted {
    const startMs = performance.now();
    const work = this.#clock.begin();
    this.#arrived += 1;
    let answeredMs: number | undefined;
    return {
      turn: work.turn,
      answered: () => {
        answeredMs ??= performance.now() - startMs;
      },
      end: (ok) => {
        const tookMs = performance.now() - startMs;
        this.#ended(ok, tookMs, answeredMs ?? tookMs, shards, work.end());
      },
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
      heat: [...this.#heat].map(([shard, { calls, workMs }]): ShardHeat => [shard, calls, workMs]),
    };
  }

  #ended(ok: boolean, tookMs: number, latencyMs: number, shards: readonly number[], workMs: number): void {
    this.#finished += 1;
    if (!ok) this.#failed += 1;
    this.#busyMs += tookMs;
    for (const shard of shards) this.#heatUp(shard, workMs / shards.length);
    const bucket = latencyBucket(latencyMs);
    this.#buckets[bucket] = (this.#buckets[bucket] ?? 0) + 1;
  }

  #heatUp(shard: number, ms: number): void {
    const heat = this.#heat.get(shard);
    if (heat === undefined) this.#heat.set(shard, { calls: 1, workMs: ms });
    else {
      heat.calls += 1;
      heat.workMs += ms;
    }
  }
}
