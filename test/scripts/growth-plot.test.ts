import fc from 'fast-check';
import t from 'tap';
import { exponentOf, growthPlot } from '../../scripts/lib/bench/growth-plot.js';

t.test('the exponent of a power of the size is that power', async () => {
  const sizes = fc.uniqueArray(fc.integer({ min: 1, max: 1e6 }), { minLength: 2, maxLength: 6 });
  fc.assert(
    fc.property(
      sizes,
      fc.double({ min: 0.1, max: 3, noNaN: true }),
      fc.integer({ min: 1, max: 1_000 }),
      (all, k, ms) => {
        const points = all.map((size) => ({ size, ms: ms * size ** k }));
        return Math.abs(exponentOf(points) - k) < 1e-6;
      },
    ),
  );
});

t.test('a chart has the points and the line that is linear, by powers of ten', async (t) => {
  const chart = growthPlot('Tick', [
    { size: 1_000, ms: 10 },
    { size: 10_000, ms: 100 },
    { size: 100_000, ms: 500 },
  ]);
  t.match(chart, /title "Tick: grows as size to the power 0\.85/);
  t.match(chart, '["1,000", "10,000", "100,000"]');
  t.match(chart, '0 --> 3');
  t.match(chart, 'line [1.00, 2.00, 2.70]\n  line [0.70, 1.70, 2.70]');
  t.throws(() => growthPlot('Tick', []), RangeError);
});
