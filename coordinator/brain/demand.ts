import { LATENCY_BUCKETS } from '../../protocol/control.js';
import type { Sample } from '../../protocol/link.js';

/** What went on at an instance, or at all of a component, in a span of time. */
export interface Demand {
  /** Cores used. */
  cpu: number;
  /** Arrived, whether served or not. */
  requestsPerSecond: number;
  finishedPerSecond: number;
  failedPerSecond: number;
  ioReadBytesPerSecond: number;
  ioWriteBytesPerSecond: number;
  /** Calls running or waiting at the end of the span. */
  outstanding: number;
  /** Calls finished in the span, by latency bucket. */
  latencyBuckets: number[];
  /** At the end of the span; of a sum, the largest. */
  memoryBytes: number;
}

export const NO_DEMAND: Demand = {
  cpu: 0,
  requestsPerSecond: 0,
  finishedPerSecond: 0,
  failedPerSecond: 0,
  ioReadBytesPerSecond: 0,
  ioWriteBytesPerSecond: 0,
  outstanding: 0,
  latencyBuckets: Array.from({ length: LATENCY_BUCKETS }, () => 0),
  memoryBytes: 0,
};

export function noDemand(): Demand {
  return { ...NO_DEMAND, latencyBuckets: NO_DEMAND.latencyBuckets.slice() };
}

/** Rates between two samples of one instance, `seconds` apart. */
export function demandBetween(before: Sample, after: Sample, seconds: number): Demand {
  const demand = noDemand();
  addBetween(demand, before, after, seconds);
  return demand;
}

/**
 * Adds the rates between two samples of one instance, `seconds` apart, to `sum`; of memory the largest. Counters that
 * went back mean that the instance started anew in between: all of `after` then fell into the span. Answers the cores
 * used. It changes `sum` and makes nothing, since it runs for every instance once a second.
 */
export function addBetween(sum: Demand, before: Sample, after: Sample, seconds: number): number {
  sum.outstanding += natural(after.outstanding);
  sum.memoryBytes = Math.max(sum.memoryBytes, natural(after.memoryBytes));
  if (!(seconds > 0) || !Number.isFinite(seconds)) return 0;
  const restarted =
    after.cpuSeconds < before.cpuSeconds || after.arrived < before.arrived || after.finished < before.finished;
  const cpu = riseOf(before.cpuSeconds, after.cpuSeconds, restarted) / seconds;
  sum.cpu += cpu;
  sum.requestsPerSecond += riseOf(before.arrived, after.arrived, restarted) / seconds;
  sum.finishedPerSecond += riseOf(before.finished, after.finished, restarted) / seconds;
  sum.failedPerSecond += riseOf(before.failed, after.failed, restarted) / seconds;
  sum.ioReadBytesPerSecond += riseOf(before.ioReadBytes, after.ioReadBytes, restarted) / seconds;
  sum.ioWriteBytesPerSecond += riseOf(before.ioWriteBytes, after.ioWriteBytes, restarted) / seconds;
  const [from, to, buckets] = [before.latencyBuckets, after.latencyBuckets, sum.latencyBuckets];
  for (let i = 0; i < LATENCY_BUCKETS; i += 1) {
    const start = from[i] ?? 0;
    const end = to[i] ?? 0;
    // Most stand still.
    if (start !== end || restarted) buckets[i] = (buckets[i] ?? 0) + riseOf(start, end, restarted);
  }
  return cpu;
}

function riseOf(from: number, to: number, restarted: boolean): number {
  const start = natural(from);
  const end = natural(to);
  return restarted || end < start ? end : end - start;
}

/** An agent's number that makes no sense counts as zero, not as NaN in every sum. */
function natural(value: number): number {
  return Number.isFinite(value) && value > 0 ? value : 0;
}
