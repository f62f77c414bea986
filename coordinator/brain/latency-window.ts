import { LATENCY_BUCKETS } from '../../protocol/control.js';

/**
 * Calls by latency bucket over the last steps: one step alone may hold a handful of calls. It is changed in place, since
 * there is one for each component and a step each second.
 */
export class LatencyWindow {
  /** Of the whole window. */
  readonly sum = new Float64Array(LATENCY_BUCKETS);
  /** All of them. */
  calls = 0;
  readonly #steps: number;
  /** Step by step, in a ring; null until a call was seen, which many components never have. */
  #ring: Float64Array | null = null;
  #at = 0;

  constructor(steps: number) {
    this.#steps = steps;
  }

  /** Adds a step, counts by bucket or null without any; the oldest step leaves. */
  advance(counts: Float64Array | null): void {
    this.#at = (this.#at + 1) % this.#steps;
    if (counts === null && this.#ring === null) return;
    this.#ring ??= new Float64Array(this.#steps * LATENCY_BUCKETS);
    const ring = this.#ring;
    const start = this.#at * LATENCY_BUCKETS;
    for (let i = 0; i < LATENCY_BUCKETS; i += 1) {
      const coming = counts?.[i] ?? 0;
      const leaving = ring[start + i] as number;
      if (coming === leaving) continue;
      // Counts are whole numbers, so that nothing is left over by rounding.
      this.sum[i] = (this.sum[i] as number) + coming - leaving;
      this.calls += coming - leaving;
      ring[start + i] = coming;
    }
  }
}
