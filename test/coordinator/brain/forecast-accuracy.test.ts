import fc from 'fast-check';
import t from 'tap';
import { newAccuracy, noteAccuracy } from '../../../coordinator/brain/forecast-accuracy.js';

const point = (mean: number) => ({ mean, lower: mean - 1, upper: mean + 1 });
const path = (mean: number, steps = 5) => Array.from({ length: steps }, () => point(mean));

t.test('each forecast is compared with the demand of its own time, at both horizons', async (t) => {
  const accuracy = newAccuracy(3);
  // Forecasts of 10, 20, 30 … made at steps 0, 1, 2 …; the demand of step i is what was forecast i - 3 steps before it.
  for (let i = 0; i < 20; i += 1) noteAccuracy(accuracy, (i - 2) * 10, path((i + 1) * 10));
  t.match(accuracy.lead, { steps: 3, compared: 17, errorCpu: 0, covered: 1 });
  t.match(accuracy.step, { steps: 1, compared: 19, errorCpu: 20, covered: 0 });
});

t.test('an unknown demand is not compared, and the next ones still with their own', async (t) => {
  const accuracy = newAccuracy(2);
  for (let i = 0; i < 10; i += 1) noteAccuracy(accuracy, i === 5 ? null : i, i === 4 ? [] : path(i + 2));
  t.match(accuracy.lead, { errorCpu: 0, covered: 1 });
  t.ok(accuracy.lead.compared < 8);
});

t.test('errors and coverage are those of the compared values', async (t) => {
  const demands = fc.array(fc.double({ min: 0, max: 100, noNaN: true }), { minLength: 2, maxLength: 50 });
  const told = fc.check(
    fc.property(demands, (values) => {
      const accuracy = newAccuracy(1);
      for (const value of values) noteAccuracy(accuracy, value, path(50));
      const errors = values.slice(1).map((value) => Math.abs(value - 50));
      const mean = errors.reduce((sum, error) => sum + error, 0) / errors.length;
      const covered = errors.filter((error) => error <= 1).length / errors.length;
      const { errorCpu, covered: share } = accuracy.step;
      return Math.abs(errorCpu - mean) < 1e-6 && Math.abs(share - covered) < 1e-6;
    }),
  );
  t.notOk(told.failed, JSON.stringify(told.counterexample));
});
