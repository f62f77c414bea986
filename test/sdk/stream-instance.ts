/** A component in a process of its own, to be killed in the middle of a stream. */
import { setTimeout as wait } from 'node:timers/promises';
import { connect } from '../../sdk/index.js';

const app = await connect();
app.handle('count', async function* () {
  for (let i = 0; ; i += 1) {
    yield i;
    await wait(1);
  }
});
/** Calls another component with an input that does not end. */
app.handle('feed', (_body, { signal }) => {
  const endless = async function* () {
    for (let i = 0; ; i += 1) {
      yield i;
      await wait(1);
    }
  };
  return app.call('reader', 'read', null, { input: endless(), signal });
});
await app.ready();
