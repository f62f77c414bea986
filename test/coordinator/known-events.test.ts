import fc from 'fast-check';
import t, { type Test } from 'tap';
import { announcedCpu, announcedIn, isBlurred } from '../../coordinator/announced.js';
import { factorAt } from '../../coordinator/brain/forecast/index.js';
import { type KnownEventRecord, nextOccurrence, occurrences, REPEAT_MS } from '../../coordinator/known-events.js';
import { loadCluster } from '../../coordinator/persist.js';
import type { DecisionView, ForecastView, KnownEventView, Problem } from '../../protocol/http.js';
import { LIMITS } from '../../protocol/limits.js';
import { CoordinatorRig } from './rig.js';

const MANIFEST = `app: shop
components:
  web: { rootfs: host, command: [x], count: { min: 1, max: 20 }, size: { cpu: { min: 0.1, max: 1 } } }
`;
const URL = '/v1/apps/shop/components/web/known-events';
const HOUR = 3_600_000;
const iso = (atMs: number) => new Date(atMs).toISOString();

async function setUp(t: Test): Promise<CoordinatorRig> {
  const rig = await CoordinatorRig.make();
  t.teardown(() => rig.close());
  await rig.addHost('h1');
  const headers = { 'content-type': 'application/yaml' };
  await rig.api.inject({ method: 'PUT', url: '/v1/apps/shop', headers, payload: MANIFEST });
  return rig;
}

const post = (rig: CoordinatorRig, body: object) =>
  rig.api.inject({
    method: 'POST',
    url: URL,
    headers: { 'content-type': 'application/json' },
    payload: JSON.stringify(body),
  });
const listed = async (rig: CoordinatorRig) => (await rig.api.inject(URL)).json<KnownEventView[]>();

t.test('an event is announced, listed, kept across a restart and taken back', async (t) => {
  const rig = await setUp(t);
  const sale = { from: iso(rig.nowMs + HOUR), to: iso(rig.nowMs + 2 * HOUR), factor: 3, note: 'sale' };
  const added = await post(rig, sale);
  t.equal(added.statusCode, 200, added.body);
  t.match(added.json(), { id: 'event-1', ...sale, next: { fromMs: rig.nowMs + HOUR, toMs: rig.nowMs + 2 * HOUR } });
  const open = {
    id: 'opening',
    from: iso(rig.nowMs - HOUR),
    to: iso(rig.nowMs - 1),
    requestsPerSecond: 500,
    repeat: 'daily',
  };
  t.match((await post(rig, open)).json(), { ...open, next: { toMs: rig.nowMs - 1 + 24 * HOUR } });
  const { revision } = rig.coordinator.state;
  t.equal((await post(rig, open)).statusCode, 200);
  t.equal(rig.coordinator.state.revision, revision, 'the same again changes nothing');
  t.match((await post(rig, { ...open, requestsPerSecond: 1 })).json<Problem>(), { code: 'SHOAL_E_CONFLICT' });
  t.strictSame(
    (await listed(rig)).map(({ id }) => id),
    ['opening', 'event-1'],
    'the earliest first',
  );

  await rig.restart();
  t.strictSame(
    (await listed(rig)).map(({ id }) => id),
    ['opening', 'event-1'],
  );
  t.match((await rig.api.inject({ method: 'DELETE', url: `${URL}/opening` })).json(), [{ id: 'event-1' }]);
  t.equal((await rig.api.inject({ method: 'DELETE', url: `${URL}/opening` })).statusCode, 404);
  rig.nowMs += 3 * HOUR;
  t.match(await listed(rig), [{ id: 'event-1', next: null }], 'over, but still shown');
  rig.nowMs += 25 * HOUR;
  await post(rig, { from: iso(rig.nowMs), to: iso(rig.nowMs + HOUR), factor: 2 });
  t.strictSame(
    (await listed(rig)).map(({ factor }) => factor),
    [2],
    'forgotten after a day',
  );
  await rig.api.inject({ method: 'DELETE', url: '/v1/apps/shop' });
  t.strictSame((await loadCluster(rig.store)).knownEvents, {}, 'they go with their component');
});

