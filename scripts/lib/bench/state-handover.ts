import { execFile } from 'node:child_process';
import { setTimeout as pause } from 'node:timers/promises';
import { promisify } from 'node:util';
import { monotonicMs } from '../../../protocol/monotonic.js';
import { quantile } from '../demo/recorder.js';
import { StateCluster } from '../state/state-cluster.js';
import { RedisCluster } from './redis-cluster.js';
import { alone, type Row } from './rows.js';

const run = promisify(execFile);

const isQuick = process.env.SHOAL_BENCH_QUICK === '1';
const SHARDS = isQuick ? 64 : 256;
const VALUE_BYTES = 1_024;
const KEYS = (isQuick ? 8 : 64) * 1_024;
const COUNTS = isQuick ? [2, 4, 1] : [2, 8, 3, 16, 1];
const HOSTS = 3;
/** Before anything is measured: by then the agents' code has been compiled. */
const WARM_UP_COUNTS = isQuick ? [] : [4, 2];
/** Calls each second. */
const RATE = Number(process.env.SHOAL_BENCH_RATE ?? 500);
const STEADY_MS = 10_000;
/** Each of the changes; what takes longer has got stuck, and is said with what was seen last. */
const SETTLE_MS_MAX = 60_000;
const FILL_MS_MAX = 120_000;
const FILLS_AT_ONCE = 256;
/** Of all changes of the Redis Cluster: what it has not done by then is left out. With it the whole bench takes four minutes. */
const REDIS_MS_MAX = 60_000;
const WRITE_SHARE = 0.2;
const TICK_MS = 4;
const QUANTILES = [0.5, 0.99, 1];
const WINDOW_MS = 250;
const LOOK_MS = 500;

interface Measured {
  calls: [startMs: number, ms: number, shard: number, failed: number][];
  changes: [shard: number, kind: 'arrive' | 'leave', atMs: number, instance: string][];
  /** Why calls failed, and how many. */
  failures: Record<string, number>;
}

/** What calls met while the count changed. */
interface Disturbed {
  /** How much longer than usual those took that were held up, or sent elsewhere. */
  waits: number[];
  /** Of all calls. */
  ms: number[];
  /** Answers each second, by windows. */
  rates: number[];
}

/**
 * State in shards on several hosts of one machine, whose owners' count changes under a steady load, and the same with the slots of
 * a Redis Cluster on loopback, whose client is this process. A state shard is not available from when its last call at one
 * owner has ended until its first may begin at the next one.
 */
export async function benchStateHandover(dist: string): Promise<Row[]> {
  const measured = await ofShoal(dist);
  const gaps = [...outagesOf(measured.changes).values()].flat().map(({ fromMs, toMs }) => toMs - fromMs);
  said(`not served: ${QUANTILES.map((q) => `${labelOf(q)} ${quantile(gaps, q).toFixed(1)} ms`).join(', ')}`);
  for (const [why, count] of Object.entries(measured.failures)) said(`${count} calls failed: ${why}`);
  said('Redis Cluster');
  return rowsOf(measured, await ofRedis());
}

async function ofShoal(dist: string): Promise<Measured & { steadyUntilMs: number; bytes: number; moved: number }> {
  const [first = 1, ...counts] = COUNTS;
  const options = { dist, hosts: HOSTS, shards: SHARDS, count: first, countMax: Math.max(...COUNTS), load: true };
  const cluster = await StateCluster.start(options);
  const traffic = new LinkBytes(cluster);
  try {
    const load = `keys=${KEYS}&bytes=${VALUE_BYTES}`;
    said('filling');
    await cluster.askCaller(`/fill?${load}`, FILL_MS_MAX);
    await cluster.askCaller('/stop', FILL_MS_MAX);
    await cluster.askCaller(`/start?${load}&rate=${RATE}`, SETTLE_MS_MAX);
    for (const count of WARM_UP_COUNTS) await reshape(cluster, count);
    const warmMs = monotonicMs();
    await pause(STEADY_MS);
    const steadyUntilMs = monotonicMs();
    await traffic.start();
    let hosts = await hostsOf(cluster);
    let moved = 0;
    for (const count of counts) {
      await reshape(cluster, count);
      const after = await hostsOf(cluster);
      moved += [...after].filter(([shard, host]) => hosts.get(shard) !== host).length;
      hosts = after;
    }
    const bytes = await traffic.stop();
    const measured = await cluster.askCaller<Measured>('/stop', SETTLE_MS_MAX);
    const calls = measured.calls.filter(([startMs]) => startMs >= warmMs);
    const changes = measured.changes.filter(([, , atMs]) => atMs >= warmMs);
    return { ...measured, calls, changes, steadyUntilMs, bytes, moved };
  } finally {
    traffic.end();
    await cluster.close();
  }
}

