import { connect } from 'shoal/sdk';

/** A count that all instances show, and how many ms what is shown here may be old. */
const app = await connect();
const board = app.state<number>('board');
app.handle('add', (_body, { key = '' }) => board.update(key, (count = 0) => count + 1));
app.handle('add-and-read', async (_body, { key = '' }) => {
  const written = await board.update(key, (count = 0) => count + 1);
  return { written, read: await board.get(key), who: app.identity.instance };
});
app.handle('get', async (_body, { key = '' }) => ({ read: await board.get(key), who: app.identity.instance }));
app.handle('lag', () => app.stats.stateLagMs);
await app.ready();
