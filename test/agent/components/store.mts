import { connect } from 'shoal/sdk';

const app = await connect();
// Opened when it is needed: it also runs as a component without state.
const values = () => app.state('values');
app.handle('set', (value, { key = '' }) => values().set(key, value));
app.handle('get', (_body, { key = '' }) => values().get(key));
app.handle('who', () => app.identity.instance);
app.handle('never', () => new Promise(() => {}));
app.handle('slow', async (_body, { key = '' }) => {
  await new Promise((resolve) => setTimeout(resolve, 1_500));
  return values().get(key);
});
await app.ready();
