/** An instance as its own process for leave.test.ts: connect() as components do, with folders given by the environment. */
import { createServer } from 'node:http';
import { connect } from '../../sdk/index.js';

const app = await connect();
app.handle('slow', async (body) => {
  process.send?.('at work');
  await new Promise((resolve) => process.once('message', resolve));
  return body;
});
app.handle('quick', () => process.pid);
app.onDrain(() => {
  process.send?.('drained');
  process.disconnect?.();
});
await app.listen(
  'web',
  createServer((_request, response) => response.end('page')),
);
await app.ready();
