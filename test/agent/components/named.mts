/** Spends its CPU time in a function whose name its environment says: some milliseconds of each second, or of its life. */
import { connect } from 'shoal/sdk';

const name = process.env.FUNCTION ?? 'nameless';
const spend = new Function(
  'until',
  `return function ${name}() { let sum = 0; while (performance.now() < until()) for (let i = 0; i < 10000; i += 1) sum = Math.imul(sum ^ i, 1664525) | 0; return sum; }`,
);
let end = 0;
const work = spend(() => end) as () => number;
const app = await connect();
await app.ready();
setInterval(() => {
  end = performance.now() + 20;
  work();
}, 60);