t.test('what is wrong is refused by name and changes nothing', async (t) => {
  const rig = await setUp(t);
  const good = { from: iso(rig.nowMs), to: iso(rig.nowMs + HOUR), factor: 2 };
  const { state } = rig.coordinator;
  for (const [change, detail] of [
    [{ from: 'tomorrow' }, /from/],
    [{ from: '2026-11-27T08:00:00' }, /from/],
    [{ from: '2026-13-45T08:00:00Z' }, /from must be a date/],
    [{ to: good.from }, /later than from/],
    [{ from: iso(0), to: iso(HOUR) }, /is over/],
    [{ to: iso(rig.nowMs + 40 * 24 * HOUR) }, /31 days/],
    [{ to: iso(rig.nowMs + 25 * HOUR), repeat: 'daily' }, /before it comes again/],
    [{ repeat: 'yearly' }, /repeat/],
    [{ factor: -1 }, /factor/],
    [{ factor: '2' }, /factor/],
    [{ factor: undefined }, /either factor or requestsPerSecond/],
    [{ requestsPerSecond: 5 }, /either factor or requestsPerSecond/],
    [{ note: 'x'.repeat(201) }, /note/],
    [{ id: 'Not A Name' }, /id/],
    [{ colour: 'red' }, /colour/],
  ] as const) {
    const answer = await post(rig, { ...good, ...change });
    t.equal(answer.statusCode, 400, JSON.stringify(change));
    t.match(answer.json<Problem>().detail, detail, JSON.stringify(change));
  }
  t.equal((await rig.api.inject(URL.replace('web', 'nope'))).statusCode, 404);
  t.equal(rig.coordinator.state, state);
  for (let i = 0; i < LIMITS.knownEventsPerComponentMax; i += 1) await post(rig, good);
  t.match((await post(rig, good)).json<Problem>(), { code: 'SHOAL_E_CONFLICT', detail: /100 known events/ });
  t.match((await rig.api.inject('/v1/openapi.json')).json().paths, {
    '/v1/apps/{app}/components/{component}/known-events': { get: {}, post: {} },
    '/v1/apps/{app}/components/{component}/known-events/{id}': { delete: {} },
  });
});

t.test('the next happening is the one under way or the first to come, a whole number of periods later', async (t) => {
  const spans = fc.tuple(fc.integer({ min: 0, max: 1e12 }), fc.integer({ min: 1, max: 86_400_000 }));
  const told = fc.check(
    fc.property(
      spans,
      fc.integer({ min: 0, max: 3e12 }),
      fc.constantFrom(null, 'daily' as const, 'weekly' as const),
      ([fromMs, length], nowMs, repeat) => {
        const event: KnownEventRecord = {
          id: 'a',
          fromMs,
          toMs: fromMs + length,
          effect: { kind: 'factor', factor: 2 },
          note: '',
          repeat,
        };
        const next = nextOccurrence(event, nowMs);
        if (next === null) return repeat === null && nowMs >= event.toMs;
        const shift = next.fromMs - fromMs;
        const period = repeat === null ? Number.POSITIVE_INFINITY : REPEAT_MS[repeat];
        const isFirst = shift === 0 || next.toMs - period <= nowMs;
        return (
          nowMs < next.toMs && isFirst && (shift === 0 || shift % period === 0) && next.toMs - next.fromMs === length
        );
      },
    ),
  );
  t.notOk(told.failed, JSON.stringify(told.counterexample));
});

const event = (effect: KnownEventRecord['effect'], fromMs: number, toMs: number): KnownEventRecord => {
  return { id: 'a', fromMs, toMs, effect, note: '', repeat: null };
};
const flat = (mean: number, steps: number) => Array.from({ length: steps }, () => ({ mean, lower: mean, upper: mean }));

