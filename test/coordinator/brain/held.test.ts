import fc from 'fast-check';
import t from 'tap';
import { type Held, highestHeld, hold } from '../../../coordinator/brain/held.js';

t.test('the highest of the window is held, whatever the values, gaps and windows', async () => {
  const step = fc.record({ gapMs: fc.nat(3_000), value: fc.nat(20), windowMs: fc.integer({ min: 1, max: 10_000 }) });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const held: Held = [];
      let nowMs = 0;
      let widest = 0;
      const all: { atMs: number; value: number }[] = [];
      return steps.every(({ gapMs, value, windowMs }) => {
        nowMs += gapMs;
        // What a narrow window has forgotten no wider one finds again.
        widest = Math.max(nowMs - windowMs, widest);
        const valid = all.filter(({ atMs }) => atMs > widest);
        const expected = Math.max(0, ...valid.map((each) => each.value));
        const found = highestHeld(held, widest, nowMs);
        hold(held, nowMs, value, widest);
        all.push({ atMs: nowMs, value });
        return (
          found === expected && highestHeld(held, widest, nowMs) === Math.max(expected, nowMs > widest ? value : 0)
        );
      });
    }),
  );
});

t.test('values of a time to come, as after a clock that was set back, are forgotten', async (t) => {
  const held: Held = [];
  hold(held, 10_000, 5, 0);
  hold(held, 2_000, 1, 0);
  t.equal(highestHeld(held, 0, 2_000), 1);
  t.equal(highestHeld(held, 0, 20_000), 1);
});