async function reshape(cluster: StateCluster, count: number): Promise<void> {
  said(`count ${count}`);
  await cluster.setCount(count);
  await cluster.settled(SETTLE_MS_MAX);
  await cluster.replicated(SETTLE_MS_MAX);
}

/** The same keys, values, rate and counts. Null where there is no Redis. */
async function ofRedis(): Promise<Disturbed | null> {
  const [first = 1, ...counts] = COUNTS;
  const redis = await RedisCluster.start(Math.max(...COUNTS), first);
  if (redis === null) return null;
  const calls: { startMs: number; ms: number; redirects: number }[] = [];
  let timer: NodeJS.Timeout | undefined;
  try {
    const value = Buffer.alloc(VALUE_BYTES, 7);
    for (let at = 0; at < KEYS; at += FILLS_AT_ONCE) {
      const keys = Array.from({ length: Math.min(FILLS_AT_ONCE, KEYS - at) }, (_, i) => `k${at + i}`);
      await Promise.all(keys.map((key) => redis.call(key, 'SET', key, value)));
    }
    const failed: unknown[] = [];
    const callOne = async () => {
      const key = `k${Math.floor(Math.random() * KEYS)}`;
      const words = Math.random() < WRITE_SHARE ? ['SET', key, value] : ['GET', key];
      const startMs = monotonicMs();
      const redirects = await redis.call(key, ...words);
      calls.push({ startMs, ms: monotonicMs() - startMs, redirects });
    };
    const beganMs = monotonicMs();
    let sent = 0;
    timer = setInterval(() => {
      for (; sent < ((monotonicMs() - beganMs) * RATE) / 1_000; sent += 1)
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

function rowsOf(
  { calls, changes, steadyUntilMs, bytes, moved }: Awaited<ReturnType<typeof ofShoal>>,
  redis: Disturbed | null,
): Row[] {
  const name = `count ${COUNTS.join(' → ')}, ${Math.round((KEYS * VALUE_BYTES) / 2 ** 20)} MiB in ${SHARDS} state shards`;
  const outages = outagesOf(changes);
  const steady = calls.filter(([startMs, ms]) => startMs + ms < steadyUntilMs).map(([, ms]) => ms);
  const during = calls.filter(([startMs, ms]) => startMs + ms >= steadyUntilMs);
  const touched = during.filter(([startMs, ms, shard]) =>
    (outages.get(shard) ?? []).some(({ fromMs, toMs }) => startMs < toMs && startMs + ms > fromMs),
  );
  const gaps = [...outages.values()].flat().map(({ fromMs, toMs }) => toMs - fromMs);
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
  const least = (moved * KEYS * VALUE_BYTES) / SHARDS;
  return [
    ...QUANTILES.map((q) => alone(`${name}: a state shard is not served, ${labelOf(q)}`, 'ms', quantile(gaps, q))),
    ...QUANTILES.map((q) =>
      beside(`a call to what moves waits longer than usual, ${labelOf(q)}`, 'ms', ({ waits }) => quantile(waits, q)),
    ),
    alone('calls before, p50', 'ms', usual),
    alone('calls before, p99', 'ms', quantile(steady, 0.99)),
    beside('calls all the while, p99', 'ms', ({ ms }) => quantile(ms, 0.99)),
    alone('calls that failed', 'calls', calls.filter(([, , , failed]) => failed > 0).length),
    alone('hand-overs', 'state shards', gaps.length),
    beside(`answered each second of ${RATE} asked, p1 of windows of 250 ms`, 'calls/s', ({ rates }) =>
      quantile(rates, 0.01),
    ),
    {
      ...alone('bytes between hosts', 'MiB', bytes / 2 ** 20),
      ...peer('entries of the shards that changed host', least / 2 ** 20, bytes / 2 ** 20),
    },
  ];
}

function peer(name: string, peerValue: number, value: number): Pick<Row, 'peer' | 'peerValue' | 'ratio'> {
  return { peer: name, peerValue, ratio: value / peerValue };
}

function labelOf(q: number): string {
  return q === 1 ? 'max' : `p${q * 100}`;
}

/** By shard: from leaving one owner to arriving at the next. */
function outagesOf(changes: Measured['changes']): Map<number, { fromMs: number; toMs: number }[]> {
  const outages = new Map<number, { fromMs: number; toMs: number }[]>();
  const left = new Map<number, number>();
  for (const [shard, kind, atMs] of changes.toSorted((a, b) => a[2] - b[2])) {
    const fromMs = left.get(shard);
    if (kind === 'leave') left.set(shard, atMs);
    else if (fromMs !== undefined) {
      left.delete(shard);
      outages.set(shard, [...(outages.get(shard) ?? []), { fromMs, toMs: atMs }]);
    }
  }
  return outages;
}

/** Answers each second, by windows, from when calls were answered. */
function ratesOf(ends: number[]): number[] {
  const from = ends.reduce((least, end) => Math.min(least, end), Number.POSITIVE_INFINITY);
  const to = ends.reduce((most, end) => Math.max(most, end), Number.NEGATIVE_INFINITY);
  const windows = Array.from({ length: Math.max(1, Math.floor((to - from) / WINDOW_MS)) }, () => 0);
  for (const end of ends) {
    const window = Math.floor((end - from) / WINDOW_MS);
    if (window < windows.length) windows[window] = (windows[window] ?? 0) + 1000 / WINDOW_MS;
  }
  return windows;
}

/** How far it is, for whoever waits. */
function said(step: string): void {
  console.error(`state-handover: ${step}`);
}

async function hostsOf(cluster: StateCluster): Promise<Map<number, string>> {
  const instances = await cluster.instances();
  return new Map(instances.flatMap(({ host, shards }) => shards.map((shard): [number, string] => [shard, host])));
}

/** What agents have sent each other over their links, as the kernel counts it for each connection (ss(8)). */
class LinkBytes {
  readonly #cluster: StateCluster;
  readonly #sent = new Map<string, number>();
  readonly #before = new Map<string, number>();
  #ports = new Set<string>();
  #timer: NodeJS.Timeout | undefined;

  constructor(cluster: StateCluster) {
    this.#cluster = cluster;
  }

  async start(): Promise<void> {
    this.#ports = new Set([...this.#cluster.linkPorts.values()].map((port) => `:${port}`));
    await this.#look();
    for (const [connection, bytes] of this.#sent) this.#before.set(connection, bytes);
    this.#timer = setInterval(() => {
      this.#look().catch((error: Error) => console.error('bytes are not counted:', error.message));
    }, LOOK_MS);
  }

  async stop(): Promise<number> {
    this.end();
    await this.#look();
    return [...this.#sent].reduce((sum, [connection, bytes]) => sum + bytes - (this.#before.get(connection) ?? 0), 0);
  }

  end(): void {
    clearInterval(this.#timer);
  }

  async #look(): Promise<void> {
    const { stdout } = await run('ss', ['-HtinO', 'state', 'established']);
    for (const line of stdout.split('\n')) {
      const [, , local = '', remote = ''] = line.split(/\s+/);
      const bytes = /bytes_acked:(\d+)/.exec(line)?.[1];
      const isLink = [local, remote].some((end) => this.#ports.has(end.slice(end.lastIndexOf(':'))));
      if (isLink && bytes !== undefined) this.#sent.set(`${local} ${remote}`, Number(bytes));
    }
  }
}
