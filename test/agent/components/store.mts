import { connect } from 'shoal/sdk';

const app = await connect();
app.handle('set', (value, { key = '' }) => {
  app.state.set(key, value);
});
app.handle('get', (_body, { key = '' }) => app.state.get(key));
app.handle('who', () => app.identity.instance);
await app.ready();
