import { rmSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { Segments } from '../../../agent/segments.js';
import { native } from '../../../native/index.js';
import { ShoalError } from '../../../protocol/errors.js';
import { LIMITS } from '../../../protocol/limits.js';
import { shardOfKey } from '../../../protocol/shard.js';
import { ShardStore } from '../../../sdk/shard-store.js';
import { OwnedState } from '../../../sdk/state.js';
import { quantile } from '../demo/recorder.js';
import { RedisConnection } from '../state/redis-connection.mjs';
import { RedisServer } from '../state/redis-server.js';
import { alone, type Row } from './rows.js';

const isQuick = process.env.SHOAL_BENCH_QUICK === '1';
const KEYS = isQuick ? 500_000 : 10_000_000;
/** A Redis is loaded by pipelines, which takes longer; what it takes for a key hardly depends on how many there are. */
const REDIS_KEYS = isQuick ? 100_000 : 1_000_000;
const REDIS_AT_ONCE = 1_000;
const SHARDS = 256;
const VALUE = Buffer.from('sixteen bytes ..');
const LOOKS = 200_000;
const PEER = 'Redis over loopback';
/** So many writes are looked at together for the CPU time that they take. */
const TOGETHER = 100;
/** Writes that are refused while others are read. */
const REFUSALS = 20_000;

interface Loaded {
  perSecond: number;
  bytesPerKey: number;
  /** Of single gets, in µs. */
  gets: number[];
}

/**
 * Small keys by the million in the state shards of one instance: what a key takes of memory, how long a write is held up at most, how
 * long a get takes; then what gets take of other keys while one shard is full and refuses. Beside a redis-server.
 */
export async function benchStateFull(): Promise<Row[]> {
  const folder = join('/dev/shm', `shoal-bench-full-${process.pid}`);
  const shardBytesMax = LIMITS.stateShardBytesDefault;
  const settings = { mode: 'partitioned' as const, shards: SHARDS, shardBytesMax, valueBytesMax: 1024 * 1024 };
  const store = new ShardStore(settings);
  const segments = new Segments(folder);
  try {
    for (let shard = 0; shard < SHARDS; shard += 1) {
      const { fd, epoch } = segments.grant('bench/full', shard);
      store.offer(shard, epoch, () => native.openSharedFile(fd));
      await store.own(shard, epoch);
    }
    const state = new OwnedState<Uint8Array>(store, 's', { raw: true });
    const held = () => segments.figures('bench/full').reduce((sum, { heldBytes }) => sum + heldBytes, 0);
    const ours = await load(state, held);
    const { full, refused } = await refuse(state);
    return rowsOf(ours, full, refused, await loadRedis());
  } finally {
    store.close();
    rmSync(folder, { recursive: true, force: true });
  }
}

async function load(
  state: OwnedState<Uint8Array>,
  held: () => number,
): Promise<Loaded & { longestUs: number; longestCpuUs: number }> {
  const before = process.memoryUsage();
  const beganMs = performance.now();
  let longestUs = 0;
  let longestCpuUs = 0;
  let lastMs = beganMs;
  let cpuUs = cpuUsedUs();
  for (let i = 0; i < KEYS; i += 1) {
    await state.set(`k${i}`, VALUE);
    const nowMs = performance.now();
    longestUs = Math.max(longestUs, (nowMs - lastMs) * 1_000);
    lastMs = nowMs;
    if (i % TOGETHER > 0) continue;
    const usedUs = cpuUsedUs();
    longestCpuUs = Math.max(longestCpuUs, usedUs - cpuUs);
    cpuUs = usedUs;
  }
  const perSecond = (KEYS * 1_000) / (performance.now() - beganMs);
  const after = process.memoryUsage();
  const own = after.arrayBuffers - before.arrayBuffers + Math.max(0, after.heapUsed - before.heapUsed);
  const gets = await timed(LOOKS, (i) => state.get(`k${(i * 7_919) % KEYS}`));
  return { perSecond, bytesPerKey: (held() + own) / KEYS, gets, longestUs, longestCpuUs };
}

/** Of all threads: whoever else the machine works for does not count. */
function cpuUsedUs(): number {
  const { user, system } = process.cpuUsage();
  return user + system;
}

/** Microseconds of each, one after the other. */
async function timed(count: number, action: (i: number) => Promise<unknown>): Promise<number[]> {
  const took: number[] = [];
  for (let i = 0; i < count; i += 1) {
    const startMs = performance.now();
    await action(i);
    took.push((performance.now() - startMs) * 1_000);
  }
  return took;
}

/** One shard is filled up; then gets of others, after a write that is refused each. */
async function refuse(state: OwnedState<Uint8Array>): Promise<{ full: number[]; refused: number }> {
  const large = Buffer.alloc(256 * 1024);
  const shard = shardOfKey('k0', SHARDS);
  const keys = (function* () {
    for (let i = 0; ; i += 1) if (shardOfKey(`large-${i}`, SHARDS) === shard) yield `large-${i}`;
  })();
  let refused = 0;
  const put = async () => {
    try {
      await state.set(keys.next().value as string, large);
    } catch (error) {
      if (!(error instanceof ShoalError) || error.code !== 'SHOAL_E_STATE_FULL') throw error;
      refused += 1;
    }
  };
  while (refused === 0) await put();
  const full: number[] = [];
  for (let i = 0; i < REFUSALS; i += 1) {
    await put();
    const startMs = performance.now();
    await state.get(`k${(i * 7_919) % KEYS}`);
    full.push((performance.now() - startMs) * 1_000);
  }
  return { full, refused };
}

async function loadRedis(): Promise<Loaded> {
  const server = await RedisServer.start();
  const redis = new RedisConnection(connect(server.port, '127.0.0.1'));
  try {
    const used = async () => Number(/used_memory:(\d+)/.exec(String(await redis.ask('INFO', 'memory')))?.[1]);
    const before = await used();
    const beganMs = performance.now();
    for (let at = 0; at < REDIS_KEYS; at += REDIS_AT_ONCE) {
      await Promise.all(Array.from({ length: REDIS_AT_ONCE }, (_, i) => redis.ask('SET', `k${at + i}`, VALUE)));
    }
    const perSecond = (REDIS_KEYS * 1_000) / (performance.now() - beganMs);
    const bytesPerKey = ((await used()) - before) / REDIS_KEYS;
    const gets = await timed(LOOKS / 20, (i) => redis.ask('GET', `k${(i * 7_919) % REDIS_KEYS}`));
    return { perSecond, bytesPerKey, gets };
  } finally {
    redis.close();
    await server.close();
  }
}

function rowsOf(ours: Awaited<ReturnType<typeof load>>, full: number[], refused: number, redis: Loaded): Row[] {
  const name = `${KEYS / 1e6} million keys of some 8 bytes with values of 16`;
  const beside = (metric: string, unit: string, of: (each: Loaded) => number): Row => {
    const [value, peerValue] = [of(ours), of(redis)];
    return { metric, unit, value, peer: `${PEER}, ${REDIS_KEYS / 1e6} million`, peerValue, ratio: value / peerValue };
  };
  const us = (q: number) => (each: Loaded) => quantile(each.gets, q);
  return [
    beside(`${name}: memory of a key, index included`, 'bytes', ({ bytesPerKey }) => bytesPerKey),
    beside('written, one after the other; Redis: 1,000 at once', '1/s', ({ perSecond }) => perSecond),
    alone('written: all of them', 's', KEYS / ours.perSecond),
    alone('written: the longest', 'µs', ours.longestUs),
    alone(`written: CPU time of ${TOGETHER} together, the most`, 'µs', ours.longestCpuUs),
    beside('get, p50', 'µs', us(0.5)),
    beside('get, p99', 'µs', us(0.99)),
    alone('writes refused by a full state shard', 'writes', refused),
    alone('get from others meanwhile, p50', 'µs', quantile(full, 0.5)),
    alone('get from others meanwhile, p99', 'µs', quantile(full, 0.99)),
  ];
}