t.test('what is announced within the time that a new instance needs is to be ready for', async (t) => {
  const triple = [event({ kind: 'factor', factor: 3 }, 4_000, 8_000)];
  const rate = [event({ kind: 'requests', perSecond: 100 }, 4_000, 8_000)];
  const cpuOf = (events: KnownEventRecord[], nowMs: number) => {
    const announced = announcedIn(events, nowMs, nowMs + 5_000);
    return announcedCpu(announced, flat(6, 5), nowMs, 1, 0.02);
  };
  t.equal(occurrences(triple, 0, 3_000).length, 0);
  t.strictSame(
    [-2_000, -1_000, 5_000, 8_000].map((nowMs) => cpuOf(triple, nowMs)),
    [0, 6, 6, 0],
  );
  t.strictSame(
    [-2_000, -1_000, 5_000, 8_000].map((nowMs) => cpuOf(rate, nowMs)),
    [0, 2, 2, 0],
  );
  t.equal(cpuOf([event({ kind: 'factor', factor: 0.5 }, 0, 8_000)], 0), 0, 'less demand needs nothing to be ready');
});

t.test('what events bring is not learnt', async (t) => {
  const at = (events: KnownEventRecord[]) => {
    const announced = announcedIn(events, 5_000, 10_000);
    return { blurred: isBlurred(announced, 5_000), factor: factorAt(announced.factors, 5_000) };
  };
  t.strictSame(at([]), { blurred: false, factor: 1 });
  t.strictSame(at([event({ kind: 'factor', factor: 3 }, 4_000, 8_000)]), { blurred: false, factor: 3 });
  t.strictSame(at([event({ kind: 'factor', factor: 3 }, 6_000, 8_000)]), { blurred: false, factor: 1 }, 'not yet');
  t.strictSame(at([event({ kind: 'requests', perSecond: 9 }, 4_000, 8_000)]), { blurred: true, factor: 1 });
});

t.test('instances are there when the event begins, and go after it', async (t) => {
  const rig = await setUp(t);
  const count = () => rig.coordinator.state.targets['shop/web']?.count ?? 0;
  const cores = () => count() * (rig.coordinator.state.targets['shop/web']?.size.cpu ?? 0);
  for (let i = 0; i < 60; i += 1) await rig.second('h1', { 'shop/web': 1 });
  const before = cores();
  const from = rig.nowMs + 30_000;
  t.equal((await post(rig, { from: iso(from), to: iso(from + 60_000), factor: 5, note: 'sale' })).statusCode, 200);
  while (rig.nowMs < from - 10_000) await rig.second('h1', { 'shop/web': 1 });
  t.ok(cores() <= before * 1.2, `not long before: ${cores()} of ${before}`);
  while (rig.nowMs < from) await rig.second('h1', { 'shop/web': 1 });
  t.ok(cores() >= 5, `ready for five times the demand: ${cores()}`);
  const url = '/v1/apps/shop/components/web';
  const [decision] = (await rig.api.inject(`${url}/decisions?last=1`)).json<DecisionView[]>();
  t.match(
    decision?.words.find(({ topic }) => topic === 'announced')?.text,
    /event-1 \(sale\) brings 5 times the usual/,
  );
  const forecast = (await rig.api.inject(`${url}/forecast?horizon=120`)).json<ForecastView>();
  t.ok((forecast.points[30]?.mean ?? 0) > 4 && (forecast.points[100]?.mean ?? 9) < 2, 'the forecast knows of it');
  while (rig.nowMs < from + 60_000) await rig.second('h1', { 'shop/web': 5 });
  for (let i = 0; i < 120; i += 1) await rig.second('h1', { 'shop/web': 1 });
  t.ok(cores() < 4, `given back: ${cores()}`);
});
