import { connect } from 'shoal/sdk';

const app = await connect();
app.handle('set', (value, { key = '' }) => {
  app.state.set(key, value);
});
app.handle('get', (_body, { key = '' }) => app.state.get(key));
app.handle('who', () => app.identity.instance);
app.handle('never', () => new Promise(() => {}));
app.handle('slow', async (_body, { key = '' }) => {
  await new Promise((resolve) => setTimeout(resolve, 1_500));
  return app.state.get(key);
});
await app.ready();
