import { mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { createClient } from '@redis/client';
import { pino } from 'pino';
import { CacheThread } from '../../../agent/cache/cache-thread.js';
import type { CachedSettings } from '../../../protocol/control.js';
import { CacheConnection } from '../../../sdk/cache/cache-connection.js';
import { SharedState } from '../../../sdk/shared-state.js';
import { quantile } from '../demo/recorder.js';
import { RedisServer } from '../state/redis-server.js';
import { retry } from '../until.js';
import { compare, type Row } from './rows.js';

const ROUNDS = 10;
/** One after the other, and at once: of each round. */
const ALONE = 500;
const TOGETHER = 5_000;
const AT_ONCE = 64;
const KEYS = 1_000;
const VALUE = Buffer.alloc(100, 'v');
const READY_MS_MAX = 20_000;
const SETTINGS: CachedSettings = { mode: 'cache', valueBytesMax: 1024 };
const PEER = 'client of the same server';

/** What reads and writes an entry. */
interface Store {
  get(key: string): Promise<unknown>;
  set(key: string, value: Buffer): Promise<unknown>;
}

/**
 * Gets and sets of 100 bytes in a cache by way of the agent, with and without near, next to the same client that the agent has,
 * used directly in this process; all with one redis-server on loopback, in turns.
 */
export async function benchStateCache(): Promise<Row[]> {
  const folder = await mkdtemp('/dev/shm/shoal-bench-');
  const server = await RedisServer.start();
  const thread = new CacheThread({ log: pino({ level: 'silent' }), news: () => undefined });
  const client = createClient({ socket: { host: '127.0.0.1', port: server.port } });
  const connections: CacheConnection[] = [];
  try {
    await client.connect();
    const target = { servers: [server.address], isCluster: false };
    const cacheOf = (component: string, near: boolean) =>
      ({ app: 'bench', component, valueBytesMax: 1024, target: { ...target, near } }) as const;
    const listenerOf = (component: string) =>
      ({ of: `bench/${component}`, path: join(folder, `${component}.sock`), owner: process.geteuid?.() ?? 0 }) as const;
    thread.want({
      caches: { 'bench/far': cacheOf('far', false), 'bench/near': cacheOf('near', true) },
      listeners: [listenerOf('far'), listenerOf('near')],
    });
    const near = { bytesMax: 64 * 2 ** 20, entriesMax: 2 * KEYS };
    const open = (component: string, settings: CachedSettings): Store => {
      const connection = new CacheConnection(listenerOf(component).path, settings);
      connections.push(connection);
      return new SharedState<Uint8Array>(connection, settings, 'entries', { raw: true });
    };
    const direct: Store = { get: (key) => client.get(key), set: (key, value) => client.set(key, value) };
    const agent = open('far', SETTINGS);
    const kept = open('near', { ...SETTINGS, near });
    for (const store of [direct, agent, kept]) await fill(store);
    return [
      ...(await rowsOf('by the agent', agent, direct)),
      ...(await rowsOf('near', kept, direct)).filter(({ metric }) => metric.includes('get')),
    ];
  } finally {
    for (const connection of connections) connection.close();
    client.destroy();
    await thread.close();
    await server.close();
    await rm(folder, { recursive: true, force: true });
  }
}

async function fill(store: Store): Promise<void> {
  await retry('reached', READY_MS_MAX, () => store.set('key-0', VALUE));
  for (let i = 0; i < KEYS; i += 1) await store.set(`key-${i}`, VALUE);
  for (let i = 0; i < KEYS; i += 1) await store.get(`key-${i}`);
}

async function rowsOf(way: string, ours: Store, theirs: Store): Promise<Row[]> {
  const rows: Row[] = [];
  for (const [name, action] of [
    ['get', (store: Store, key: string) => store.get(key)],
    ['set', (store: Store, key: string) => store.set(key, VALUE)],
  ] as const) {
    const us: [number[], number[]] = [[], []];
    const perSecond: [number[], number[]] = [[], []];
    for (let round = 0; round < ROUNDS; round += 1) {
      for (const [side, store] of [ours, theirs].entries()) {
        us[side]?.push(await oneByOne((key) => action(store, key)));
        perSecond[side]?.push(await manyAtOnce((key) => action(store, key)));
      }
    }
    rows.push(compare(`${name}, one after the other, ${way}, p50`, 'µs', 0.5, us[0], PEER, us[1]));
    rows.push(compare(`${name}, ${AT_ONCE} at once, ${way}`, '1/s', 0.5, perSecond[0], PEER, perSecond[1]));
  }
  return rows;
}

/** Median of the time of one, in µs. */
async function oneByOne(action: (key: string) => Promise<unknown>): Promise<number> {
  const took: number[] = [];
  for (let i = 0; i < ALONE; i += 1) {
    const start = performance.now();
    await action(`key-${i % KEYS}`);
    took.push((performance.now() - start) * 1_000);
  }
  return quantile(took, 0.5);
}

/** How many in a second. */
async function manyAtOnce(action: (key: string) => Promise<unknown>): Promise<number> {
  const start = performance.now();
  let next = 0;
  const work = async () => {
    for (let i = next++; i < TOGETHER; i = next++) await action(`key-${i % KEYS}`);
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  return (TOGETHER * 1_000) / (performance.now() - start);
}
