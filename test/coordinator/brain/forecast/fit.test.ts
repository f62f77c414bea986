import fc from 'fast-check';
import t from 'tap';
import { fit, offsetFor, refusal } from '../../../../coordinator/brain/forecast/fit.js';
import { copyState, expected, type Form, step } from '../../../../coordinator/brain/forecast/holt-winters.js';
import { predict } from '../../../../coordinator/brain/forecast/predict.js';
import { normalFrom, normalQuantile, randomFrom } from '../../../../coordinator/brain/forecast/random.js';
import { varianceOf } from '../../../../coordinator/brain/forecast/variance.js';

const TWO: Form = { trend: 'none', seasonal: 'additive', seasons: [6, 24] };

/** Two waves, one inside the other, and noise of standard deviation 1. */
function waves(seed: number, length: number): number[] {
  const random = randomFrom(seed);
  const wave = (i: number, m: number) => Math.sin((2 * Math.PI * i) / m);
  return Array.from({ length }, (_, i) => 50 + 8 * wave(i, 6) + 10 * wave(i, 24) + normalFrom(random));
}

t.test('two seasons are fitted: little more than the noise is left', async (t) => {
  const model = fit(waves(1, 400), TWO);
  t.ok(model.meanSquare < 1.3, `mean square ${model.meanSquare}, of the noise 1`);
  t.equal(predict(model, 1).model, 'level additive Holt-Winters, seasons 6 and 24');
  const plain = fit(waves(1, 400), { ...TWO, seasons: [6] });
  t.ok(plain.meanSquare > 2 * model.meanSquare, 'one season alone misses the other');
});

t.test('intervals cover what they promise', async (t) => {
  let within = 0;
  let all = 0;
  for (let seed = 1; seed <= 30; seed++) {
    const values = waves(seed, 260);
    const { intervals } = predict(fit(values.slice(0, 240), TWO, { evaluationsMax: 150 }), 20, { levels: [0.8] });
    for (let h = 0; h < 20; h++) {
      const value = values[240 + h] ?? 0;
      all += 1;
      if (value >= (intervals[0]?.lower[h] ?? 0) && value <= (intervals[0]?.upper[h] ?? 0)) within += 1;
    }
  }
  t.ok(Math.abs(within / all - 0.8) < 0.06, `${within / all} of the values`);
});

t.test('the correction finds errors that follow each other', async (t) => {
  const random = randomFrom(5);
  let left = 0;
  const values = Array.from({ length: 400 }, () => {
    left = 0.7 * left + normalFrom(random);
    return 30 + left;
  });
  const form: Form = { trend: 'none', seasonal: 'additive', seasons: [], correction: true };
  const { rho } = fit(values, form, { fixed: { alpha: 0.01 } }).parameters;
  t.ok(Math.abs(rho - 0.7) < 0.1, `ρ ${rho}`);
});

t.test('values that touch zero: a factor is refused, or shifted', async (t) => {
  const values = waves(2, 120).map((value) => Math.max(0, value - 50));
  const form: Form = { trend: 'damped', seasonal: 'multiplicative', seasons: [24] };
  t.match(refusal(values, form), /positive/);
  t.throws(() => fit(values, form), RangeError);
  const { mean, intervals } = predict(fit(values, form, { offset: offsetFor(values) }), 48, { levels: [0.95] });
  t.ok(
    [...mean, ...(intervals[0]?.lower ?? [])].every((value) => value >= 0),
    'never below zero',
  );
  t.match(refusal([1, 2, 3], { ...form, seasons: [24] }), /too few/);
  t.match(refusal(values, { ...form, seasons: [24, 6] }), /shortest first/);
});

t.test('a damped trend with factors: the variance by formula is that of simulated futures', async (t) => {
  const form: Form = { trend: 'damped', seasonal: 'multiplicative', seasons: [4], errors: 'multiplicative' };
  const parameters = { alpha: 0.4, beta: 0.3, gammas: [0.3], phi: 0.9, rho: 0 };
  const state = { level: 100, trend: 2, seasons: [[1.2, 0.9, 1.1, 0.8]], phases: [0], error: 0 };
  const exact = varianceOf(form, parameters, state, 0.003, 10) ?? [];
  const random = randomFrom(11);
  const paths = 60_000;
  const sums = exact.map(() => ({ one: 0, two: 0 }));
  for (let path = 0; path < paths; path++) {
    const now = copyState(state);
    for (const sum of sums) {
      const y = expected(form, parameters, now) * (1 + Math.sqrt(0.003) * normalFrom(random));
      sum.one += y / paths;
      sum.two += (y * y) / paths;
      step(form, parameters, now, y);
    }
  }
  t.equal(exact.length, 10);
  for (const [h, { one, two }] of sums.entries()) {
    const ratio = (two - one * one) / (exact[h] ?? 0);
    t.ok(Math.abs(ratio - 1) < 0.03, `${h + 1} steps ahead: simulated ${ratio} of the formula's`);
  }
  const newLevel = { ...form, seasonFrom: 'new-level' } as const;
  t.equal(varianceOf(newLevel, parameters, state, 0.003, 10), null, 'no formula: simulated');
});

t.test('any values, gaps included, give finite forecasts that are never negative', async () => {
  const value = fc.oneof(
    { weight: 5, arbitrary: fc.double({ min: 0, max: 1e9, noNaN: true }) },
    { weight: 1, arbitrary: fc.constant(null) },
  );
  const trend = fc.constantFrom('none' as const, 'additive' as const, 'damped' as const);
  fc.assert(
    fc.property(
      fc.array(value, { minLength: 12, maxLength: 40 }),
      trend,
      fc.boolean(),
      (values, growth, correction) => {
        const form: Form = { trend: growth, seasonal: 'additive', seasons: [3, 6], correction };
        if (refusal(values, form) !== null) return true;
        const { mean, intervals } = predict(fit(values, form, { evaluationsMax: 60 }), 8, { levels: [0.8], paths: 50 });
        const bounds = [...(intervals[0]?.lower ?? []), ...(intervals[0]?.upper ?? [])];
        return [...mean, ...bounds].every((x) => Number.isFinite(x) && x >= 0);
      },
    ),
    { numRuns: 60 },
  );
});

t.test('quantiles of the normal distribution', async (t) => {
  // Tables of Abramowitz & Stegun, 26.5.
  for (const [share, z] of [
    [0.975, 1.959963984540054],
    [0.9, 1.2815515655446004],
    [0.999, 3.090232306167813],
  ] as const) {
    t.ok(Math.abs(normalQuantile(share) - z) < 1e-9 && Math.abs(normalQuantile(1 - share) + z) < 1e-9);
  }
});
