import fc from 'fast-check';
import t from 'tap';
import {
  createDemandForecaster,
  type DemandForecaster,
  demandModelName,
  forecastDemand,
  observeDemand,
} from '../../../../coordinator/brain/forecast/demand-forecast.js';

const HOUR = 3_600;

function run(seasonSeconds: number, seconds: number, value: (second: number) => number | null): DemandForecaster {
  let state = createDemandForecaster({ seasonSeconds });
  for (let second = 0; second < seconds; second += 1) state = observeDemand(state, value(second));
  return state;
}

t.test('a season of an hour, longer than a model holds in seconds, is foreseen', (t) => {
  const demand = (second: number) => 2 + Math.sin((2 * Math.PI * second) / HOUR);
  const seen = Math.round(3.75 * HOUR); // At the lowest point; a quarter of an hour later it is back in the middle.
  const points = forecastDemand(run(HOUR, seen, demand), 1_800);
  t.ok(Math.abs((points[1_799]?.mean ?? 0) - 3) < 0.2, `half an hour ahead ${points[1_799]?.mean}, really 3`);
  t.ok(Math.abs((points[899]?.mean ?? 0) - 2) < 0.2, `a quarter of an hour ahead ${points[899]?.mean}, really 2`);
  t.match(demandModelName(run(HOUR, 2 * HOUR + 10, demand)), /season 3600 s/);
  t.end();
});

t.test('before two seasons, and without one, the near model answers alone', (t) => {
  t.match(demandModelName(run(HOUR, 100, () => 1)), /^damped Holt$/);
  t.match(demandModelName(run(0, 100, () => 1)), /^damped Holt$/);
  t.match(demandModelName(run(10, 100, (second) => second % 10)), /season 10 s/);
  t.end();
});

t.test('a step may last several seconds: points are a step apart', (t) => {
  let state = createDemandForecaster({ seasonSeconds: HOUR, stepSeconds: 15 });
  const demand = (second: number) => 2 + Math.sin((2 * Math.PI * second) / HOUR);
  for (let second = 0; second < 3.75 * HOUR; second += 15) state = observeDemand(state, demand(second));
  const points = forecastDemand(state, 1_800);
  t.equal(points.length, 120);
  t.ok(Math.abs((points[119]?.mean ?? 0) - 3) < 0.2, `half an hour ahead ${points[119]?.mean}, really 3`);
  t.end();
});

t.test('whatever comes, gaps included, a forecast is finite and in order', (t) => {
  const values = fc.array(fc.option(fc.double({ min: 0, max: 1e6, noNaN: true })), { maxLength: 300 });
  fc.assert(
    fc.property(
      values,
      fc.constantFrom(0, 10, 5_000, 86_400),
      fc.integer({ min: 0, max: 200 }),
      (list, season, ahead) => {
        const state = run(season, list.length, (second) => list[second] ?? null);
        const points = forecastDemand(state, ahead);
        return (
          points.length === ahead &&
          points.every(
            ({ mean, lower, upper }) => lower >= 0 && lower <= mean && mean <= upper && Number.isFinite(upper),
          )
        );
      },
    ),
    { numRuns: 200 },
  );
  t.end();
});
