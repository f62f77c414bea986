import fc from 'fast-check';
import t from 'tap';
import {
  createDemandForecaster,
  type DemandForecaster,
  type DemandForecasterOptions,
  demandModelName,
  forecastDemand,
  forecastPath,
  observeDemand,
} from '../../../../coordinator/brain/forecast/demand-forecast.js';
import { normalFrom, randomFrom } from '../../../../coordinator/brain/forecast/random.js';
import { meanAbsolute, noisySine } from './series.js';

const HOUR = 3_600;

function feed(forecaster: DemandForecaster, values: readonly (number | null)[]): DemandForecaster {
  return values.reduce<DemandForecaster>((state, value) => observeDemand(state, value), forecaster);
}

function after(options: DemandForecasterOptions, values: readonly (number | null)[]): DemandForecaster {
  return feed(createDemandForecaster(options), values);
}

const wave = (length: number, season: number) =>
  Array.from({ length }, (_, i) => 10 + 5 * Math.sin((2 * Math.PI * i) / season));

t.test('before the first value the forecast is zero', async (t) => {
  const forecaster = after({ seasonSeconds: 0 }, [null]);
  t.strictSame(forecastDemand(forecaster, 2), Array(2).fill({ mean: 0, lower: 0, upper: 0 }));
  t.equal(demandModelName(forecaster), 'none yet');
});

t.test('a constant is forecast as itself, surely', async (t) => {
  for (const [point] of [1, 7].map((count) => forecastDemand(after({ seasonSeconds: 0 }, Array(count).fill(3)), 1))) {
    t.strictSame(point, { mean: 3, lower: 3, upper: 3 });
  }
});

t.test('whatever comes, a forecast is finite, not negative and in order', async () => {
  const value = fc.oneof(fc.double(), fc.double({ min: 0, max: 100 }), fc.constant(null), fc.constant(0));
  fc.assert(
    fc.property(
      fc.array(value, { maxLength: 200 }),
      fc.constantFrom(0, 2, 7, 20, 400, 5_000, 86_400),
      fc.constantFrom(0.5, 1, 7, 60, 1_800),
      fc.integer({ min: 0, max: 200 }),
      (values, seasonSeconds, stepSeconds, steps) => {
        const points = forecastDemand(after({ seasonSeconds, stepSeconds }, values), steps * stepSeconds);
        return (
          points.length === steps &&
          points.every(
            ({ mean, lower, upper }) => lower >= 0 && lower <= mean && mean <= upper && Number.isFinite(upper),
          )
        );
      },
    ),
    { numRuns: 500 },
  );
});

t.test('odd seasons and horizons do no harm, an odd step is refused', async (t) => {
  for (const seasonSeconds of [Number.NaN, -5, 1, 1e9, Number.POSITIVE_INFINITY]) {
    t.equal(forecastDemand(after({ seasonSeconds }, [1, 2, 3]), 3).length, 3);
  }
  const forecaster = after({ seasonSeconds: 0 }, [1, 2, 3]);
  t.strictSame(
    [-1, Number.NaN, 2.5].map((seconds) => forecastDemand(forecaster, seconds).length),
    [0, 0, 3],
  );
  for (const stepSeconds of [0, -1, Number.NaN])
    t.throws(() => createDemandForecaster({ seasonSeconds: 0, stepSeconds }), RangeError);
});

t.test('what is no number is a gap, what is negative counts as zero', async (t) => {
  const values = [5, 6, 5, 6, 5, 6];
  const gap = forecastDemand(after({ seasonSeconds: 0 }, [...values, null]), 5);
  for (const odd of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY])
    t.strictSame(forecastDemand(after({ seasonSeconds: 0 }, [...values, odd]), 5), gap);
  t.strictSame(
    forecastDemand(after({ seasonSeconds: 0 }, [...values, -7]), 5),
    forecastDemand(after({ seasonSeconds: 0 }, [...values, 0]), 5),
  );
});

t.test('a noisy wave with trend: better than naive and seasonal naive over the next half season', async () => {
  const season = 48;
  fc.assert(
    fc.property(fc.integer(), (seed) => {
      const values = noisySine(seed, season * 8, season);
      const forecaster = createDemandForecaster({ stepSeconds: 60, seasonSeconds: season * 60 });
      const ours: number[] = [];
      const seasonalNaive: number[] = [];
      const naive: number[] = [];
      for (const [i, value] of values.entries()) {
        observeDemand(forecaster, value);
        if (i < season * 3 || i + 24 >= values.length) continue;
        for (const [h, point] of forecastDemand(forecaster, 24 * 60).entries()) {
          const actual = values[i + 1 + h] ?? 0;
          ours.push(actual - point.mean);
          seasonalNaive.push(actual - (values[i + 1 + h - season] ?? 0));
          naive.push(actual - value);
        }
      }
      return meanAbsolute(ours) < 0.9 * meanAbsolute(seasonalNaive) && meanAbsolute(ours) < 0.5 * meanAbsolute(naive);
    }),
    { numRuns: 30, examples: [[-1_112_193_970]] },
  );
});

