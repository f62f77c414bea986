import fc from 'fast-check';
import t from 'tap';
import { steadyClock } from '../../coordinator/steady-clock.js';

const HOUR_MS = 3_600_000;

/** A clock on the wall that can be set, over one that nobody sets. */
function rig() {
  const at = { wallMs: 1_800_000_000_000, monotonicMs: 5 };
  const clock = steadyClock(
    () => at.wallMs,
    () => at.monotonicMs,
  );
  const pass = (ms: number) => {
    at.wallMs += ms;
    at.monotonicMs += ms;
  };
  return { at, clock, pass };
}

t.test('spans are right to within a quarter and time never goes back, whatever is done to the clock', async () => {
  const step = fc.record({
    passMs: fc.integer({ min: 0, max: 60_000 }),
    setMs: fc.integer({ min: -12 * HOUR_MS, max: 12 * HOUR_MS }),
  });
  fc.assert(
    fc.property(fc.array(step, { minLength: 1, maxLength: 50 }), (steps) => {
      const { at, clock, pass } = rig();
      const firstMs = at.wallMs;
      let last = clock();
      for (const { passMs, setMs } of steps) {
        // An operator sets it, within half a day of the truth.
        at.wallMs = firstMs + at.monotonicMs + setMs;
        pass(passMs);
        const now = clock();
        const span = now - last;
        if (span < Math.floor(0.75 * passMs) - 1 || span > Math.ceil(1.25 * passMs) + 1)
          throw new Error(`${passMs} ms took ${span}`);
        last = now;
      }
    }),
  );
});

t.test('it nears a clock that was set, and takes one that was off by more than a day as it is', async (t) => {
  const { at, clock, pass } = rig();
  at.wallMs += 60_000;
  t.equal(at.wallMs - clock(), 60_000, 'no jump');
  for (let second = 0; second < 239; second += 1) {
    pass(1_000);
    clock();
  }
  t.ok(at.wallMs - clock() < 500, 'a minute is made good in four');
  pass(10_000);
  t.equal(clock(), at.wallMs);
  at.wallMs += 400 * 24 * HOUR_MS;
  pass(1_000);
  t.equal(clock(), at.wallMs);
});
