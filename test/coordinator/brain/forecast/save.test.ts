import fc from 'fast-check';
import t from 'tap';
import {
  createDemandForecaster,
  type DemandForecaster,
  demandModelName,
  forecastDemand,
  observeDemand,
} from '../../../../coordinator/brain/forecast/demand-forecast.js';
import { loadDemandForecaster, saveDemandForecaster } from '../../../../coordinator/brain/forecast/save.js';
import { noisySine } from './series.js';

function after(seasonSeconds: number, values: readonly (number | null)[]): DemandForecaster {
  const forecaster = createDemandForecaster({ seasonSeconds });
  for (const value of values) observeDemand(forecaster, value);
  return forecaster;
}

function revived(forecaster: DemandForecaster): DemandForecaster {
  const loaded = loadDemandForecaster(saveDemandForecaster(forecaster));
  if (loaded instanceof Error) throw loaded;
  return loaded;
}

t.test('what was loaded goes on exactly as what was saved', async () => {
  const value = fc.option(fc.double({ min: 0, max: 1e6, noNaN: true }));
  fc.assert(
    fc.property(
      fc.array(value, { maxLength: 120 }),
      fc.array(value, { maxLength: 60 }),
      fc.constantFrom(0, 5, 20, 500),
      (before, later, seasonSeconds) => {
        const one = after(seasonSeconds, before);
        const other = revived(one);
        for (const each of later) {
          observeDemand(one, each);
          observeDemand(other, each);
        }
        return JSON.stringify(forecastDemand(one, 40)) === JSON.stringify(forecastDemand(other, 40));
      },
    ),
    { numRuns: 200 },
  );
});

t.test('with a season too, and in little room', async (t) => {
  const forecaster = after(24, noisySine(1, 3_000, 24));
  t.match(demandModelName(revived(forecaster)), /season 24 s/);
  const { length } = saveDemandForecaster(forecaster);
  t.ok(length < 40_000, `${length} characters`);
});

t.test('garbage is an error that says so, and never a forecaster', async (t) => {
  const saved = saveDemandForecaster(after(24, noisySine(1, 200, 24)));
  const parsed = JSON.parse(saved) as Record<string, unknown>;
  const garbage = [
    '',
    'null',
    '[]',
    '{',
    saved.slice(0, -20),
    JSON.stringify({ ...parsed, version: 2 }),
    JSON.stringify({ ...parsed, ticks: 7 }),
    JSON.stringify({ ...parsed, stepSeconds: 0 }),
    JSON.stringify({ ...parsed, record: 'AAAA' }),
    JSON.stringify({ ...parsed, typical: 'much' }),
    JSON.stringify({ ...parsed, views: [] }),
    JSON.stringify({ ...parsed, history: [] }),
  ];
  for (const each of garbage)
    t.match(loadDemandForecaster(each), { message: /^not a saved forecaster/ }, each.slice(0, 40));
});

t.test('any part replaced by anything: an error, or a forecaster that works', async () => {
  const parsed = JSON.parse(saveDemandForecaster(after(24, noisySine(1, 100, 24)))) as Record<string, unknown>;
  fc.assert(
    fc.property(fc.constantFrom(...Object.keys(parsed)), fc.jsonValue(), (key, value) => {
      const loaded = loadDemandForecaster(JSON.stringify({ ...parsed, [key]: value }));
      if (loaded instanceof Error) return true;
      return forecastDemand(observeDemand(loaded, 3), 10).every(({ upper }) => Number.isFinite(upper));
    }),
    { numRuns: 300 },
  );
});
