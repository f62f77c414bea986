import { randomUUID } from 'node:crypto';
import { connect } from 'shoal/sdk';
import { askTheTime, nowMs } from './clock-trips.mjs';

/** Numbers by key: what the tests, soaks and benches of moving state ask of a component with state. */
const app = await connect();
const values = app.state<number>('values');

app.handle('get', async (_body, { key = '' }) => (await values.get(key)) ?? null);
app.handle('set', async (value, { key = '' }) => {
  let before: number | null = null;
  await values.update(key, (present) => {
    before = present ?? null;
    return value as number;
  });
  return before;
});
app.handle('add', (value, { key = '' }) => values.update(key, (before = 0) => before + (value as number)));

/** What this process can read of these keys, and how many ms old that may be where the state is replicated. */
const who = `${app.identity.instance} ${randomUUID()}`;
app.handle('here', async (keys) => {
  const lagMs = app.stats.stateLagMs ?? null;
  const read = await Promise.all(
    String(keys)
      .split(',')
      .map((each) => values.get(each)),
  );
  return { who, lagMs, values: read.map((each) => each ?? 0) };
});

/** For benches: bytes of any length. */
const blobs = app.state<Uint8Array>('blobs', { raw: true });
app.handle('put', (value, { key = '' }) => blobs.set(key, value as Uint8Array));
app.handle('read', (_body, { key = '' }) => blobs.get(key));
app.handle('size', async (_body, { shards }) => {
  let entries = 0;
  for (const shard of shards) for await (const _ of blobs.scan(shard)) entries += 1;
  return entries;
});

// To whom measures hand-overs: when a shard's last call here has ended, and when its first may begin.
const told = process.env.TELLS;
if (told !== undefined && process.env.CLOCK_EVERY_MS !== undefined)
  askTheTime(app, told, Number(process.env.CLOCK_EVERY_MS));
for (const kind of told === undefined ? [] : (['arrive', 'leave'] as const)) {
  const hook = (shard: number) => {
    const change = [shard, kind, nowMs(), app.identity.instance];
    app.call(told as string, 'changed', change).catch((error: Error) => console.error('nobody heard:', error.message));
  };
  if (kind === 'arrive') app.onShardArrive(hook);
  else app.onShardLeave(hook);
}
await app.ready();
