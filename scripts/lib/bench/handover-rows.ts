import { quantile } from '../demo/recorder.js';
import { alone, type Row } from './rows.js';
import { type LoadMeasured, outagesOf, type ShardChange } from './shard-changes.js';

/** Calls at one rate, while nothing changes and then while hand-overs go on. */
export interface HandoversMeasured {
  calls: LoadMeasured['calls'];
  changes: ShardChange[];
  /** Until then nothing was changed, by the clock of the caller's host. */
  steadyUntilMs: number;
  /** Between hosts, since then. */
  bytes: number;
  /** Copies of shards that came to be on a host, since then. */
  newCopies: number;
}

export interface HandoverPlan {
  shards: number;
  replicas: number;
  keys: number;
  valueBytes: number;
  /** Calls each second. */
  rate: number;
  /** Before anything is measured: by then the agents' code has been compiled. */
  warmUpCounts: readonly number[];
  /** The first is there before anything is measured. */
  counts: readonly number[];
}

/** What calls met while the count changed. */
export interface Disturbed {
  /** How much longer than usual those took that were held up, or sent elsewhere. */
  waits: number[];
  /** Of all calls. */
  ms: number[];
  /** Answers each second, by windows. */
  rates: number[];
}

export const QUANTILES = [0.5, 0.99, 1];
const WINDOW_MS = 250;

/**
 * A state shard is not available from when its last call at one owner has ended until its first may begin at the next one. Beside
 * the same of a Redis Cluster, where there is one. `carrier`: by what its bytes were counted.
 */
export function handoverRows(
  plan: HandoverPlan,
  { calls, changes, steadyUntilMs, bytes, newCopies }: HandoversMeasured,
  carrier: string,
  redis: Disturbed | null,
): Row[] {
  const { shards, replicas, keys, valueBytes, rate, counts } = plan;
  const name = `count ${counts.join(' → ')}, ${Math.round((keys * valueBytes) / 2 ** 20)} MiB in ${shards} state shards`;
  const outages = outagesOf(changes);
  const steady = calls.filter(([startMs, ms]) => startMs + ms < steadyUntilMs).map(([, ms]) => ms);
  const during = calls.filter(([startMs, ms]) => startMs + ms >= steadyUntilMs);
  const touched = during.filter(([startMs, ms, shard]) =>
    (outages.get(shard) ?? []).some(({ fromMs, toMs }) => startMs < toMs && startMs + ms > fromMs),
  );
  const gaps = gapsOf({ changes });
  const usual = quantile(steady, 0.5);
  const answered = during.filter(([, , , failed]) => failed === 0);
  const ours: Disturbed = {
    waits: touched.map(([, ms]) => Math.max(0, ms - usual)),
    ms: during.map(([, ms]) => ms),
    rates: ratesOf(answered.map(([startMs, ms]) => startMs + ms)),
  };
  const beside = (metric: string, unit: string, of: (each: Disturbed) => number): Row => {
    const value = of(ours);
    return { ...alone(metric, unit, value), ...(redis === null ? {} : peer('Redis Cluster', of(redis), value)) };
  };
  const writes = during.filter(([, , , , written]) => written === 1).length;
  const least = (newCopies * keys * valueBytes) / shards + replicas * writes * valueBytes;
  const entries = replicas === 0 ? 'entries of new copies' : 'entries of new copies, and writes';
  const unknown = Math.max(0, ...[...outages.values()].flat().map(({ errorMs }) => errorMs));
  return [
    ...QUANTILES.map((q) => alone(`${name}: a state shard is not served, ${labelOf(q)}`, 'ms', quantile(gaps, q))),
    ...(unknown > 0 ? [alone('of which clocks of several hosts leave unknown, max', '± ms', unknown)] : []),
    ...QUANTILES.map((q) =>
      beside(`a call to what moves waits longer than usual, ${labelOf(q)}`, 'ms', ({ waits }) => quantile(waits, q)),
    ),
    alone('calls before, p50', 'ms', usual),
    alone('calls before, p99', 'ms', quantile(steady, 0.99)),
    beside('calls all the while, p99', 'ms', ({ ms }) => quantile(ms, 0.99)),
    alone('calls that failed', 'calls', calls.filter(([, , , failed]) => failed > 0).length),
    alone('hand-overs', 'state shards', gaps.length),
    beside(`answered each second of ${rate} asked, p1 of windows of 250 ms`, 'calls/s', ({ rates }) =>
      quantile(rates, 0.01),
    ),
    {
      ...alone(`bytes between hosts${carrier}`, 'MiB', bytes / 2 ** 20),
      ...peer(entries, least / 2 ** 20, bytes / 2 ** 20),
    },
  ];
}

/** How long shards were not served, each time, in ms. */
export function gapsOf({ changes }: Pick<HandoversMeasured, 'changes'>): number[] {
  return [...outagesOf(changes).values()].flat().map(({ fromMs, toMs }) => toMs - fromMs);
}

export function peer(name: string, peerValue: number, value: number): Pick<Row, 'peer' | 'peerValue' | 'ratio'> {
  return { peer: name, peerValue, ratio: value / peerValue };
}

export function labelOf(q: number): string {
  return q === 1 ? 'max' : `p${q * 100}`;
}

/** Answers each second, by windows, from when calls were answered. */
export function ratesOf(ends: readonly number[]): number[] {
  const from = ends.reduce((least, end) => Math.min(least, end), Number.POSITIVE_INFINITY);
  const to = ends.reduce((most, end) => Math.max(most, end), Number.NEGATIVE_INFINITY);
  const windows = Array.from({ length: Math.max(1, Math.floor((to - from) / WINDOW_MS)) }, () => 0);
  for (const end of ends) {
    const window = Math.floor((end - from) / WINDOW_MS);
    if (window < windows.length) windows[window] = (windows[window] ?? 0) + 1000 / WINDOW_MS;
  }
  return windows;
}
