import { BINS, binOf, binTopMs, type LatencyBook } from './latency-book.js';

const MIDDLES = Array.from({ length: BINS }, (_, bin) => ((bin === 0 ? 0 : binTopMs(bin - 1)) + binTopMs(bin)) / 2);
/** Bin of the sum of two latencies, by their bins. */
const SUMS = Uint8Array.from({ length: BINS * BINS }, (_, i) =>
  binOf((MIDDLES[Math.floor(i / BINS)] as number) + (MIDDLES[i % BINS] as number)),
);

export interface Callee {
  /** Calls for each request, all at once. */
  factor: number;
  latencies: LatencyBook;
}

/**
 * Latencies of requests that, after their own work, make calls all at once and wait for the slowest: the sum of their own
 * and the greatest of the calls, each taken as independent. The greatest of k has the distribution function F^k; below one
 * call a request, only that share makes it. Answers the mean wait for the calls in ms.
 */
export function withCalls(own: LatencyBook, callees: readonly Callee[], targetMs: number, into: LatencyBook): number {
  const slowest = slowestOf(callees);
  into.clear();
  for (let a = 0; a < BINS; a += 1) {
    const weight = own.bins[a] as number;
    if (weight === 0) continue;
    for (let b = 0; b < BINS; b += 1) {
      const share = slowest[b] as number;
      if (share > 0) (into.bins[SUMS[a * BINS + b] as number] as number) += weight * share;
    }
    // Who makes no call has only its own latency.
    (into.bins[a] as number) += weight * (slowest[BINS] as number);
  }
  into.widen(0, BINS - 1);
  into.requests = own.requests;
  into.over = overOf(into, targetMs);
  let mean = 0;
  for (let b = 0; b < BINS; b += 1) mean += (slowest[b] as number) * (MIDDLES[b] as number);
  return mean;
}

/** Shares by bin; behind them the share of requests without any call. */
function slowestOf(callees: readonly Callee[]): Float64Array {
  const shares = new Float64Array(BINS + 1);
  const known = callees.filter(({ latencies, factor }) => latencies.requests > 0 && factor > 0);
  const below = known.map(() => 0);
  const within = (): number =>
    known.reduce((product, { factor, latencies }, index) => {
      const part = Math.min(1, (below[index] as number) / latencies.requests);
      return product * (factor >= 1 ? part ** factor : 1 - factor + factor * part);
    }, 1);
  let before = within();
  shares[BINS] = before;
  for (let bin = 0; bin < BINS; bin += 1) {
    for (const [index, { latencies }] of known.entries()) (below[index] as number) += latencies.bins[bin] as number;
    const now = within();
    shares[bin] = now - before;
    before = now;
  }
  return shares;
}

function overOf({ bins }: LatencyBook, targetMs: number): number {
  const edge = binOf(targetMs);
  const low = edge === 0 ? 0 : binTopMs(edge - 1);
  let over = (bins[edge] as number) * Math.min(1, Math.max(0, (binTopMs(edge) - targetMs) / (binTopMs(edge) - low)));
  for (let bin = edge + 1; bin < BINS; bin += 1) over += bins[bin] as number;
  return over;
}
