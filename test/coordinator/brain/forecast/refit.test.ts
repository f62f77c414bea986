import fc from 'fast-check';
import t from 'tap';
import {
  applyRefit,
  createDemandForecaster,
  type DemandForecaster,
  demandModelName,
  forecastDemand,
  observeDemand,
  refitJob,
} from '../../../../coordinator/brain/forecast/demand-forecast.js';
import { normalFrom, randomFrom } from '../../../../coordinator/brain/forecast/random.js';
import { runRefit } from '../../../../coordinator/brain/forecast/refit.js';

/** As the loop does, with a copy in between as a worker makes it. */
function run(forecaster: DemandForecaster, steps: number, value: (step: number) => number | null): number {
  let refits = 0;
  for (let step = 0; step < steps; step++) {
    observeDemand(forecaster, value(step));
    const job = refitJob(forecaster);
    if (job === null) continue;
    const result = structuredClone(runRefit(structuredClone(job)));
    if (applyRefit(forecaster, result)) refits += 1;
  }
  return refits;
}

function noisy(seed: number, expected: (step: number) => number): (step: number) => number {
  const random = randomFrom(seed);
  return (step) => Math.max(0, expected(step) + normalFrom(random));
}

const sine = (step: number, season: number) => Math.sin((2 * Math.PI * step) / season);

t.test('a season that nobody named is found and used', async (t) => {
  const forecaster = createDemandForecaster({ seasonSeconds: 0 });
  const refits = run(
    forecaster,
    1_100,
    noisy(1, (step) => 40 + 20 * sine(step, 60)),
  );
  t.ok(refits >= 3, `${refits} refits`);
  t.match(demandModelName(forecaster), /season (59|60|61) s/);
  for (const [i, { mean }] of forecastDemand(forecaster, 30).entries()) {
    const actual = 40 + 20 * sine(1_100 + i, 60);
    t.ok(Math.abs(mean - actual) < 4, `${i + 1} s ahead ${mean}, really about ${actual}`);
  }
});

t.test('a day and a week that nobody named are found in half hours', async (t) => {
  const forecaster = createDemandForecaster({ seasonSeconds: 0, stepSeconds: 1_800 });
  const weekend = (step: number) => (Math.floor(step / 48) % 7 >= 5 ? 0.5 : 1);
  const expected = (step: number) => 60 + 40 * weekend(step) * sine(step, 48);
  run(forecaster, 48 * 36, noisy(2, expected));
  t.match(demandModelName(forecaster), /seasons 86400 s and 604800 s/);
});

t.test('noise shows no season', async (t) => {
  const forecaster = createDemandForecaster({ seasonSeconds: 0 });
  run(
    forecaster,
    1_100,
    noisy(3, () => 50),
  );
  t.equal(forecaster.views.length, 1, demandModelName(forecaster));
});

t.test('a season that was named is used from its second cycle on, whatever a refit cannot judge yet', async (t) => {
  const forecaster = createDemandForecaster({ seasonSeconds: 60 });
  const value = noisy(3, (step) => 40 + 20 * sine(step, 60));
  t.equal(run(forecaster, 130, value), 1);
  t.equal(forecaster.views.length, 2, 'after a refit that had two cycles to go by');
});

t.test('a season that was named and is not there is refused by the backtest', async (t) => {
  const forecaster = createDemandForecaster({ seasonSeconds: 50 });
  run(
    forecaster,
    1_100,
    noisy(4, () => 50),
  );
  t.notMatch(demandModelName(forecaster), /season/);
});

t.test('a refit of another forecaster, or of a past that is forgotten, is not taken', async (t) => {
  const one = createDemandForecaster({ seasonSeconds: 0 });
  const other = createDemandForecaster({ seasonSeconds: 0 });
  const [a, b] = [noisy(5, () => 50), noisy(6, () => 50)];
  for (let step = 0; step < 128; step++) {
    observeDemand(one, a(step));
    observeDemand(other, b(step));
  }
  const job = refitJob(one);
  if (job === null) throw new Error('a refit is due after 128 steps');
  t.equal(refitJob(one), null, 'asked once, it is due much later');
  const result = runRefit(job);
  const before = JSON.stringify(forecastDemand(other, 9));
  t.notOk(applyRefit(other, result));
  t.equal(JSON.stringify(forecastDemand(other, 9)), before, 'and leaves it as it was');
  t.notOk(applyRefit(createDemandForecaster({ seasonSeconds: 0 }), result));
  for (let step = 0; step < 100; step++) observeDemand(one, a(step));
  t.ok(applyRefit(one, result), 'a hundred steps later it still holds');
  for (let step = 0; step < 2_000; step++) observeDemand(one, a(step));
  t.notOk(applyRefit(one, result));
});

t.test('after any values a refit leaves a forecaster that works', async () => {
  const value = fc.oneof(fc.double({ min: 0, max: 1e9, noNaN: true }), fc.constant(null), fc.constant(0));
  fc.assert(
    fc.property(
      fc.array(value, { minLength: 1, maxLength: 40 }),
      fc.constantFrom(0, 9, 40, 700),
      fc.constantFrom(1, 60, 1_800),
      (values, season, stepSeconds) => {
        const forecaster = createDemandForecaster({ seasonSeconds: season * stepSeconds, stepSeconds });
        run(forecaster, 300, (step) => values[step % values.length] ?? null);
        return forecastDemand(forecaster, 50 * stepSeconds).every(
          ({ mean, lower, upper }) => lower >= 0 && lower <= mean && mean <= upper && Number.isFinite(upper),
        );
      },
    ),
    { numRuns: 40 },
  );
});
