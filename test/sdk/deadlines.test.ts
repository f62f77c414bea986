import t from 'tap';
import { until } from '../../scripts/lib/until.js';
import { Deadlines } from '../../sdk/deadlines.js';

t.test('what is not met in time is given up, once; what is met is not', async (t) => {
  const deadlines = new Deadlines();
  const expired: string[] = [];
  const inMs = (ms: number, name: string, then = () => {}) => ({
    deadlineMs: performance.now() + ms,
    expire() {
      t.ok(performance.now() >= this.deadlineMs, `${name} not before its time`);
      expired.push(name);
      then();
    },
  });
  const met = inMs(1, 'met');
  // The first that is heard of is not the first to pass, and one that passes begins another.
  deadlines.add(inMs(60, 'last'));
  deadlines.add(met);
  deadlines.delete(met);
  deadlines.add(inMs(5, 'first', () => deadlines.add(inMs(10, 'begun by it'))));
  deadlines.add(inMs(5, 'beside it'));
  await until(() => expired.includes('last'));
  t.same([...expired].sort(), ['begun by it', 'beside it', 'first', 'last']);
});

t.test('a deadline that has passed already is given up as well', async () => {
  const deadlines = new Deadlines();
  let expired = false;
  deadlines.add({
    deadlineMs: performance.now() - 1,
    expire() {
      expired = true;
    },
  });
  await until(() => expired);
});
