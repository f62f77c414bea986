import { LATENCY_BUCKETS } from '../../protocol/control.js';

/** Latencies are counted in bins of the fourth root of two, so that two of them make a bucket of protocol/control.ts. */
const BINS_PER_BUCKET = 2;
export const BINS = LATENCY_BUCKETS * BINS_PER_BUCKET;
const FIRST_MS = 0.1;

/** Upper bound of a bin, ms. */
export function binTopMs(bin: number): number {
  return FIRST_MS * 2 ** ((bin + 1 - BINS_PER_BUCKET) / 2 / BINS_PER_BUCKET);
}

/** The bin of a latency. */
export function binOf(ms: number): number {
  if (ms <= binTopMs(0)) return 0;
  const bin = Math.ceil(2 * BINS_PER_BUCKET * Math.log2(ms / FIRST_MS) - 1e-9) + BINS_PER_BUCKET - 1;
  return Math.min(BINS - 1, bin);
}

/** Requests by latency. */
export class LatencyBook {
  readonly bins = new Float64Array(BINS);
  /** Bins outside of these are empty. */
  low = BINS;
  high = -1;
  requests = 0;
  /** Requests that took longer than the objective allows. */
  over = 0;

  add(other: LatencyBook): void {
    const { bins, low, high } = other;
    for (let bin = low; bin <= high; bin += 1) (this.bins[bin] as number) += bins[bin] as number;
    this.widen(low, high);
    this.requests += other.requests;
    this.over += other.over;
  }

  /** So many at once that took so long. */
  count(ms: number, requests: number, targetMs: number): void {
    const bin = binOf(ms);
    (this.bins[bin] as number) += requests;
    this.widen(bin, bin);
    this.requests += requests;
    if (ms > targetMs) this.over += requests;
  }

  /** To be told when bins are filled from outside. */
  widen(low: number, high: number): void {
    if (low < this.low) this.low = low;
    if (high > this.high) this.high = high;
  }

  clear(): void {
    if (this.high >= 0) this.bins.fill(0, this.low, this.high + 1);
    this.low = BINS;
    this.high = -1;
    this.requests = 0;
    this.over = 0;
  }

  get overShare(): number {
    return this.requests > 0 ? this.over / this.requests : 0;
  }

  /** Null without any. Within a bin latencies are taken as evenly spread. */
  percentileMs(percentile: number): number | null {
    if (!(this.requests > 0)) return null;
    const rank = (percentile / 100) * this.requests;
    let before = 0;
    for (let bin = 0; bin < BINS; bin += 1) {
      const here = this.bins[bin] as number;
      if (here > 0 && before + here >= rank) {
        const low = bin === 0 ? 0 : binTopMs(bin - 1);
        return low + (binTopMs(bin) - low) * ((rank - before) / here);
      }
      before += here;
    }
    return binTopMs(BINS - 1);
  }
}
