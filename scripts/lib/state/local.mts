import { createServer } from 'node:http';
import { Socket } from 'node:net';
import { connect } from 'shoal/sdk';
import { takeSockets } from '../bench/calls/sockets.mjs';
import { RedisConnection } from './redis-connection.mjs';
import { shardOf } from './shard-of.mjs';

/**
 * One component for scripts/bench state: each instance has entries, and measures gets and sets of its own, of other instances by
 * calls, and of a Redis whose socket it is handed. `GET /WAY/get|set?owners=ID,…&atOnce=N&ms=N`: WAY is `owner`, `call` or `redis`;
 * answers how many were done, and a sample of the microseconds that they took.
 */
const SHARDS = Number(process.env.SHARDS);
const KEYS = 1_024;
const VALUE = Buffer.alloc(100, 'v');
/** Every so many is timed. */
const TIMED = 64;

const app = await connect();
const values = app.state<Uint8Array>('values', { raw: true });
app.handle('get', (_body, { key = '' }) => values.get(key));
app.handle('set', (value, { key = '' }) => values.set(key, value as Uint8Array));

let redis: RedisConnection | undefined;
takeSockets((_kind, [fd]) => {
  if (fd === undefined) return;
  redis = new RedisConnection(new Socket({ fd }));
});

type Action = (key: string) => Promise<unknown>;

const WAYS: Record<string, Action> = {
  'owner/get': (key) => values.get(key),
  'owner/set': (key) => values.set(key, VALUE),
  'call/get': (key) => app.call('store', 'get', null, { key }),
  'call/set': (key) => app.call('store', 'set', VALUE, { key }),
  'redis/get': (key) => asked('GET', key),
  'redis/set': (key) => asked('SET', key, VALUE),
};

async function asked(...words: (string | Buffer)[]): Promise<unknown> {
  if (redis === undefined) throw new Error('no socket of a Redis was handed in');
  const reply = await redis.ask(...words);
  if (reply instanceof Error) throw reply;
  return reply;
}

/** Keys of state shards that one of these instances owns. */
function keysOf(owners: ReadonlySet<string>): string[] {
  const route = app.peers().find(({ component }) => component === 'store')?.owners ?? [];
  const keys: string[] = [];
  for (let i = 0; keys.length < KEYS && i < KEYS * SHARDS; i += 1) {
    const key = `key-${i}`;
    if (owners.has(route[shardOf(key, SHARDS)] ?? '')) keys.push(key);
  }
  if (keys.length === 0) throw new Error(`no state shard is with ${[...owners].join(' or ')}`);
  return keys;
}

/** Who reads its own state is refused once the key's state shard has moved; calls go there by themselves. */
function without(keys: readonly string[], key: string, error: unknown): string[] {
  if ((error as { code?: string }).code !== 'SHOAL_E_SHARD_MOVED') throw error;
  const left = keys.filter((each) => each !== key);
  if (left.length === 0) throw new Error('all state shards have moved');
  return left;
}

async function measure(action: Action, owned: readonly string[], atOnce: number, ms: number): Promise<unknown> {
  let keys = owned;
  const took: number[] = [];
  const beganMs = performance.now();
  let done = 0;
  let isOver = false;
  const work = async () => {
    while (!isOver) {
      done += 1;
      const key = keys[done % keys.length] as string;
      const startMs = done % TIMED === 0 ? performance.now() : Number.NaN;
      try {
        await action(key);
      } catch (error) {
        keys = without(keys, key, error);
        continue;
      }
      if (Number.isNaN(startMs)) continue;
      const endMs = performance.now();
      took.push((endMs - startMs) * 1_000);
      isOver ||= endMs - beganMs >= ms;
      // What never waits for anything would leave no turn to what keeps this process alive.
      if (done % (TIMED * TIMED) === 0) await new Promise((resolve) => setImmediate(resolve));
    }
  };
  await Promise.all(Array.from({ length: atOnce }, work));
  return { done, ms: performance.now() - beganMs, took };
}

const server = createServer((request, response) => {
  const { pathname, searchParams } = new URL(request.url ?? '/', 'http://inside');
  const action = WAYS[pathname.slice(1)];
  const [atOnce, ms] = ['atOnce', 'ms'].map((name) => Number(searchParams.get(name))) as [number, number];
  const answer = async () => {
    if (action === undefined) throw new Error(`no way ${pathname}`);
    return measure(action, keysOf(new Set(searchParams.get('owners')?.split(','))), atOnce, ms);
  };
  answer().then(
    (measured) => response.end(JSON.stringify(measured)),
    (error: unknown) => response.writeHead(500).end(String(error)),
  );
});
await app.listen('http', server);
await app.ready();