t.test('intervals cover what they promise, one step and some steps ahead', async (t) => {
  const kinds = {
    wave: (seed: number) => noisySine(seed, 3_000, 24),
    'random walk': (seed: number) => {
      const random = randomFrom(seed);
      let level = 100;
      return Array.from({ length: 3_000 }, () => {
        level = Math.max(0, level + normalFrom(random));
        return level;
      });
    },
    'noise that grows': (seed: number) => {
      const random = randomFrom(seed);
      return Array.from({ length: 3_000 }, (_, i) => Math.max(0, 50 + (1 + i / 600) * normalFrom(random)));
    },
    'skewed noise': (seed: number) => {
      const random = randomFrom(seed);
      return Array.from({ length: 3_000 }, () => 10 - 5 * Math.log(1 - random()));
    },
  };
  for (const [name, series] of Object.entries(kinds)) {
    for (const horizon of [1, 6, 30]) {
      const within = { 0.8: 0, 0.95: 0 };
      let [all, below] = [0, 0];
      for (let seed = 1; seed <= 8; seed++) {
        const values = series(seed);
        const forecaster = createDemandForecaster({ stepSeconds: 60, seasonSeconds: name === 'wave' ? 24 * 60 : 0 });
        for (const [i, value] of values.entries()) {
          observeDemand(forecaster, value);
          const actual = values[i + horizon];
          if (i < 600 || i % 3 > 0 || actual === undefined) continue;
          all += 1;
          const { intervals } = forecastPath(forecaster, horizon * 60, [0.8, 0.95]);
          for (const { level, lower, upper } of intervals)
            if (actual >= (lower.at(-1) ?? 0) && actual <= (upper.at(-1) ?? 0)) within[level as 0.8 | 0.95] += 1;
          if (actual <= (forecastDemand(forecaster, horizon * 60).at(-1)?.upper ?? 0)) below += 1;
        }
      }
      const shares = [within[0.8] / all, within[0.95] / all, below / all];
      const text = `${name}, ${horizon} steps: ${shares.map((share) => share.toFixed(3)).join(', ')}`;
      t.ok(Math.abs((shares[0] ?? 0) - 0.8) < 0.04 && Math.abs((shares[1] ?? 0) - 0.95) < 0.03, text);
      t.ok(Math.abs((shares[2] ?? 0) - 0.95) < 0.03, `upper bound of one side: ${text}`);
    }
  }
});

t.test('bursts as long as the horizon, of all sizes: bounds an hour ahead become wide enough', async (t) => {
  let [all, within] = [0, 0];
  for (let seed = 1; seed <= 3; seed++) {
    const random = randomFrom(seed);
    let [left, height] = [0, 0];
    const values = Array.from({ length: 12_000 }, () => {
      left -= 1;
      if (left < 0) height = 0;
      if (left < 0 && random() < 1 / 200) [left, height] = [60, 25 * Math.exp(normalFrom(random))];
      return Math.max(0, 10 + height + normalFrom(random));
    });
    const forecaster = createDemandForecaster({ stepSeconds: 60, seasonSeconds: 0 });
    for (const [i, value] of values.entries()) {
      observeDemand(forecaster, value);
      const actual = values[i + 60];
      if (i < 4_000 || i % 3 > 0 || actual === undefined) continue;
      const bound = forecastPath(forecaster, HOUR, [0.95]).intervals[0];
      all += 1;
      if (actual >= (bound?.lower.at(-1) ?? 0) && actual <= (bound?.upper.at(-1) ?? 0)) within += 1;
    }
  }
  t.ok(within / all > 0.895, `${within} of ${all}`);
});

t.test('a higher share makes a higher bound', async (t) => {
  const forecaster = after({ seasonSeconds: 24 }, noisySine(3, 400, 24));
  const bounds = [0.6, 0.8, 0.9, 0.95, 0.99, 0.999].map(
    (share) => forecastDemand(forecaster, 5, { share })[4]?.upper ?? 0,
  );
  for (let i = 1; i < bounds.length; i++) t.ok((bounds[i] ?? 0) > (bounds[i - 1] ?? 0), `${bounds}`);
});

t.test('one outlier moves the forecast by little, a shift is followed soon', async (t) => {
  const calm = () =>
    after(
      { seasonSeconds: 0 },
      Array.from({ length: 100 }, (_, i) => 10 + (i % 2)),
    );
  const spiked = forecastDemand(feed(calm(), [1_000]), 1)[0];
  t.ok(spiked && spiked.mean < 13, `after one outlier ${spiked?.mean}`);
  const shifted = forecastDemand(feed(calm(), Array(4).fill(100)), 5);
  for (const { mean } of shifted) t.ok(mean > 80 && mean < 130, `after four values of a shift ${mean}`);
  const down = forecastDemand(feed(calm(), Array(6).fill(1)), 1)[0];
  t.ok(down && down.mean < 3, `after six values of a fall ${down?.mean}`);
});

