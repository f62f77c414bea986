import fc from 'fast-check';
import t, { type Test } from 'tap';
import { type Decision, judgedAtMs, outcomeOf } from '../../coordinator/brain/decision.js';
import type { Explanation } from '../../coordinator/brain/explanation.js';
import { newRow } from '../../coordinator/brain/explanation-row.js';
import { DecisionLog, type Told } from '../../coordinator/decisions.js';
import type { DecisionView, EventView, Problem } from '../../protocol/http.js';
import { LIMITS } from '../../protocol/limits.js';
import { explanation, shape, writeRow } from './brain/an-explanation.js';
import { CoordinatorRig } from './rig.js';

const MANIFEST = `app: shop
components:
  web: { rootfs: host, command: [x], count: { min: 1, max: 9 }, size: { cpu: { min: 0.1, max: 1 } } }
`;
const URL = '/v1/apps/shop/components/web/decisions';

async function setUp(t: Test, manifest = MANIFEST): Promise<CoordinatorRig> {
  const rig = await CoordinatorRig.make();
  t.teardown(() => rig.close());
  await rig.addHost('h1');
  const headers = { 'content-type': 'application/yaml' };
  const put = await rig.api.inject({ method: 'PUT', url: '/v1/apps/shop', headers, payload: manifest });
  t.equal(put.statusCode, 200, put.body);
  return rig;
}

const asked = async (rig: CoordinatorRig, query = '') => (await rig.api.inject(URL + query)).json<DecisionView[]>();

t.test('every change of a component is there with its reasons, and whether it turned out right', async (t) => {
  const rig = await setUp(t);
  for (let i = 0; i < 20; i += 1) await rig.second('h1', { 'shop/web': i < 10 ? 0.3 : 3 });
  const all = await asked(rig);
  const changes = all.filter(({ changed }) => changed);
  t.ok(changes.length > 0);
  t.strictSame(
    all.map(({ atMs }) => atMs),
    all.map(({ atMs }) => atMs).toSorted(),
    'oldest first',
  );
  for (const each of changes) {
    t.equal(each.fate, 'done');
    t.notSame(each.before, each.after);
    const topics = each.words.map(({ topic }) => topic);
    t.match(topics, ['saw', ...topics.slice(1)]);
    t.ok(
      ['expected', 'needed', 'did'].every((topic) => topics.includes(topic)),
      topics.join(),
    );
  }
  const { count, size } = rig.coordinator.state.targets['shop/web'] ?? { count: 0, size: null };
  t.match(changes.at(-1)?.after, { count, size }, 'the last change is what is wanted now');
  const judged = all.filter(({ outcome }) => outcome !== null);
  t.ok(judged.length > 5, 'all that are old enough are judged');
  t.ok(judged.every(({ words }) => words.some(({ topic }) => topic === 'came')));
  const [rise] = all.filter(({ outcome }) => outcome?.verdict === 'more');
  t.ok(
    (rise?.outcome?.peakCpu ?? 0) > (rise?.outcome?.foretoldCpu ?? 1),
    'the rise came unforeseen, and is said to be',
  );

  const last = all.at(-1)?.atMs ?? 0;
  t.strictSame(
    (await asked(rig, '?last=3')).map(({ atMs }) => atMs),
    all.slice(-3).map(({ atMs }) => atMs),
  );
  t.strictSame(
    (await asked(rig, `?since=${last}`)).map(({ atMs }) => atMs),
    [last],
  );
  const events = (await rig.api.inject('/v1/events')).json<EventView[]>();
  t.match(events.filter(({ kind }) => kind === 'reshaped').at(-1), { message: changes.at(-1)?.summary });
  t.match((await rig.api.inject('/v1/apps/shop/components/web')).json(), { reason: all.at(-1)?.summary });
});

t.test('in mode observe it says what it would have done', async (t) => {
  const rig = await setUp(t, MANIFEST.replace('command', 'mode: observe, command'));
  for (let i = 0; i < 10; i += 1) await rig.second('h1', { 'shop/web': 3 });
  const changes = (await asked(rig)).filter(({ changed }) => changed);
  t.ok(changes.length > 0 && changes.length < 10, 'each would-be shape once');
  t.ok(changes.every(({ fate }) => fate === 'observed'));
  t.match(
    changes.at(-1)?.words.find(({ topic }) => topic === 'did')?.text,
    /^Nothing: its mode is observe\. Otherwise: /,
  );
  const events = (await rig.api.inject('/v1/events')).json<EventView[]>();
  t.equal(events.filter(({ kind }) => kind === 'would-reshape').length, changes.length);
  t.equal(events.filter(({ kind }) => kind === 'reshaped').length, 0);
});

