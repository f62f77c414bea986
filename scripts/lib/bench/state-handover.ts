import { setTimeout as pause } from 'node:timers/promises';
import { monotonicMs } from '../../../protocol/monotonic.js';
import { quantile } from '../demo/recorder.js';
import { StateCluster } from '../state/state-cluster.js';
import {
  type Disturbed,
  gapsOf,
  type HandoverPlan,
  type HandoversMeasured,
  handoverRows,
  labelOf,
  QUANTILES,
  ratesOf,
} from './handover-rows.js';
import { measureHandovers, STEADY_MS } from './handovers.js';
import { LinkBytes } from './link-bytes.js';
import { RedisCluster } from './redis-cluster.js';
import type { Row } from './rows.js';

const isQuick = process.env.SHOAL_BENCH_QUICK === '1';
const PLAN: HandoverPlan = {
  shards: isQuick ? 64 : 256,
  replicas: 0,
  keys: (isQuick ? 8 : 64) * 1_024,
  valueBytes: 1_024,
  rate: Number(process.env.SHOAL_BENCH_RATE ?? 500),
  warmUpCounts: isQuick ? [] : [4, 2],
  counts: isQuick ? [2, 4, 1] : [2, 8, 3, 16, 1],
};
const HOSTS = 3;
/** Each of the changes; what takes longer has got stuck, and is said with what was seen last. */
const STEP_MS_MAX = 120_000;
const FILLS_AT_ONCE = 256;
/** Of all changes of the Redis Cluster, which moves slot after slot: what it has not done by then is left out. */
const REDIS_MS_MAX = isQuick ? 60_000 : 600_000;
const WRITE_SHARE = 0.2;
const TICK_MS = 4;

/**
 * State in shards on several hosts of one machine, whose owners' count changes under a steady load, and the same with the slots of
 * a Redis Cluster on loopback, whose client is this process.
 */
export async function benchStateHandover(dist: string): Promise<Row[]> {
  const measured = await ofShoal(dist);
  const gaps = gapsOf(measured);
  said(`not served: ${QUANTILES.map((q) => `${labelOf(q)} ${quantile(gaps, q).toFixed(1)} ms`).join(', ')}`);
  said('Redis Cluster');
  return handoverRows(PLAN, measured, '', await ofRedis());
}

async function ofShoal(dist: string): Promise<HandoversMeasured> {
  const { shards, counts } = PLAN;
  const options = { dist, hosts: HOSTS, shards, count: counts[0] ?? 1, countMax: Math.max(...counts), load: true };
  const cluster = await StateCluster.start(options);
  try {
    return await measureHandovers(cluster, PLAN, new LinkBytes(cluster), STEP_MS_MAX, said);
  } finally {
    await cluster.close();
  }
}

/** The same keys, values, rate and counts. Null where there is no Redis. */
async function ofRedis(): Promise<Disturbed | null> {
  const { keys: keyCount, valueBytes, rate } = PLAN;
  const [first = 1, ...counts] = PLAN.counts;
  const redis = await RedisCluster.start(Math.max(...PLAN.counts), first);
  if (redis === null) return null;
  const calls: { startMs: number; ms: number; redirects: number }[] = [];
  let timer: NodeJS.Timeout | undefined;
  try {
    const value = Buffer.alloc(valueBytes, 7);
    for (let at = 0; at < keyCount; at += FILLS_AT_ONCE) {
      const keys = Array.from({ length: Math.min(FILLS_AT_ONCE, keyCount - at) }, (_, i) => `k${at + i}`);
      await Promise.all(keys.map((key) => redis.call(key, 'SET', key, value)));
    }
    const failed: unknown[] = [];
    const callOne = async () => {
      const key = `k${Math.floor(Math.random() * keyCount)}`;
      const words = Math.random() < WRITE_SHARE ? ['SET', key, value] : ['GET', key];
      const startMs = monotonicMs();
      const redirects = await redis.call(key, ...words);
      calls.push({ startMs, ms: monotonicMs() - startMs, redirects });
    };
    const beganMs = monotonicMs();
    let sent = 0;
    timer = setInterval(() => {
      for (; sent < ((monotonicMs() - beganMs) * rate) / 1_000; sent += 1)
        callOne().catch((error: unknown) => failed.push(error));
    }, TICK_MS);
    await pause(STEADY_MS);
    const steadyUntilMs = monotonicMs();
    for (const count of counts) {
      said(`Redis Cluster: ${count} members`);
      if (await redis.reshard(count, steadyUntilMs + REDIS_MS_MAX - monotonicMs())) continue;
      said(`Redis Cluster: not done within ${REDIS_MS_MAX / 1_000} s; its figures are of what was done`);
      break;
    }
    if (failed.length > 0) throw new Error(`${failed.length} calls of Redis failed: ${String(failed[0])}`);
    const steady = calls.filter(({ startMs, ms }) => startMs + ms < steadyUntilMs);
    const during = calls.filter(({ startMs, ms }) => startMs + ms >= steadyUntilMs);
    const usual = quantile(
      steady.map(({ ms }) => ms),
      0.5,
    );
    const waits = during.flatMap(({ ms, redirects }) => (redirects > 0 ? [Math.max(0, ms - usual)] : []));
    const ends = during.map(({ startMs, ms }) => startMs + ms);
    return { waits, ms: during.map(({ ms }) => ms), rates: ratesOf(ends) };
  } finally {
    clearInterval(timer);
    await redis.close();
  }
}

/** How far it is, for whoever waits. */
function said(step: string): void {
  console.error(`state-handover: ${step}`);
}
