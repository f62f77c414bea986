import { LATENCY_BUCKETS } from '../../protocol/control.js';
import type { Sample } from '../../protocol/link.js';

/** What went on at an instance, or at all of a component, in a span of time. */
export interface Demand {
  /** Cores used. */
  cpu: number;
  requestsPerSecond: number;
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
  failedPerSecond: 0,
  ioReadBytesPerSecond: 0,
  ioWriteBytesPerSecond: 0,
  outstanding: 0,
  latencyBuckets: Array.from({ length: LATENCY_BUCKETS }, () => 0),
  memoryBytes: 0,
};

/**
 * Rates between two samples of one instance, `seconds` apart. Counters that went back mean that the instance started
 * anew in between: all of `after` then fell into the span.
 */
export function demandBetween(before: Sample, after: Sample, seconds: number): Demand {
  const outstanding = natural(after.outstanding);
  const memoryBytes = natural(after.memoryBytes);
  if (!(seconds > 0) || !Number.isFinite(seconds)) return { ...NO_DEMAND, outstanding, memoryBytes };
  const restarted =
    after.cpuSeconds < before.cpuSeconds || after.arrived < before.arrived || after.finished < before.finished;
  // Plain code without a copy or a closure more than needed: this runs for every instance once a second.
  return {
    outstanding,
    memoryBytes,
    cpu: riseOf(before.cpuSeconds, after.cpuSeconds, restarted) / seconds,
    requestsPerSecond: riseOf(before.arrived, after.arrived, restarted) / seconds,
    failedPerSecond: riseOf(before.failed, after.failed, restarted) / seconds,
    ioReadBytesPerSecond: riseOf(before.ioReadBytes, after.ioReadBytes, restarted) / seconds,
    ioWriteBytesPerSecond: riseOf(before.ioWriteBytes, after.ioWriteBytes, restarted) / seconds,
    latencyBuckets: bucketsBetween(before.latencyBuckets, after.latencyBuckets, restarted),
  };
}

function bucketsBetween(before: readonly number[], after: readonly number[], restarted: boolean): number[] {
  const buckets = NO_DEMAND.latencyBuckets.slice();
  for (let i = 0; i < LATENCY_BUCKETS; i += 1) {
    const from = before[i] ?? 0;
    const to = after[i] ?? 0;
    // Most stand still.
    if (to !== from || restarted) buckets[i] = riseOf(from, to, restarted);
  }
  return buckets;
}

/** Everything added up, except memory: its largest. */
export function addDemands(demands: readonly Demand[]): Demand {
  const sum: Demand = { ...NO_DEMAND, latencyBuckets: NO_DEMAND.latencyBuckets.slice() };
  for (const one of demands) {
    sum.cpu += one.cpu;
    sum.requestsPerSecond += one.requestsPerSecond;
    sum.failedPerSecond += one.failedPerSecond;
    sum.ioReadBytesPerSecond += one.ioReadBytesPerSecond;
    sum.ioWriteBytesPerSecond += one.ioWriteBytesPerSecond;
    sum.outstanding += one.outstanding;
    for (let i = 0; i < LATENCY_BUCKETS; i += 1) {
      sum.latencyBuckets[i] = (sum.latencyBuckets[i] ?? 0) + (one.latencyBuckets[i] ?? 0);
    }
    sum.memoryBytes = Math.max(sum.memoryBytes, one.memoryBytes);
  }
  return sum;
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