t.test('a gap holds the level and keeps the season in step', async (t) => {
  const forecaster = after({ seasonSeconds: 12 }, [...wave(96, 12), ...Array(7).fill(null)]);
  t.equal(demandModelName(forecaster), 'additive Holt-Winters, season 12 s');
  for (const [h, point] of forecastDemand(forecaster, 12).entries()) {
    const actual = wave(200, 12)[96 + 7 + h] ?? 0;
    t.ok(Math.abs(point.mean - actual) < 0.5, `${point.mean} for ${actual}`);
  }
});

t.test('before two cycles are seen the model answers without a season', async (t) => {
  const values = wave(400, 20);
  t.notMatch(demandModelName(after({ seasonSeconds: 20 }, values.slice(0, 39))), /season/);
  t.match(demandModelName(after({ seasonSeconds: 20 }, values)), /season 20 s/);
});

t.test('a season of an hour, longer than a model holds in seconds, is foreseen', async (t) => {
  const demand = (second: number) => 2 + Math.sin((2 * Math.PI * second) / HOUR);
  const seen = Array.from({ length: Math.round(3.75 * HOUR) }, (_, second) => demand(second));
  const points = forecastDemand(after({ seasonSeconds: HOUR }, seen), 1_800);
  // It ends at the lowest point; a quarter of an hour later it is back in the middle.
  t.ok(Math.abs((points[1_799]?.mean ?? 0) - 3) < 0.2, `half an hour ahead ${points[1_799]?.mean}, really 3`);
  t.ok(Math.abs((points[899]?.mean ?? 0) - 2) < 0.2, `a quarter of an hour ahead ${points[899]?.mean}, really 2`);
  t.match(demandModelName(after({ seasonSeconds: HOUR }, seen)), /season 3600 s/);
});

t.test('a step may last several seconds: points are a step apart', async (t) => {
  const demand = (second: number) => 2 + Math.sin((2 * Math.PI * second) / HOUR);
  const seen = Array.from({ length: 900 }, (_, i) => demand(15 * i));
  const points = forecastDemand(after({ seasonSeconds: HOUR, stepSeconds: 15 }, seen), 1_800);
  t.equal(points.length, 120);
  t.ok(Math.abs((points[119]?.mean ?? 0) - 3) < 0.2, `half an hour ahead ${points[119]?.mean}, really 3`);
});

t.test('a season that stops is dropped', async (t) => {
  const forecaster = after({ seasonSeconds: 20 }, wave(400, 20));
  t.match(demandModelName(forecaster), /season/);
  const random = randomFrom(4);
  feed(
    forecaster,
    Array.from({ length: 1_500 }, () => 10 + normalFrom(random)),
  );
  t.notMatch(demandModelName(forecaster), /season/);
  t.equal(forecaster.views.length, 1, 'and its room is free');
});

t.test('known events: the forecast knows them, and what they bring is not learnt', async (t) => {
  const plain = after({ seasonSeconds: 20 }, wave(400, 20));
  const eventful = createDemandForecaster({ seasonSeconds: 20 });
  for (const [i, value] of wave(400, 20).entries()) {
    const factor = i >= 300 && i < 350 ? 3 : 1;
    observeDemand(eventful, factor * value, factor);
  }
  const [a, b] = [forecastDemand(plain, 30), forecastDemand(eventful, 30)];
  for (const [i, { mean, upper }] of a.entries()) {
    t.ok(Math.abs(mean - (b[i]?.mean ?? 0)) < 1e-6 && Math.abs(upper - (b[i]?.upper ?? 0)) < 1e-6);
  }
  const events = [{ fromMs: 1_005_000, toMs: 1_010_000, factor: 2 }];
  const twice = forecastDemand(plain, 30, { events, nowMs: 1_000_000 });
  for (const [i, { mean }] of a.entries()) {
    const factor = i + 1 >= 5 && i + 1 < 10 ? 2 : 1;
    t.ok(Math.abs((twice[i]?.mean ?? 0) - factor * mean) < 1e-9, `${i + 1} s ahead`);
  }
  const dark = forecastDemand(observeDemand(plain, 4, 0), 1);
  t.ok(
    dark.every(({ mean }) => Number.isFinite(mean)),
    'nothing can be learnt while an event leaves nothing',
  );
});

t.test('the forecast grows with its input: all values times ten, all forecasts times ten', async () => {
  fc.assert(
    fc.property(fc.integer(), fc.constantFrom(0, 24), (seed, seasonSeconds) => {
      const values = noisySine(seed, 150, 24);
      const once = forecastDemand(after({ seasonSeconds }, values), 10);
      const ten = forecastDemand(
        after(
          { seasonSeconds },
          values.map((value) => 10 * value),
        ),
        10,
      );
      return once.every(({ mean, upper }, i) => {
        const other = ten[i] ?? { mean: 0, upper: 0 };
        return Math.abs(other.mean / mean - 10) < 0.01 && Math.abs(other.upper / upper - 10) < 0.01;
      });
    }),
    { numRuns: 40 },
  );
});
