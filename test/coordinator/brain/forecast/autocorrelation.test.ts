import fc from 'fast-check';
import t from 'tap';
import { laggedProducts } from '../../../../coordinator/brain/forecast/autocorrelation.js';

t.test('equals the sums of products, pair by pair', async () => {
  const values = fc.array(fc.double({ min: -100, max: 100, noNaN: true }), { maxLength: 70 });
  fc.assert(
    fc.property(values, fc.integer({ min: 0, max: 80 }), (series, lagMax) => {
      const sums = laggedProducts(series, lagMax);
      const scale = series.reduce((sum, value) => sum + value * value, 1);
      return (
        sums.length === lagMax + 1 &&
        sums.every((sum, lag) => {
          const direct = series.slice(lag).reduce((all, value, i) => all + value * (series[i] as number), 0);
          return Math.abs(sum - direct) <= 1e-12 * scale;
        })
      );
    }),
    { numRuns: 200 },
  );
});
