import { connect } from 'shoal/sdk';

/** Answers numbered lines as a stream, and counts those of one that it is sent. */
const app = await connect();
app.handle('numbers', function* (count) {
  for (let i = 1; i <= Number(count); i += 1) yield `line ${i}\n`;
});
app.handle('count', async (_body, { input }) => {
  let lines = 0;
  for await (const part of input) lines += String(part).split('\n').length - 1;
  return lines;
});
await app.ready();
