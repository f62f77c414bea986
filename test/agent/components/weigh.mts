import { connect } from 'shoal/sdk';

const app = await connect();
// Opened when it is needed: it also runs as a component without state.
const burns = () => app.state<number>('burns');
/** Uses the CPU for so many ms and answers how often that was done under this key. */
app.handle('burn', (ms, { key = '' }) => {
  const until = performance.now() + Number(ms);
  while (performance.now() < until);
  return burns().update(key, (count = 0) => count + 1);
});
/** Takes so many ms; ten times as long at instance 1. */
app.handle('wait', async (ms) => {
  const times = app.identity.instance.endsWith('-1') ? 10 : 1;
  await new Promise((resolve) => setTimeout(resolve, times * Number(ms)));
  return app.identity.instance;
});
await app.ready();
