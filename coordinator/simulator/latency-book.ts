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
  requests = 0;
  /** Requests that took longer than the objective allows. */
  over = 0;

  add(other: LatencyBook, share = 1): void {
    for (let bin = 0; bin < BINS; bin += 1) (this.bins[bin] as number) += share * (other.bins[bin] as number);
    this.requests += share * other.requests;
    this.over += share * other.over;
  }

  /** One bin of them at once. */
  count(ms: number, requests: number, targetMs: number): void {
    (this.bins[binOf(ms)] as number) += requests;
    this.requests += requests;
    if (ms > targetMs) this.over += requests;
  }

  clear(): void {
    this.bins.fill(0);
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
