import { connect } from 'shoal/sdk';

/** Counts by name. Each count is kept by one instance, so that none is lost when several add to it at once. */
const app = await connect();
const counts = app.state<number>('counts', { needs: ['scan'] });

app.handle('add', (by, { key = '' }) => counts.update(key, (count = 0) => count + Number(by)));
app.handle('get', async (_body, { key = '' }) => (await counts.get(key)) ?? 0);
/** Of the state shards that this instance has: the caller asks all instances. */
app.handle('sum', async (_body, { shards }) => {
  let sum = 0;
  for (const shard of shards) for await (const [, count] of counts.scan(shard)) sum += count;
  return sum;
});
await app.ready();
