import { type InstanceStats, LATENCY_BUCKETS, latencyBucket } from '../protocol/control.js';

/** Counts what this instance serves: calls and HTTP requests. */
export class Meter {
  #arrived = 0;
  #finished = 0;
  #failed = 0;
  readonly #buckets = Array.from({ length: LATENCY_BUCKETS }, () => 0);

  /** A call has arrived; the function that is answered is to be called once at its end. */
  begin(): (ok: boolean) => void {
    const startMs = performance.now();
    this.#arrived += 1;
    return (ok) => {
      this.#finished += 1;
      if (!ok) this.#failed += 1;
      const bucket = latencyBucket(performance.now() - startMs);
      this.#buckets[bucket] = (this.#buckets[bucket] ?? 0) + 1;
    };
  }

  get outstanding(): number {
    return this.#arrived - this.#finished;
  }

  read(): Omit<InstanceStats, 'shards' | 'frozen'> {
    return {
      arrived: this.#arrived,
      finished: this.#finished,
      failed: this.#failed,
      outstanding: this.outstanding,
      latencyBuckets: [...this.#buckets],
    };
  }
}
