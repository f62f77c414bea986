import fc from 'fast-check';
import t from 'tap';
import {
  applyRefit,
  createDemandForecaster,
  type DemandForecaster,
  forecastDemand,
  observeDemand,
  refitJob,
} from '../../../../coordinator/brain/forecast/demand-forecast.js';
import { skipDemand } from '../../../../coordinator/brain/forecast/gap.js';
import { runRefit } from '../../../../coordinator/brain/forecast/refit.js';
import { loadDemandForecaster, saveDemandForecaster } from '../../../../coordinator/brain/forecast/save.js';
import { noisySine } from './series.js';

interface Case {
  seed: number;
  length: number;
  season: number;
  named: boolean;
  stepSeconds: number;
}

function taught({ seed, length, season, named, stepSeconds }: Case): DemandForecaster {
  const forecaster = createDemandForecaster({ seasonSeconds: named ? season * stepSeconds : 0, stepSeconds });
  for (const value of noisySine(seed, length, season)) {
    observeDemand(forecaster, value);
    const job = refitJob(forecaster);
    if (job !== null) applyRefit(forecaster, runRefit(job));
  }
  return forecaster;
}

/** All numbers that it holds, in one row. */
function numbersOf({ ticks, known, typical, outliers, refitAt, history, views, levels, record }: DemandForecaster) {
  const seasonal = views.flatMap((view) => (view.seasonal === null ? [] : [...view.seasonal.kernel.numbers]));
  const rings = history.rings.flatMap((ring) => [ring.count, ring.passed, ring.known, ring.sum, ...ring.values]);
  const idle = views.map(({ idleCycles }) => idleCycles);
  return [ticks, known, typical, outliers, refitAt, ...idle, ...levels, ...seasonal, ...record.numbers, ...rings];
}

function same(a: DemandForecaster, b: DemandForecaster): boolean {
  // The longer rings are told late, and before anything is saved.
  saveDemandForecaster(a);
  saveDemandForecaster(b);
  const [one, other] = [numbersOf(a), numbersOf(b)];
  return (
    one.length === other.length &&
    one.every((value, i) => {
      const there = other[i] as number;
      return Object.is(value, there) || Math.abs(value - there) <= 1e-6 * Math.max(1, Math.abs(value));
    })
  );
}

const cases = fc.record({
  seed: fc.integer(),
  length: fc.integer({ min: 1, max: 400 }),
  season: fc.constantFrom(7, 24, 60, 400),
  named: fc.boolean(),
  stepSeconds: fc.constantFrom(1, 60, 1_800),
});

t.test('a gap of n steps at once leaves what n steps without a value leave, and goes on alike', async () => {
  fc.assert(
    fc.property(cases, fc.integer({ min: 0, max: 3_000 }), (drawn, steps) => {
      const [one, other] = [taught(drawn), taught(drawn)];
      skipDemand(one, steps);
      for (let i = 0; i < steps; i++) observeDemand(other, null);
      if (!same(one, other)) return false;
      for (const value of noisySine(drawn.seed + 1, 50, drawn.season)) {
        observeDemand(one, value);
        observeDemand(other, value);
      }
      return same(one, other);
    }),
    { numRuns: 60 },
  );
});

t.test('a long gap costs no more than a shorter one', async (t) => {
  const saved = saveDemandForecaster(taught({ seed: 1, length: 900, season: 60, named: true, stepSeconds: 1 }));
  const load = () => {
    const loaded = loadDemandForecaster(saved);
    if (loaded instanceof Error) throw loaded;
    return loaded;
  };
  const skipped = (steps: number) => {
    const all = Array.from({ length: 50 }, load);
    const before = process.cpuUsage();
    for (const forecaster of all) skipDemand(forecaster, steps);
    return { all, ms: process.cpuUsage(before).user / 1000 };
  };
  const day = skipped(86_400);
  const { all, ms } = skipped(32 * 86_400 + 30);
  t.ok(ms < 4 * day.ms, `${ms} ms for a month of seconds, ${day.ms} for a day`);
  // The next value is the 930th of the wave again, half a turn on; of the last ones nothing is known any more.
  const points = forecastDemand(all[0] as DemandForecaster, 60);
  const high = Math.max(...points.map(({ mean }) => mean));
  const low = Math.min(...points.map(({ mean }) => mean));
  t.ok(high - low > 10, `the season is still there: ${low} to ${high}`);
  t.ok((points[14]?.mean ?? 0) < (points[44]?.mean ?? 0), 'and stands at the right place');
});

t.test('before the first value there is nothing to skip; half a step is refused', async (t) => {
  const forecaster = createDemandForecaster({ seasonSeconds: 0 });
  t.equal(skipDemand(forecaster, 100).ticks, 0);
  for (const steps of [-1, 0.5, Number.NaN]) t.throws(() => skipDemand(forecaster, steps), RangeError);
});
