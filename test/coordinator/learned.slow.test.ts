import { pino } from 'pino';
import t, { type Test } from 'tap';
import { createDemandForecaster, observeDemand } from '../../coordinator/brain/forecast/index.js';
import { LearnedStore } from '../../coordinator/learned.js';
import { PACE } from '../../coordinator/planner.js';
import { newMemory, type PlannerMemory } from '../../coordinator/planner-memory.js';
import type { ForecastView } from '../../protocol/http.js';
import { LIMITS } from '../../protocol/limits.js';
import { CoordinatorRig } from './rig.js';

const MANIFEST = `app: shop
components:
  web: { rootfs: host, command: [x], season: 60s, count: { min: 1, max: 9 }, size: { cpu: { min: 0.1, max: 1 } } }
`;
const KEY = 'shop/web';
const SILENT = pino({ level: 'silent' });
const wave = (i: number) => 2 + 1.5 * Math.sin((2 * Math.PI * i) / 60);

async function taught(t: Test, seconds: number): Promise<CoordinatorRig> {
  const rig = await CoordinatorRig.make();
  t.teardown(() => rig.close());
  await rig.addHost('h1');
  const headers = { 'content-type': 'application/yaml' };
  const put = await rig.api.inject({ method: 'PUT', url: '/v1/apps/shop', headers, payload: MANIFEST });
  t.equal(put.statusCode, 200, put.body);
  for (let i = 0; i < seconds; i += 1) await rig.second('h1', { [KEY]: wave(i) });
  return rig;
}

const forecastOf = async (rig: CoordinatorRig) =>
  (await rig.api.inject('/v1/apps/shop/components/web/forecast?horizon=60')).json<ForecastView>();

t.test('a coordinator that ended in good order loses nothing of what it learned', async (t) => {
  const rig = await taught(t, 200);
  const before = await forecastOf(rig);
  const model = rig.coordinator.memory.get(KEY)?.model;
  await rig.restart('stopped');
  const after = await forecastOf(rig);
  t.strictSame(after.points, before.points);
  t.equal(after.model, before.model);
  t.strictSame(rig.coordinator.memory.get(KEY)?.model, model);
});

t.test('after its death at most the last minute is missing, and decisions go on as before', async (t) => {
  const rig = await taught(t, 250);
  const season = (await forecastOf(rig)).points.map(({ mean }) => mean);
  const target = rig.coordinator.state.targets[KEY];
  await rig.restart();
  const restored = rig.coordinator.memory.get(KEY);
  // Its last values were not stored: they count as steps of which nothing is known.
  t.equal(restored?.forecaster.ticks, 249, 'it stands at the right place in the season');
  t.ok((restored?.forecaster.known ?? 0) >= 249 - LIMITS.learnedPeriodMs / 1000, `${restored?.forecaster.known} known`);
  const again = (await forecastOf(rig)).points.map(({ mean }) => mean);
  const error = again.reduce((sum, mean, i) => sum + Math.abs(mean - (season[i] ?? 0)), 0) / again.length;
  t.ok(error < 0.3, `the season is foretold as before: ${error} cores of 0.5 to 3.5`);
  await rig.addHost('h1');
  for (let i = 250; i < 255; i += 1) await rig.second('h1', { [KEY]: wave(i) });
  const now = rig.coordinator.state.targets[KEY];
  const cores = (each = { count: 0, size: { cpu: 0 } }) => each.count * each.size.cpu;
  t.ok(cores(now) > 0.7 * cores(target) && cores(now) < 1.5 * cores(target), `${cores(target)} → ${cores(now)} cores`);
});

