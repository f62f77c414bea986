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
  /** Step by step, which buckets have calls: from, to. Most of them have none. */
  readonly #spans: number[];
  #at = 0;

  constructor(steps: number) {
    this.#steps = steps;
    this.#spans = Array<number>(2 * steps).fill(0);
  }

  /** Adds a step, counts by bucket or null without any, those outside the range being zero; the oldest step leaves. */
  advance(counts: Float64Array | null, from = 0, to = LATENCY_BUCKETS): void {
    this.#at = (this.#at + 1) % this.#steps;
    if (counts === null && this.#ring === null) return;
    this.#ring ??= new Float64Array(this.#steps * LATENCY_BUCKETS);
    const ring = this.#ring;
    const start = this.#at * LATENCY_BUCKETS;
    const spans = this.#spans;
    const span = 2 * this.#at;
    const leavesFrom = spans[span] as number;
    const leavesTo = spans[span + 1] as number;
    const comes = counts !== null && from < to;
    const first = !comes ? leavesFrom : leavesFrom < leavesTo ? Math.min(from, leavesFrom) : from;
    const end = comes ? Math.max(to, leavesTo) : leavesTo;
    spans[span] = comes ? from : 0;
    spans[span + 1] = comes ? to : 0;
    for (let i = first; i < end; i += 1) {
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
