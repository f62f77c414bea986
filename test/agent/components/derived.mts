import { connect } from 'shoal/sdk';

/** Keeps values, where it has state, and how many there are of them in each of its state shards. */
const app = await connect();
const counts = new Map<number, number>();
app.onShardArrive(async (shard) => {
  let count = 0;
  for await (const _ of app.state('values').scan(shard)) count += 1;
  counts.set(shard, count);
});
app.onShardLeave((shard) => counts.delete(shard));
app.handle('set', (value, { key = '' }) => app.state('values').set(key, value));
app.handle('get', (_body, { key = '' }) => app.state('values').get(key));
app.handle('delete', (_body, { key = '' }) => app.state('values').delete(key));
app.handle('derived', () => [...counts.values()].reduce((sum, each) => sum + each, 0));
await app.ready();
