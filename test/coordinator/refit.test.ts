import { pino } from 'pino';
import t from 'tap';
import {
  createDemandForecaster,
  type DemandForecaster,
  observeDemand,
} from '../../coordinator/brain/forecast/index.js';
import { Refits } from '../../coordinator/refit.js';
import { until } from '../../scripts/lib/until.js';

const log = pino({ level: 'silent' });
const wave = (i: number) => 5 + 3 * Math.sin((2 * Math.PI * i) / 60) + Math.sin(i * 12.9898) * 0.3;

function taught(): DemandForecaster {
  const forecaster = createDemandForecaster({ seasonSeconds: 0 });
  for (let i = 0; i < 400; i += 1) observeDemand(forecaster, wave(i));
  return forecaster;
}

t.test('what is due is worked out in a thread, and the forecaster goes by it', async (t) => {
  const forecasters = new Map([...'abc'].map((key) => [key, taught()]));
  const refits = new Refits({ log, forecasterOf: (key) => forecasters.get(key) });
  t.teardown(() => refits.stop());
  refits.ask([...forecasters.keys()]);
  // Gone before its turn has come.
  forecasters.delete('b');
  await until(() => refits.counts.done === 2);
  for (const forecaster of forecasters.values()) t.ok(forecaster.views.length > 1, 'the season of a minute was found');
  refits.ask([...forecasters.keys()]);
  t.equal(refits.counts.failed, 0);
});

t.test('another forecaster of the same component wants nothing of the old one', async (t) => {
  const old = taught();
  let forecaster = old;
  const refits = new Refits({ log, forecasterOf: (key) => (key === 'a' || key === 'b' ? forecaster : undefined) });
  t.teardown(() => refits.stop());
  refits.ask(['a']);
  forecaster = createDemandForecaster({ seasonSeconds: 0 });
  for (let i = 0; i < 150; i += 1) observeDemand(forecaster, i % 7);
  refits.ask(['b']);
  await until(() => refits.counts.done === 1);
  t.equal(old.views.length, 1);
});

t.test('a thread that dies is started again, after growing pauses, and stops when told', async (t) => {
  const forecasters = new Map([...'abc'].map((key) => [key, taught()]));
  const module = new URL('data:text/javascript,throw new Error("broken")');
  const refits = new Refits({ log, module, forecasterOf: (key) => forecasters.get(key) });
  const startMs = Date.now();
  refits.ask([...forecasters.keys()]);
  await until(() => refits.counts.failed === 3);
  t.ok(Date.now() - startMs >= 250 + 500, 'a quarter of a second, then half of one');
  t.equal(refits.counts.done, 0);
  await refits.stop();
  refits.ask([...forecasters.keys()]);
  t.equal(refits.counts.failed, 3, 'nothing is started any more');
});
