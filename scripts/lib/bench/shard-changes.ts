import { type ClockTrip, offsetAt } from './clock-offsets.js';

/** What load.mts answers. Times are ms: of calls by the clock of the caller's host, of changes by that of the instance's. */
export interface LoadMeasured {
  calls: [startMs: number, ms: number, shard: number, failed: number, written: number][];
  changes: [shard: number, kind: 'arrive' | 'leave', atMs: number, instance: string][];
  /** By instances whose host has a clock of its own. */
  trips: [instance: string, sentMs: number, heardMs: number, backMs: number][];
  /** Why calls failed, and how many. */
  failures: Record<string, number>;
}

/** An instance has let go of a shard, or may serve it from now on. */
export interface ShardChange {
  shard: number;
  kind: 'arrive' | 'leave';
  /** By the clock of the caller's host … */
  atMs: number;
  /** … and at most so far off. */
  errorMs: number;
}

/** Nobody served a shard. */
export interface Outage {
  fromMs: number;
  toMs: number;
  /** Its length is at most so far off. */
  errorMs: number;
}

/** Instances that have asked for no time share the caller's clock. */
export function inTimeOfCaller({ changes, trips }: Pick<LoadMeasured, 'changes' | 'trips'>): ShardChange[] {
  const byInstance = new Map<string, ClockTrip[]>();
  for (const [instance, sentMs, heardMs, backMs] of trips) {
    const known = byInstance.get(instance) ?? [];
    known.push({ sentMs, heardMs, backMs });
    byInstance.set(instance, known);
  }
  return changes.map(([shard, kind, atMs, instance]) => {
    const { offsetMs, errorMs } = offsetAt(byInstance.get(instance) ?? [], atMs) ?? { offsetMs: 0, errorMs: 0 };
    return { shard, kind, atMs: atMs + offsetMs, errorMs };
  });
}

/** By shard: from leaving one owner to arriving at the next. */
export function outagesOf(changes: readonly ShardChange[]): Map<number, Outage[]> {
  const outages = new Map<number, Outage[]>();
  const left = new Map<number, ShardChange>();
  for (const change of changes.toSorted((a, b) => a.atMs - b.atMs)) {
    const { shard, kind, atMs, errorMs } = change;
    const from = left.get(shard);
    if (kind === 'leave') left.set(shard, change);
    else if (from !== undefined) {
      left.delete(shard);
      const outage = { fromMs: from.atMs, toMs: atMs, errorMs: from.errorMs + errorMs };
      outages.set(shard, [...(outages.get(shard) ?? []), outage]);
    }
  }
  return outages;
}
