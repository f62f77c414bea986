import { LATENCY_BUCKETS } from '../../protocol/control.js';

interface Bounds {
  lower: number;
  upper: number;
}

const BOUNDS = Array.from({ length: LATENCY_BUCKETS }, (_, i): Bounds => {
  const upper = 0.1 * 2 ** (i / 2);
  return { lower: i === 0 ? 0 : upper / Math.SQRT2, upper };
});

/** Bounds in ms of bucket i of protocol/control.ts: above `lower`, up to and including `upper`. */
export function bucketBounds(i: number): Readonly<Bounds> {
  const bounds = BOUNDS[i];
  if (bounds === undefined) throw new RangeError(`no latency bucket ${i}`);
  return bounds;
}

/**
 * The percentile (0 … 100) in ms of counts per bucket, or null without any call. Within a bucket calls get rarer as those of
 * an exponential tail do; whatever they do, the answer is off by at most the bucket's width (a factor of √2).
 */
export function percentileMs(buckets: ArrayLike<number>, percentile: number): number | null {
  const length = Math.min(LATENCY_BUCKETS, buckets.length);
  let total = 0;
  for (let i = 0; i < length; i += 1) total += countOf(buckets, i);
  if (!(total > 0)) return null;
  const rank = (Math.min(100, Math.max(0, percentile)) / 100) * total;
  let before = 0;
  let last = 0;
  for (let i = 0; i < length; i += 1) {
    const count = countOf(buckets, i);
    if (count === 0) continue;
    last = i;
    if (before + count >= rank) {
      const { lower, upper } = bucketBounds(i);
      return lower + (upper - lower) * Math.max(0, placeIn(total - before, count, total - rank));
    }
    before += count;
  }
  return bucketBounds(last).upper; // Only rounding of the sum leads here.
}

/** Where in a bucket, from 0 to 1, `beyond` calls are above, of the `from` that are above its lower end and `count` in it. */
function placeIn(from: number, count: number, beyond: number): number {
  const left = from - count;
  // Nothing beyond the bucket says how fast the tail falls.
  if (!(left > 0)) return (from - beyond) / count;
  return Math.log(from / Math.max(left, beyond)) / Math.log(from / left);
}

/** What few calls do not show of their tail is made up for at most so far. */
const STRETCH_MAX = 5;

/**
 * The percentile, as what is seen of it says on average: the slowest of few calls is mostly faster than it. As of
 * exponential times, whose highest of n is 1 + 1/2 + … + 1/n on average, what lies between the median and the slowest is
 * stretched as far as the percentile is beyond that. Null without any call.
 */
export function tailMs(buckets: ArrayLike<number>, percentile: number): number | null {
  const measured = percentileMs(buckets, percentile);
  const median = percentileMs(buckets, 50);
  if (measured === null || median === null) return null;
  const tail = Math.log(1 / (1 - Math.min(99.99, percentile) / 100));
  if (tail <= Math.LN2) return measured;
  let calls = 0;
  for (let i = 0; i < buckets.length; i += 1) calls += countOf(buckets, i);
  let highest = 1;
  for (let n = 2; n <= calls && highest < tail; n += 1) highest += 1 / n;
  if (highest >= tail) return measured;
  // In the middle of its bucket.
  const slowest = percentileMs(buckets, 100 * (1 - 0.5 / Math.max(1, calls))) ?? measured;
  return median + Math.max(0, slowest - median) * Math.min(STRETCH_MAX, (tail - Math.LN2) / (highest - Math.LN2));
}

function countOf(buckets: ArrayLike<number>, i: number): number {
  const count = buckets[i] as number;
  return count > 0 && Number.isFinite(count) ? count : 0;
}

/** p50 and p99 in ms, or null without any call. */
export function latencyOf(buckets: ArrayLike<number>): { p50: number; p99: number } | null {
  const p50 = percentileMs(buckets, 50);
  const p99 = percentileMs(buckets, 99);
  return p50 === null || p99 === null ? null : { p50, p99 };
}
