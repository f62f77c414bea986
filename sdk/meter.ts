import { type InstanceStats, LATENCY_BUCKETS, latencyBucket, type ShardHeat } from '../protocol/control.js';
import { type Work, WorkClock } from './work-clock.js';

const NO_SHARDS: readonly number[] = [];

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
  begin(shards: readonly number[] = NO_SHARDS): Counted {
    const work = this.#clock.begin();
    this.#arrived += 1;
    return new Counted(this, work, shards);
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

  /** Of Counted. */
  ended(ok: boolean, tookMs: number, latencyMs: number, shards: readonly number[], workMs: number): void {
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

/** One call or request that is counted. */
export class Counted {
  /** When it arrived, by performance.now(). */
  readonly sinceMs = performance.now();
  readonly #meter: Meter;
  readonly #work: Work;
  readonly #shards: readonly number[];
  #answeredMs: number | undefined;

  constructor(meter: Meter, work: Work, shards: readonly number[]) {
    this.#meter = meter;
    this.#work = work;
    this.#shards = shards;
  }

  /** Runs the first turn of what answers it. */
  turn<T>(run: () => T): T {
    return this.#work.turn(run);
  }

  /** Its first item is on its way: what follows is no latency. */
  answered(): void {
    this.#answeredMs ??= performance.now() - this.sinceMs;
  }

  /** It has ended. To be called once. */
  end(ok: boolean): void {
    const tookMs = performance.now() - this.sinceMs;
    this.#meter.ended(ok, tookMs, this.#answeredMs ?? tookMs, this.#shards, this.#work.end());
  }
}
