import type { GroundInstance, Wanted } from './ground.js';
import type { LatencyBook } from './latency-book.js';

/** Sums since the beginning, at the end of each second; index 0 is 0. */
export interface Totals {
  arrived: Float64Array;
  finished: Float64Array;
  failed: Float64Array;
  cpuSeconds: Float64Array;
  /** Request-seconds of all that wait or run. */
  outstanding: Float64Array;
  /** Instance-seconds of those that serve. */
  serving: Float64Array;
}

/** What can be seen of a component. */
export interface View {
  instances: readonly GroundInstance[];
  totals: Totals;
  /** Requests that wait or run now. */
  outstanding: number;
  /** Latencies of what finished since the policy was asked last. */
  recent: LatencyBook;
}

/** Decides which instances there shall be. */
export interface Policy {
  /** It is asked so often. */
  readonly periodSeconds: number;
  /** Of each component, at a full second of the simulation; the same list as before when nothing changes. */
  decide(now: number, views: readonly View[]): readonly (readonly Wanted[])[];
  hostFailed(host: string, now: number): void;
}

/** Mean of a total over the window that ends now, for each second. Shorter at the beginning; null without any. */
export function meanOver(total: Float64Array, now: number, seconds: number): number | null {
  const from = Math.max(0, now - seconds);
  return now > from ? ((total[now] as number) - (total[from] as number)) / (now - from) : null;
}
