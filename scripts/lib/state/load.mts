import { createServer } from 'node:http';
import { connect } from 'shoal/sdk';
import { nowMs } from './clock-trips.mjs';
import { shardOf } from './shard-of.mjs';

/**
 * A steady load on the component `store`, for benches. `GET /fill?keys=N&bytes=N` writes all values once; `/start?rate=N&keys=N&
 * bytes=N` begins to read and write at that rate, whatever comes back; `/stop` ends it and answers what was measured. All
 * times are ms of CLOCK_MONOTONIC: of calls this host's, of changes that of the instance, which asks what time it is here.
 */
const SHARDS = Number(process.env.SHARDS);
const WRITE_SHARE = 0.2;
const TICK_MS_MIN = 4;
const FILLS_AT_ONCE = 32;
const CALL_MS_MAX = 30_000;

const app = await connect();
const calls: [startMs: number, ms: number, shard: number, failed: number, written: number][] = [];
/** Why calls failed, and how many. */
const failures: Record<string, number> = {};
const changes: [shard: number, kind: string, atMs: number, instance: string][] = [];
const trips: unknown[] = [];
let timer: NodeJS.Timeout | undefined;

app.handle('changed', (change) => {
  changes.push(change as (typeof changes)[number]);
});
app.handle('clock', (trip) => {
  const heardMs = nowMs();
  if (trip !== null) trips.push(trip);
  return heardMs;
});

async function put(index: number, bytes: number): Promise<void> {
  const value = Buffer.alloc(bytes, index % 256);
  await app.call('store', 'put', value, { key: `k${index}`, deadlineMs: CALL_MS_MAX });
}

async function fill(keys: number, bytes: number): Promise<void> {
  let next = 0;
  const one = async () => {
    while (next < keys) {
      next += 1;
      await put(next - 1, bytes);
    }
  };
  await Promise.all(Array.from({ length: FILLS_AT_ONCE }, one));
}

async function callOne(keys: number, bytes: number): Promise<void> {
  const index = Math.floor(Math.random() * keys);
  const key = `k${index}`;
  const startMs = nowMs();
  const written = Math.random() < WRITE_SHARE ? 1 : 0;
  let failed = 0;
  try {
    if (written === 1) await put(index, bytes);
    else await app.call('store', 'read', null, { key, deadlineMs: CALL_MS_MAX });
  } catch (error) {
    failed = 1;
    const { code = '', message } = error as { code?: string; message: string };
    const why = `${code} ${message.replaceAll(/\d+/g, 'N')}`;
    failures[why] = (failures[why] ?? 0) + 1;
  }
  calls.push([startMs, nowMs() - startMs, shardOf(key, SHARDS), failed, written]);
}

function start(rate: number, keys: number, bytes: number): void {
  let sent = 0;
  const beganMs = nowMs();
  timer = setInterval(
    () => {
      const due = ((nowMs() - beganMs) * rate) / 1_000;
      for (; sent < due; sent += 1) void callOne(keys, bytes);
    },
    Math.max(TICK_MS_MIN, 1_000 / rate),
  );
}

async function answer({ pathname, searchParams }: URL): Promise<unknown> {
  const [keys, bytes, rate] = ['keys', 'bytes', 'rate'].map((name) => Number(searchParams.get(name)));
  if (pathname === '/fill') await fill(keys as number, bytes as number);
  else if (pathname === '/start') start(rate as number, keys as number, bytes as number);
  else if (pathname === '/stop') {
    clearInterval(timer);
    return { calls: calls.splice(0), changes: changes.splice(0), trips: trips.splice(0), failures };
  }
  return {};
}

const server = createServer((request, response) => {
  void answer(new URL(request.url ?? '/', 'http://inside')).then((result) => response.end(JSON.stringify(result)));
});
await app.listen('http', server);
await app.ready();
