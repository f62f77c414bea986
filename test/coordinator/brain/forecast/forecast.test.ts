import fc from 'fast-check';
import t from 'tap';
import {
  createForecaster,
  type ForecasterState,
  forecast,
  isSeasonal,
  modelName,
  observe,
} from '../../../../coordinator/brain/forecast/forecast.js';

function feed(state: ForecasterState, values: (number | null)[]): ForecasterState {
  return values.reduce(observe, state);
}
/** Evenly spread 0 … 1 from a seed (mulberry32), so that every run sees the same noise. */
function noise(seed: number): () => number {
  let a = seed;
  return () => {
    a = (a + 0x6d2b79f5) | 0;
    let x = Math.imul(a ^ (a >>> 15), 1 | a);
    x = (x + Math.imul(x ^ (x >>> 7), 61 | x)) ^ x;
    return ((x ^ (x >>> 14)) >>> 0) / 2 ** 32;
  };
}
function gaussian(next: () => number): number {
  return Math.sqrt(-2 * Math.log(1 - next())) * Math.cos(2 * Math.PI * next());
}
function noisySine(seed: number, length: number, season: number): number[] {
  const next = noise(seed);
  return Array.from({ length }, (_, i) =>
    Math.max(0, 20 + 0.02 * i + 8 * Math.sin((2 * Math.PI * i) / season) + gaussian(next)),
  );
}
const meanAbsolute = (errors: number[]) => errors.reduce((sum, e) => sum + Math.abs(e), 0) / errors.length;

t.test('before the first value the forecast is zero', async (t) => {
  const state = observe(createForecaster({ stepSeconds: 1 }), null);
  t.strictSame(forecast(state, 2), Array(2).fill({ mean: 0, lower: 0, upper: 0 }));
  t.equal(modelName(state), 'none yet');
});

t.test('a constant is forecast as itself, surely', async (t) => {
  const [point] = forecast(feed(createForecaster({ stepSeconds: 1 }), Array(50).fill(3)), 1);
  t.strictSame(point, { mean: 3, lower: 3, upper: 3 });
});

t.test('whatever comes in, what comes out is finite, not negative and in order', async () => {
  const value = fc.oneof(fc.double(), fc.double({ min: 0, max: 100 }), fc.constant(null));
  fc.assert(
    fc.property(fc.array(value, { maxLength: 120 }), fc.integer({ min: 0, max: 20 }), (values, season) => {
      const points = forecast(feed(createForecaster({ stepSeconds: 1, seasonSeconds: season }), values), 30);
      return points.every(
        ({ mean, lower, upper }) => Number.isFinite(upper) && 0 <= lower && lower <= mean && mean <= upper,
      );
    }),
    { numRuns: 500 },
  );
});

t.test('odd lengths of season and of horizon do no harm', async (t) => {
  for (const seasonSeconds of [Number.NaN, -5, 1, 1e9, Number.POSITIVE_INFINITY]) {
    t.equal(createForecaster({ stepSeconds: 1, seasonSeconds }).seasonSteps, 0);
  }
  const state = feed(createForecaster({ stepSeconds: 1 }), [1, 2, 3]);
  t.strictSame(
    [-1, Number.NaN, 2.5].map((steps) => forecast(state, steps).length),
    [0, 0, 2],
  );
});

t.test('state is plain data: through JSON and back it goes on the same', async () => {
  fc.assert(
    fc.property(fc.array(fc.double({ min: 0, max: 100, noNaN: true }), { maxLength: 40 }), (values) => {
      const state = feed(createForecaster({ stepSeconds: 1, seasonSeconds: 5 }), values);
      const revived: ForecasterState = JSON.parse(JSON.stringify(state));
      return JSON.stringify(forecast(observe(revived, 7), 9)) === JSON.stringify(forecast(observe(state, 7), 9));
    }),
  );
});

t.test('observe leaves the state it was given as it was', async (t) => {
  const state = feed(createForecaster({ stepSeconds: 1, seasonSeconds: 3 }), [1, 2, 3, 1, 2, 3, 1]);
  const before = JSON.stringify(state);
  observe(state, 99);
  t.equal(JSON.stringify(state), before);
});

