import { connect } from 'shoal/sdk';

/** Counts how often it was told each number. */
const app = await connect();
const times = new Map<number, number>();
app.handle('note', (number) => {
  const count = (times.get(Number(number)) ?? 0) + 1;
  times.set(Number(number), count);
  return count;
});
await app.ready();
