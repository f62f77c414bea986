import { setTimeout as pause } from 'node:timers/promises';
import { monotonicMs } from '../../../protocol/monotonic.js';
import type { StateApp } from '../state/state-app.js';
import type { HandoverPlan, HandoversMeasured } from './handover-rows.js';
import { inTimeOfCaller, type LoadMeasured } from './shard-changes.js';

/** Counts bytes that hosts send each other. */
export interface Traffic {
  start(): Promise<void>;
  /** Bytes since start(). */
  stop(): Promise<number>;
  /** Ends it, whether or not it was started. */
  end(): void;
}

export const STEADY_MS = 10_000;

/**
 * Fills a component's state, begins a steady load on it and changes its count. On the caller's host, whose clock is that of calls.
 * `stepMs`: what a change, filling or an answer of the caller may take.
 */
export async function measureHandovers(
  app: StateApp,
  plan: HandoverPlan,
  traffic: Traffic,
  stepMs: number,
  said: (step: string) => void,
): Promise<HandoversMeasured> {
  const reshape = async (count: number) => {
    said(`count ${count}`);
    await app.setCount(count);
    await app.settled(stepMs);
    await app.replicated(stepMs);
  };
  try {
    said('filling');
    await startLoad(app, plan, stepMs);
    for (const count of plan.warmUpCounts) await reshape(count);
    const warmMs = monotonicMs();
    await pause(STEADY_MS);
    const steadyUntilMs = monotonicMs();
    await traffic.start();
    let hosts = await hostsOf(app);
    let newCopies = 0;
    for (const count of plan.counts.slice(1)) {
      await reshape(count);
      const after = await hostsOf(app);
      for (const [shard, now] of after) newCopies += now.filter((host) => !hosts.get(shard)?.includes(host)).length;
      hosts = after;
    }
    const bytes = await traffic.stop();
    const measured = await app.askCaller<LoadMeasured>('/stop', stepMs);
    for (const [why, count] of Object.entries(measured.failures)) said(`${count} calls failed: ${why}`);
    const calls = measured.calls.filter(([startMs]) => startMs >= warmMs);
    const changes = inTimeOfCaller(measured).filter(({ atMs }) => atMs >= warmMs);
    return { calls, changes, steadyUntilMs, bytes, newCopies };
  } finally {
    traffic.end();
  }
}

/** Writes all values once, then has the caller read and write at that rate. */
export async function startLoad(
  app: StateApp,
  { keys, valueBytes, rate }: Pick<HandoverPlan, 'keys' | 'valueBytes' | 'rate'>,
  stepMs: number,
): Promise<void> {
  const load = `keys=${keys}&bytes=${valueBytes}`;
  await app.askCaller(`/fill?${load}`, stepMs);
  await app.askCaller('/stop', stepMs);
  await app.replicated(stepMs);
  await app.askCaller(`/start?${load}&rate=${rate}`, stepMs);
}

/** Hosts whose copy is in sync, by shard. */
async function hostsOf(app: StateApp): Promise<Map<number, readonly string[]>> {
  const { shards } = await app.component();
  return new Map((shards ?? []).map(({ shard, copies }) => [shard, copies?.inSync ?? []]));
}