t.test(
  'changes and their outcomes outlive the coordinator; what is damaged is left out with a line in the log',
  async (t) => {
    const rig = await setUp(t);
    for (let i = 0; i < 12; i += 1) await rig.second('h1', { 'shop/web': i < 5 ? 0.3 : 2 });
    const changes = (await asked(rig)).filter(({ changed }) => changed);
    await rig.restart();
    const restored = await asked(rig);
    t.strictSame(
      restored.map(({ summary }) => summary),
      changes.map(({ summary }) => summary),
    );
    await rig.store.commit([
      { kind: 'put', key: 'decision/shop/web/0', value: { format: 1, serial: 0, explanation: { atMs: 'x' } } },
      { kind: 'put', key: 'decision/shop/web/9', value: { format: 99 } },
      { kind: 'put', key: 'decision/shop/web/10', value: null },
    ]);
    await rig.restart();
    t.equal((await asked(rig)).length, changes.length - 1);
    t.equal(rig.log.filter((line) => line.includes('cannot be read')).length, 3);

    await rig.addHost('h1');
    await rig.api.inject({ method: 'DELETE', url: '/v1/apps/shop' });
    await rig.coordinator.tick();
    t.strictSame([...(await rig.store.load('decision/')).keys()], [], 'they go with their component');
  },
);

t.test('the changes come live, as decision events', async (t) => {
  const rig = await setUp(t);
  const address = await rig.api.listen({ host: '127.0.0.1', port: 0 });
  const abort = new AbortController();
  const live = await fetch(address + URL, { headers: { accept: 'text/event-stream' }, signal: abort.signal });
  let text = '';
  const decoder = new TextDecoder();
  const read = (async () => {
    for await (const chunk of live.body as AsyncIterable<Uint8Array>) {
      text += decoder.decode(chunk, { stream: true });
      if (text.includes('"changed":true')) return;
    }
  })();
  for (let i = 0; i < 5; i += 1) await rig.second('h1', { 'shop/web': 0.9 + i });
  await read;
  t.match(text, /^id: \d+\nevent: decision\ndata: \{.*"summary":"uses/m);
  abort.abort();
});

t.test('what is wrong is refused by name', async (t) => {
  const rig = await setUp(t);
  for (const [url, status, detail] of [
    [`${URL}?last=0`, 400, /last/],
    [`${URL}?last=many`, 400, /last/],
    [`${URL}?since=yesterday`, 400, /since/],
    [`${URL}?sinze=1`, 400, /sinze/],
    ['/v1/apps/shop/components/nope/decisions', 404, /shop\/nope/],
    ['/v1/apps/constructor/components/web/decisions', 404, /constructor/],
  ] as const) {
    const answer = await rig.api.inject(url);
    t.equal(answer.statusCode, status, url);
    t.match(answer.json<Problem>().detail, detail, url);
  }
  t.match((await rig.api.inject('/v1/openapi.json')).json().paths, {
    '/v1/apps/{app}/components/{component}/decisions': {},
    '/v1/apps/{app}/components/{component}/mode': {},
    '/v1/apps/{app}/mode': {},
  });
});

function toldOf(explanation: Explanation): Told {
  const row = newRow();
  writeRow(explanation, row);
  return { key: 'a/b', row, fate: 'done', announced: [] };
}

/** A log that took these decisions, one a second. */
function logOf(explanations: readonly Explanation[]): DecisionLog {
  const log = new DecisionLog();
  for (const each of explanations) {
    log.stage([toldOf(each)]);
    log.operations();
    log.committed();
  }
  return log;
}

t.test('however many there are, a bounded number is kept, the newest', async (t) => {
  const told = Array.from({ length: 500 }, (_, i) => {
    const after = shape(i % 3 === 0 ? 2 : 1, 0.5);
    return explanation({ atMs: i * 1000, before: shape(1, 0.5), after });
  });
  const kept = logOf(told).of('a/b');
  t.equal(kept.filter(({ changed }) => changed).length, LIMITS.decisionsPerComponentMax);
  t.equal(kept.filter(({ changed }) => !changed).length, LIMITS.decisionsRecentMax);
  t.strictSame(kept.at(-1)?.explanation, told.at(-1));
  t.equal(kept.filter(({ changed }) => changed).at(-1)?.explanation.atMs, 498_000);
});

t.test('what could not be committed is not said to have been decided', async (t) => {
  const log = new DecisionLog();
  log.stage([toldOf(explanation({ after: shape(3, 1) }))]);
  t.equal(log.operations().length, 1);
  log.discard();
  log.committed();
  t.strictSame(log.of('a/b'), []);
});

t.test('the verdict is on the highest demand until the decision looked ahead', async (t) => {
  const amounts = fc.double({ min: 0, max: 10, noNaN: true });
  fc.assert(
    fc.property(fc.array(amounts, { minLength: 7, maxLength: 12 }), amounts, (demands, foretold) => {
      const at = (i: number, cpu: number): Explanation => {
        const one = explanation({ atMs: i * 1000 });
        return { ...one, demand: { ...one.demand, cpu, nextCpu: 0 }, ahead: { seconds: 5, cpu: foretold, trust: 1 } };
      };
      const [first] = logOf(demands.map((cpu, i) => at(i, cpu))).of('a/b');
      const peak = Math.max(...demands.slice(1, 6));
      return first?.outcome?.peakCpu === peak && first.outcome.verdict === outcomeOf(at(0, 0), 'done', peak).verdict;
    }),
  );
  const one = explanation({ atMs: 0, ahead: { seconds: 5, cpu: 2, trust: 1 } });
  t.equal(judgedAtMs(one), 5_000);
  const verdictOf = (peak: number, fate: Decision['fate'] = 'done') => outcomeOf(one, fate, peak);
  t.match(
    [1.5, 2.5, 0.5].map((peak) => verdictOf(peak).verdict),
    ['as-foretold', 'more', 'less'],
  );
});
