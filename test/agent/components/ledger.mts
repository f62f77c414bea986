import { connect } from 'shoal/sdk';

/** Counts how often it was told each number; answers a stream, and reads one. */
const app = await connect();
const times = new Map<number, number>();
app.handle('note', (number) => {
  const count = (times.get(Number(number)) ?? 0) + 1;
  times.set(Number(number), count);
  return count;
});
app.handle('numbers', function* (count) {
  for (let i = 0; i < Number(count); i += 1) yield Buffer.alloc(1_000, i % 251);
});
app.handle('sum', async (_body, { input }) => {
  let sum = 0;
  for await (const each of input) sum += (each as Buffer).length + ((each as Buffer)[0] ?? 0);
  return sum;
});
await app.ready();