t.test('what is damaged is left out with a line in the log; what is gone is removed', async (t) => {
  const rig = await taught(t, 130);
  const key = `learned/${KEY}/`;
  const good = (await rig.store.load(key)).get(key) as Record<string, unknown>;
  t.ok(good, 'stored without any end in good order');
  const bad: unknown[] = [
    null,
    {},
    { ...good, format: 99 },
    { ...good, forecaster: '{"version":1}' },
    { ...good, forecaster: String(good.forecaster).slice(0, 200) },
    { ...good, model: { version: 0 } },
    { ...good, model: null },
    { ...good, atMs: 'x' },
    { ...good, stepSeconds: 7 },
    { ...good, atMs: 1 },
  ];
  for (const value of bad) {
    await rig.store.commit([{ kind: 'put', key, value }]);
    rig.log.length = 0;
    await rig.restart();
    t.equal(rig.coordinator.memory.get(KEY), undefined, JSON.stringify(value).slice(0, 60));
    t.match(rig.log.join(''), /cannot be read and is left out/);
    await rig.coordinator.tick();
    t.ok(rig.coordinator.memory.get(KEY), 'and it begins anew');
  }
  await rig.api.inject({ method: 'DELETE', url: '/v1/apps/shop' });
  await rig.restart('stopped');
  await rig.coordinator.tick();
  t.strictSame([...(await rig.store.load('learned/')).keys()].length, 0);
});

/** So many components that have learned a little. */
function memoryOf(count: number): PlannerMemory {
  const forecaster = createDemandForecaster({ seasonSeconds: 0 });
  for (let i = 0; i < 300; i += 1) observeDemand(forecaster, wave(i));
  const one = { ...newMemory(0, PACE), forecaster };
  return new Map(Array.from({ length: count }, (_, i) => [`app-${i % 20}/c-${i}`, one]));
}

t.test('each component is stored once a period, spread evenly over it', async (t) => {
  const learned = new LearnedStore();
  const memory = memoryOf(600);
  const times = new Map<string, number>();
  let most = 0;
  for (let second = 0; second < 2 * 60; second += 1) {
    const batch = learned.operations(memory, 1_000_000 + second * 1000, SILENT);
    most = Math.max(most, batch.length);
    for (const { key } of batch) times.set(key, (times.get(key) ?? 0) + 1);
  }
  t.equal(times.size, 600);
  t.ok([...times.values()].every((count) => count === 2 || count === 1));
  t.ok(most < 40, `at most ${most} of 600 in one second`);
});

t.test('no turn writes much more than its bound, however many are due', async (t) => {
  const learned = new LearnedStore();
  const memory = memoryOf(3_000);
  learned.operations(memory, 0, SILENT);
  const seen = new Set<string>();
  for (let turn = 1; turn < 200 && seen.size < 3_000; turn += 1) {
    const batch = learned.operations(memory, LIMITS.learnedPeriodMs + turn, SILENT);
    const bytes = batch.reduce((sum, each) => sum + (each.kind === 'put' ? JSON.stringify(each.value).length : 0), 0);
    t.ok(bytes < 1.2 * LIMITS.learnedBytesPerTickMax, `${bytes} bytes`);
    for (const { key } of batch) seen.add(key);
  }
  t.equal(seen.size, 3_000, 'all get their turn');
});

t.test('an outage of days is made up for, however many components there are', async (t) => {
  const rig = await taught(t, 200);
  const before = (await forecastOf(rig)).points.map(({ mean }) => mean);
  await rig.restart('stopped');
  const ticks = rig.coordinator.memory.get(KEY)?.forecaster.ticks ?? 0;
  // A day of whole seasons later.
  rig.nowMs += 1_440 * 60_000;
  await rig.restart();
  t.equal(rig.coordinator.memory.get(KEY)?.forecaster.ticks, ticks + 86_400);
  const again = (await forecastOf(rig)).points.map(({ mean }) => mean);
  const error = again.reduce((sum, mean, i) => sum + Math.abs(mean - (before[i] ?? 0)), 0) / again.length;
  t.ok(error < 0.3, `the season is foretold as before: ${error} cores of 0.5 to 3.5`);
});