t.test('a noisy sine with trend: better than naive and seasonal naive at every horizon', async () => {
  const season = 48;
  fc.assert(
    fc.property(fc.integer(), (seed) => {
      const values = noisySine(seed, season * 8, season);
      let state = createForecaster({ stepSeconds: 60, seasonSeconds: season * 60 });
      const ours: number[] = [];
      const seasonalNaive: number[] = [];
      const naive: number[] = [];
      for (const [i, value] of values.entries()) {
        state = observe(state, value);
        if (i < season * 3 || i + 24 >= values.length) continue;
        for (const [h, point] of forecast(state, 24).entries()) {
          const actual = values[i + 1 + h] ?? 0;
          ours.push(actual - point.mean);
          seasonalNaive.push(actual - (values[i + 1 + h - season] ?? 0));
          naive.push(actual - value);
        }
      }
      return meanAbsolute(ours) < 0.9 * meanAbsolute(seasonalNaive) && meanAbsolute(ours) < 0.5 * meanAbsolute(naive);
    }),
    { numRuns: 30 },
  );
});

t.test('about as many values as promised lie below the upper bound', async (t) => {
  const season = 24;
  for (const horizon of [1, 6]) {
    let below = 0;
    let all = 0;
    for (let seed = 1; seed <= 20; seed++) {
      const values = noisySine(seed, season * 10, season);
      let state = createForecaster({ stepSeconds: 60, seasonSeconds: season * 60 });
      for (const [i, value] of values.entries()) {
        state = observe(state, value);
        const actual = values[i + horizon];
        if (i < season * 3 || actual === undefined) continue;
        all += 1;
        if (actual <= (forecast(state, horizon).at(-1)?.upper ?? 0)) below += 1;
      }
    }
    t.ok(below / all > 0.9 && below / all < 0.99, `horizon ${horizon}: ${below / all} of the values`);
  }
});

t.test('the interval widens with the horizon', async (t) => {
  const state = feed(createForecaster({ stepSeconds: 60, seasonSeconds: 24 * 60 }), noisySine(1, 200, 24));
  const widths = forecast(state, 48).map(({ mean, upper }) => upper - mean);
  for (let i = 1; i < widths.length; i++) t.ok((widths[i] ?? 0) >= (widths[i - 1] ?? 0) - 1e-9);
});

t.test('one outlier moves the forecast by little, a shift is followed soon', async (t) => {
  const calm = Array.from({ length: 100 }, (_, i) => 10 + (i % 2));
  const state = feed(createForecaster({ stepSeconds: 1 }), calm);
  const spiked = forecast(observe(state, 1000), 1)[0];
  t.ok(spiked && spiked.mean < 12, `after one outlier ${spiked?.mean}`);
  const shifted = forecast(feed(state, Array(15).fill(100)), 1)[0];
  t.ok(shifted && shifted.mean > 80, `after a shift ${shifted?.mean}`);
});

t.test('a gap holds the level and keeps the season in step', async (t) => {
  const wave = (i: number) => 10 + 5 * Math.sin((2 * Math.PI * i) / 12);
  const seen = Array.from({ length: 48 }, (_, i) => wave(i));
  const state = feed(createForecaster({ stepSeconds: 1, seasonSeconds: 12 }), [...seen, ...Array(7).fill(null)]);
  t.ok(isSeasonal(state));
  t.equal(modelName(state), 'damped Holt-Winters, season 12 s');
  for (const [h, point] of forecast(state, 12).entries()) {
    t.ok(Math.abs(point.mean - wave(55 + h)) < 0.5, `${point.mean} for ${wave(55 + h)}`);
  }
});

t.test('before two seasons are seen the model answers without a season', async (t) => {
  const state = feed(createForecaster({ stepSeconds: 1, seasonSeconds: 10 }), Array(19).fill(2));
  t.notOk(isSeasonal(state));
  t.equal(modelName(state), 'damped Holt');
  t.ok(isSeasonal(observe(state, 2)));
});
