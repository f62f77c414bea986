import t from 'tap';
import { StartGate } from '../../agent/start-gate.js';

t.test('no more than there are places start at once, and who came first goes first', async (t) => {
  const gate = new StartGate(2, 60_000);
  const order: number[] = [];
  const leave = await Promise.all([gate.enter(), gate.enter()]);
  const waiting = [1, 2, 3].map(async (each) => {
    const left = await gate.enter();
    order.push(each);
    return left;
  });
  await new Promise((resolve) => setImmediate(resolve));
  t.same(order, [], 'both places are taken');
  leave[0]?.();
  leave[0]?.();
  const first = await waiting[0];
  await new Promise((resolve) => setImmediate(resolve));
  t.same(order, [1], 'a place that is given back twice is one place');
  first?.();
  leave[1]?.();
  for (const left of await Promise.all(waiting)) left();
  t.same(order, [1, 2, 3]);
});

t.test('a start that takes for ever holds up nobody', async () => {
  const gate = new StartGate(1, 1);
  await gate.enter();
  // Nothing else keeps this process going until the place is taken away.
  const alive = setInterval(() => undefined, 1_000);
  const leave = await gate.enter();
  clearInterval(alive);
  leave();
});
