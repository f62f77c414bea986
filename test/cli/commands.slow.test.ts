import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import type { AppView, ShardView } from '../../protocol/http.js';
import { parseManifest } from '../../protocol/manifest-parse.js';
import { componentView, decisionView, eventView, FakeCoordinator, hostView, instanceView } from './fake-coordinator.js';
import { type Outcome, runCli } from './run-cli.js';

const APP: AppView = {
  app: 'search',
  revision: 3,
  manifest: { app: 'search', components: {} },
  components: ['web', 'index'],
};

async function setUp(t: Test): Promise<{ fake: FakeCoordinator; shoal: (...words: string[]) => Promise<Outcome> }> {
  const fake = await FakeCoordinator.start();
  t.teardown(() => fake.stop());
  fake
    .json('GET /v1/apps', [APP])
    .json('GET /v1/apps/search', APP)
    .json('GET /v1/apps/search/components', [componentView(), componentView({ component: 'index' })])
    .json('GET /v1/apps/search/components/web', componentView())
    .json('GET /v1/apps/search/components/web/forecast', componentView().forecast)
    .json('GET /v1/instances', [instanceView(), instanceView({ id: 'search-web-2' })])
    .json('GET /v1/instances/search-web-1', instanceView({ shards: [1, 2, 3] }))
    .json('GET /v1/hosts', [
      hostView({
        degraded: [{ what: 'no RDMA device', remedy: 'load rdma_rxe' }],
        profiler: { samplesLost: 7, countsLost: 0, tablesLeftOut: 2, inlinesLeftOut: 1 },
      }),
    ])
    .json('GET /v1/events', [eventView(1), eventView(2, { app: 'other' })])
    .json('GET /v1/version', { version: '9.9.9' });
  return { fake, shoal: (...words) => runCli(words, { env: { SHOAL_SERVER: fake.url } }) };
}

t.test('get and ps list, as a table and as JSON', async (t) => {
  const { fake, shoal } = await setUp(t);
  for (const [words, text] of [
    [['get'], /search +3 +web, index/],
    [['get', 'apps', 'search'], /search +3/],
    [['get', 'components'], /search\/web.*\nsearch\/index/],
    [['get', 'components', 'search/web'], /search\/web +2\/2/],
    [['get', 'instances', 'search'], /search-web-1 +rack1 +ready/],
    [['ps'], /search-web-2/],
    [['get', 'hosts'], /rack1 +connected.*no RDMA device/],
  ] as const) {
    const { code, out, err } = await shoal(...words);
    t.match({ code, err }, { code: 0, err: '' }, words.join(' '));
    t.match(out, text);
    t.notOk(out.includes(String.fromCharCode(27)), 'no colours without a terminal');
    const json = await shoal(...words, '--json');
    t.type(JSON.parse(json.out), Array);
  }
  const scoped = await shoal('ps', 'search/web');
  t.equal(scoped.code, 0);
  t.equal(fake.requests().at(-1), 'GET /v1/instances?app=search&component=web');
  t.match(await shoal('get', 'apps', 'search/web'), { code: 2 });
  t.match(await shoal('get', 'hosts', 'search'), { code: 2 });
});

t.test('an empty list says so, and is [] in JSON', async (t) => {
  const { fake, shoal } = await setUp(t);
  fake.json('GET /v1/instances', []);
  t.match(await shoal('ps'), { code: 0, out: '', err: 'none\n' });
  t.match(await shoal('ps', '--json'), { code: 0, out: '[]\n', err: '' });
});

t.test('describe shows each kind of thing', async (t) => {
  const { shoal } = await setUp(t);
  for (const [kind, name, text] of [
    ['app', 'search', /revision +3[\s\S]*search\/index/],
    ['component', 'search/web', /count +2 ready of 2 wanted, bounds 1–8[\s\S]*why +forecast 0.55[\s\S]*search-web-2/],
    ['instance', 'search-web-1', /process +pid 4711[\s\S]*state shards +1-3/],
    ['host', 'rack1', /degraded: no RDMA device\n {2}remedy: load rdma_rxe/],
    ['host', 'rack1', /profiler +7 samples and 0 counts lost; left out: unwind tables of 2 files/],
  ] as const) {
    const { code, out } = await shoal('describe', kind, name);
    t.equal(code, 0, `describe ${kind}`);
    t.match(out, text);
    t.type(JSON.parse((await shoal('describe', kind, name, '--json')).out), 'object');
  }
  t.match(await shoal('describe', 'host', 'rack9'), { code: 3, err: /no host named rack9; known: rack1/ });
  t.match(await shoal('describe', 'instance', 'nope'), { code: 3 });
  t.match(await shoal('describe', 'component', 'search'), { code: 2, err: /write APP\/COMPONENT/ });
});

t.test('scale sets the count by hand and gives it back', async (t) => {
  const { fake, shoal } = await setUp(t);
  const path = '/v1/apps/search/components/web/scale';
  const empty = (_: unknown, response: { writeHead: (status: number) => { end: () => void } }): void => {
    response.writeHead(204).end();
  };
  fake.on(`PUT ${path}`, empty).on(`DELETE ${path}`, empty);
  t.match(await shoal('scale', 'search/web', '4'), { code: 0, out: 'search/web set to 4 by hand\n' });
  t.match(fake.seen.at(-1), { method: 'PUT', url: path, body: '{"count":4}' });
  t.match(await shoal('scale', 'search/web', 'auto'), { code: 0, out: /follows its demand again/ });
  t.match(fake.seen.at(-1), { method: 'DELETE', url: path, body: '' });
  t.match(JSON.parse((await shoal('scale', 'search/web', '4', '--json')).out), { component: 'web' });
  for (const bad of ['-1', '1.5', '501', 'many', '']) {
    t.match(await shoal('scale', 'search/web', '--', bad), { code: 2 }, `count "${bad}"`);
  }
});

t.test('explain tells the last change and the present, or what is asked for', async (t) => {
  const { fake, shoal } = await setUp(t);
  const route = 'GET /v1/apps/search/components/web/decisions';
  const size = { cpu: 0.25, memory: 2 ** 26 };
  const outcome = { verdict: 'more', peakCpu: 1, foretoldCpu: 0.6, seconds: 5, allottedCpu: 0.5 } as const;
  const grown = { changed: true, before: { count: 1, size }, after: { count: 2, size }, outcome };
  const long = { topic: 'because', text: `${'word '.repeat(40)}\u001b[31mend` };
  fake.json(route, [
    decisionView(1_000, { ...grown, before: { count: 3, size }, after: { count: 1, size } }),
    decisionView(2_000, grown),
    decisionView(3_000),
    decisionView(4_000, { words: [long] }),
  ]);
  const { out, code } = await shoal('explain', 'search/web');
  t.equal(code, 0);
  t.match(out, /1 × 0\.25 cores → 2 × 0\.25 cores\n {2}saw +It used 0\.30/);
  t.match(out, /2 × 0\.25 cores, no change\n {2}because +word/);
  t.match(out, /last changes\n.*3 × 0\.25 cores → 1 × .*\n.*\(demand more than foretold\)/);
  t.notOk(out.includes('\u001b'), 'no control characters');
  t.ok(out.split('\n').every((line) => line.length <= 120));
  t.equal(JSON.parse((await shoal('explain', 'search/web', '--json')).out).length, 2);
  await shoal('explain', 'search/web', '--since', '2026-11-25T08:30Z', '--last', '5');
  t.equal(fake.requests().at(-1), `${route}?since=${Date.UTC(2026, 10, 25, 8, 30)}&last=5`);
  t.match(await shoal('explain', 'search/web', '--since', '10m'), { code: 0 });
  for (const bad of [
    ['--since', 'yesterday'],
    ['--since', '10'],
    ['--last', '0'],
    ['--last', 'all'],
  ]) {
    t.match(await shoal('explain', 'search/web', ...bad), { code: 2 }, bad.join(' '));
  }
  t.match(await shoal('explain', 'search'), { code: 2 });
  const leaner = { count: 1, size: { ...size, memory: 2 ** 25 } };
  fake.json(route, [decisionView(1_000, { changed: true, before: { count: 1, size }, after: leaner })]);
  t.match((await shoal('explain', 'search/web')).out, /1 × 0\.25 cores, 64Mi → 32Mi\n/);
  fake.json(route, []);
  t.match(await shoal('explain', 'search/web'), { code: 0, out: 'nothing was decided on search/web yet\n' });
  t.match(await shoal('explain', 'search/index'), { code: 3 });
});

t.test('calendar announces known events, lists them and takes them back', async (t) => {
  const { fake, shoal } = await setUp(t);
  const path = '/v1/apps/search/components/web/known-events';
  const from = '2026-11-27T08:00:00.000Z';
  const view = { id: 'event-1', from, to: '2026-11-27T12:00:00.000Z', factor: 3, note: 'sale', next: null };
  fake.json(`POST ${path}`, view).json(`GET ${path}`, [view]).json(`DELETE ${path}/event-1`, []);
  const add = (...words: string[]) => shoal('calendar', 'add', 'search/web', ...words);
  const good = ['--from', '2026-11-27T08:00Z', '--for', '4h', '--factor', '3', '--note', 'sale'];
  t.match(await add(...good), { code: 0, out: /^announced event-1 of search\/web: .*3 × the usual demand\n$/ });
  t.strictSame(JSON.parse(fake.seen.at(-1)?.body ?? ''), { from, to: view.to, factor: 3, note: 'sale' });
  await add('--from', from, '--to', '2026-11-27T09:00Z', '--requests', '900', '--repeat', 'daily', '--id', 'rush');
  t.match(JSON.parse(fake.seen.at(-1)?.body ?? ''), { id: 'rush', requestsPerSecond: 900, repeat: 'daily' });
  t.match(await shoal('calendar', 'list', 'search/web'), {
    code: 0,
    out: /event-1 .*\(over\) +- +3 × the usual demand +sale/,
  });
  t.match(await shoal('calendar', 'remove', 'search/web', 'event-1'), { code: 0, out: /taken back/ });
  const asked = fake.seen.length;
  for (const bad of [
    ['--from', from, '--factor', '2'],
    ['--from', from, '--for', '4h', '--to', from, '--factor', '2'],
    ['--from', from, '--for', 'long', '--factor', '2'],
    ['--from', 'soon', '--for', '4h', '--factor', '2'],
    ['--from', from, '--for', '4h'],
    ['--from', from, '--for', '4h', '--factor', 'much'],
    ['--from', from, '--for', '4h', '--factor', '2', '--repeat', 'yearly'],
    ['--for', '4h', '--factor', '2'],
  ]) {
    t.match(await add(...bad), { code: 2 }, bad.join(' '));
  }
  t.equal(fake.seen.length, asked, 'nothing of that was sent');
});

t.test('mode says whether plans are acted on, for an app or a component', async (t) => {
  const { fake, shoal } = await setUp(t);
  const observed = componentView({
    mode: { mode: 'observe', by: 'app' },
    wouldBe: { count: 5, size: { cpu: 0.5, memory: 2 ** 26 } },
  });
  fake
    .json('PUT /v1/apps/search/mode', [observed])
    .json('DELETE /v1/apps/search/components/web/mode', componentView())
    .json('GET /v1/apps/search/components/index', observed);
  t.match(await shoal('mode', 'search', 'observe'), {
    code: 0,
    out: /^search\/web: observe, .*set for its app by hand/,
  });
  t.match(fake.seen.at(-1), { method: 'PUT', body: '{"mode":"observe"}' });
  t.match(await shoal('mode', 'search/web', 'manifest'), { code: 0, out: /act, .*by the manifest/ });
  t.match(await shoal('mode', 'search/web', 'sometimes'), { code: 2 });
  t.match(await shoal('describe', 'component', 'search/index'), {
    out: /would be +5 × 0.5 cores, 64Mi, if it were acted on/,
  });
  t.match(await shoal('get', 'components', 'search/index'), { out: /WOULD BE[\s\S]* 5 × 0\.5 cpu/ });
  t.notMatch(
    (await shoal('get', 'components', 'search')).out,
    'WOULD BE',
    'no column where nothing would be otherwise',
  );
});

t.test('host: drain, cordon and uncordon', async (t) => {
  const { fake, shoal } = await setUp(t);
  const path = '/v1/hosts/rack1/cordon';
  const empty = (_: unknown, response: { writeHead: (status: number) => { end: () => void } }): void => {
    response.writeHead(204).end();
  };
  fake.on(`PUT ${path}`, empty).on(`DELETE ${path}`, empty);
  t.match(await shoal('host', 'drain', 'rack1'), { code: 0, out: /^rack1 is drained: / });
  t.match(fake.seen.at(-1), { method: 'PUT', url: path, body: '{"drain":true}' });
  t.match(await shoal('host', 'cordon', 'rack1'), { code: 0, out: /gets no new instances/ });
  t.match(fake.seen.at(-1), { method: 'PUT', url: path, body: '{"drain":false}' });
  t.match(await shoal('host', 'uncordon', 'rack1'), { code: 0, out: 'rack1 is open again\n' });
  t.match(fake.seen.at(-1), { method: 'DELETE', url: path, body: '' });
  t.match(await shoal('host', 'drain', 'nobody'), { code: 3 });
  t.match(await shoal('host', 'drain'), { code: 2 });
});

t.test('forecast, events, version', async (t) => {
  const { fake, shoal } = await setUp(t);
  const forecast = await shoal('forecast', 'search/web', '--horizon', '30');
  t.match(forecast, { code: 0, out: /search\/web: next 30 s, model holt-winters[\s\S]*0\.4 +0\.3 +0\.55/ });
  t.match(forecast.out, /1 s ahead: wrong by 0\.02 of 0\.3 cores on average; 91% of the demands/);
  t.match(forecast.out, /5 s ahead: nothing to compare yet/);
  t.match(fake.requests(), ['GET /v1/apps/search/components/web/forecast?horizon=30']);
  t.match(JSON.parse((await shoal('forecast', 'search/web', '--json')).out), { model: 'holt-winters' });
  t.match(await shoal('forecast', 'search/web', '--horizon', '0'), { code: 2 });
  t.match(await shoal('forecast', 'search/web', '--horizon', '3601'), { code: 2 });

  t.match(await shoal('events'), { code: 0, out: /event number 1\n.*event number 2\n$/ });
  t.match(JSON.parse((await shoal('events', '--app', 'other', '--json')).out), [{ id: 2 }]);

  t.match(await shoal('version'), { code: 0, out: /server {2}9\.9\.9/ });
  t.match(JSON.parse((await shoal('version', '--json')).out), { cli: /^\d+\.\d+\.\d+/, server: '9.9.9' });
});

const MANIFEST = `app: search
components:
  web:
    rootfs: host
    directory: ./web
    command: [node, main.js]
    objective: { latency: { p99: 50ms } }
`;

t.test('apply checks the manifest here, resolves its paths and sends all of it', async (t) => {
  const { fake, shoal } = await setUp(t);
  const folder = t.testdir({ app: { 'shoal.yaml': MANIFEST } });
  fake.json('PUT /v1/apps/search', APP);
  t.match(await shoal('apply', '-f', join(folder, 'app', 'shoal.yaml')), {
    code: 0,
    out: 'applied search, revision 3\n',
  });
  const sent = fake.seen.at(-1);
  t.equal(sent?.headers['content-type'], 'application/json');
  const parsed = parseManifest(sent?.body ?? '', 'sent');
  t.match(parsed, {
    ok: true,
    manifest: { components: { web: { source: { directory: join(folder, 'app', 'web') } } } },
  });

  const stdin = await runCli(['apply', '-f', '-', '--json', '--server', fake.url], { input: MANIFEST, cwd: folder });
  t.match(JSON.parse(stdin.out), { app: 'search', revision: 3 });
  t.match(fake.seen.at(-1)?.body, join(folder, 'web'));
});

t.test('apply refuses a wrong manifest with file, line and column, and sends nothing', async (t) => {
  const { fake, shoal } = await setUp(t);
  const folder = t.testdir({
    'bad.yaml': MANIFEST.replace('p99: 50ms', 'p99: soon').replace('app: search', 'app: Search'),
  });
  const file = join(folder, 'bad.yaml');
  const { code, err, out } = await shoal('apply', '-f', file);
  t.match({ code, out }, { code: 2, out: '' });
  t.match(err, `${file}:1:6: $.app: `);
  t.match(err, `${file}:7:`);
  const json = await shoal('apply', '-f', file, '--json');
  t.match(JSON.parse(json.err), { code: 'SHOAL_E_MANIFEST', errors: [{ path: '$.app', line: 1, column: 6 }, {}] });
  t.strictSame(fake.requests(), []);
  t.match(await shoal('apply', '-f', join(folder, 'none.yaml')), { code: 2, err: /cannot read the manifest/ });
  mkdirSync(join(folder, 'dir'));
  t.match(await shoal('apply', '-f', join(folder, 'dir')), { code: 2 });
  t.match(await shoal('apply'), { code: 2, err: /required option/ });
});

t.test('apply --wait waits for ready instances, and says what is wrong when they do not come', async (t) => {
  const { fake, shoal } = await setUp(t);
  const folder = t.testdir();
  const file = join(folder, 'shoal.yaml');
  writeFileSync(file, MANIFEST);
  const count = { desired: 2, min: 1, max: 8 };
  let asked = 0;
  fake.json('PUT /v1/apps/search', APP).on('GET /v1/apps/search/components', (_, response) => {
    asked += 1;
    response.end(JSON.stringify([componentView({ count: { ...count, ready: Math.min(2, asked - 1) } })]));
  });
  const good = await shoal('apply', '-f', file, '--wait', '30');
  t.match(good, { code: 0, out: /search is ready\n$/, err: 'waiting for web 0/2\nwaiting for web 1/2\n' });

  asked = 0;
  fake.on('GET /v1/apps/search/components', (_, response) => {
    asked += 1;
    const missingOn = ['rack1', 'rack2'].slice(asked - 1);
    response.end(JSON.stringify([componentView({ ports: [{ name: 'http', host: 8080, missingOn }] })]));
  });
  t.match(await shoal('apply', '-f', file, '--wait'), {
    code: 0,
    err: 'waiting for port 8080 of web on rack1, rack2\nwaiting for port 8080 of web on rack2\n',
  });

  fake
    .json('GET /v1/apps/search/components', [componentView({ count: { ...count, ready: 1 } })])
    .json('GET /v1/instances', [
      instanceView({ phase: 'backoff', exit: { code: 127, signal: null, reason: 'exited' } }),
    ]);
  const bad = await shoal('apply', '-f', file, '--wait', '1');
  t.match(bad, { code: 1, err: /not ready within 1 s: web 1\/2\n {2}search-web-1: backoff, last exit code 127/ });
  t.match(await shoal('apply', '-f', file, '--wait', 'long'), { code: 2 });
});

t.test('delete, and --wait until nothing of the app is left', async (t) => {
  const { fake, shoal } = await setUp(t);
  let left = 2;
  fake
    .on('DELETE /v1/apps/search', (_, response) => response.writeHead(204).end())
    .on('GET /v1/instances', (_, response) => {
      left -= 1;
      response.end(JSON.stringify(left > 0 ? [instanceView({ phase: 'stopping' })] : []));
    });
  t.match(await shoal('delete', 'search'), { code: 0, out: 'search deleted\n' });
  t.match(await shoal('delete', 'search', '--wait'), { code: 0, out: 'search is gone\n' });
  fake.json('GET /v1/instances', [instanceView({ phase: 'stopping' })]);
  t.match(await shoal('delete', 'search', '--wait', '1'), { code: 1, err: /search-web-1 \(stopping\)/ });
  t.match(await shoal('delete', 'nope'), { code: 3 });
});

t.test('delete --wait is not content with what a leader says that has not heard of all hosts yet', async (t) => {
  const { fake, shoal } = await setUp(t);
  let deleted = false;
  let askedHosts = 0;
  fake
    .on('DELETE /v1/apps/search', (_, response) => {
      deleted = true;
      response.writeHead(204).end();
    })
    .on('GET /v1/instances', (_, response) => {
      response.end(JSON.stringify(deleted ? [] : [instanceView({ host: 'rack1' })]));
    })
    .on('GET /v1/hosts', (_, response) => {
      askedHosts += 1;
      const known = askedHosts > 2;
      response.end(JSON.stringify(askedHosts === 1 ? [] : [hostView({ reported: known })]));
    });
  t.match(await shoal('delete', 'search', '--wait'), { code: 0, out: 'search is gone\n' });
  t.equal(askedHosts, 3, 'until the host has said what runs on it');
  deleted = false;
  fake.json('GET /v1/hosts', [hostView({ connected: false })]);
  t.match(await shoal('delete', 'search', '--wait', '1'), {
    code: 1,
    err: /what runs on rack1, which is not connected/,
  });
});

t.test('state shows shards with owners, copies, sizes, heat and moves, and refuses a component without', async (t) => {
  const { fake, shoal } = await setUp(t);
  const holds = { host: 'rack1', entries: 7, liveBytes: 2_048, heldBytes: 65_536, reads: 9, writes: 8, refused: 0 };
  const rest = { owner: 'search-index-0', cpu: 0, callsPerSecond: 0, copies: null, holds, move: null };
  const lists = { inSync: ['rack1', 'rack2'], joining: [] as string[] };
  const copies = { epoch: 4, phase: 'serving' as const, owner: 'rack1', ...lists };
  const shards = [
    { ...rest, shard: 0, cpu: 0.25, callsPerSecond: 12, copies },
    { ...rest, shard: 1, holds: { ...holds, liveBytes: 4_096 } },
    { ...rest, shard: 2, holds: null, move: { kind: 'instance' as const, from: null, to: ['search-index-0'] } },
  ];
  fake.json('GET /v1/apps/search/components/index', componentView({ component: 'index', shards }));
  const table = await shoal('state', 'search/index');
  t.match(table, { code: 0, err: '' });
  t.match(table.out, /^search\/index: 3 state shards of 1 owners, 14 entries, 6Ki \(128Ki held\), 1 on their way\n/);
  t.match(table.out, / 0 +search-index-0 +rack1 +rack2 +7 +2Ki +64Ki +0.25 +12 +0\n/);
  t.match(table.out, / 2 +search-index-0 +- +- +- +- +- .*to search-index-0\n/);
  const lost = [shards[0], { ...shards[1], lostAtMs: 1_000 }, { ...shards[2], lostAtMs: 60_000 }] as ShardView[];
  fake.json('GET /v1/apps/search/components/lost', componentView({ component: 'lost', shards: lost }));
  t.match(
    (await shoal('state', 'search/lost')).out,
    /\n2 state shards began empty, since no copy of them was left, the last at 1970-01-01T00:01:00.000Z: 1-2\n/,
  );
  t.notMatch(table.out, /began empty|wait for hosts/);
  const none = { epoch: 9, phase: 'fencing', owner: null, inSync: ['rack3', 'rack2'], joining: [] };
  const waiting = [shards[0], { ...shards[1], copies: none }] as ShardView[];
  fake.json('GET /v1/apps/search/components/waits', componentView({ component: 'waits', shards: waiting }));
  const text = /\n1 state shards wait for hosts that had copies of them, rack2, rack3: 1\n.*shoal host drain HOST\n/;
  t.match((await shoal('state', 'search/waits')).out, text);
  const order = async (sort: string) =>
    JSON.parse((await shoal('state', 'search/index', '--sort', sort, '--json')).out).map(
      (each: { shard: number }) => each.shard,
    );
  t.same(
    [await order('shard'), await order('bytes'), await order('heat')],
    [
      [0, 1, 2],
      [1, 0, 2],
      [0, 1, 2],
    ],
  );
  fake.json('GET /v1/apps/search/components/flags', componentView({ component: 'flags', shards, stateLagMs: 312 }));
  t.match(
    (await shoal('state', 'search/flags')).out,
    /\nwhat its instances read lacks no write acknowledged 312 ms ago or earlier\n/,
  );
  t.match(await shoal('state', 'search/web'), { code: 2, err: /state: partitioned/ });
  const totals = { hits: 60, misses: 10, nearHits: 130, writes: 30, failed: 2, answerMs: 250 };
  const cache = { ...totals, slowestMs: 7.5, waiting: 3, connections: 2, clients: 4 };
  fake.json('GET /v1/apps/search/components/sessions', componentView({ component: 'sessions', cache }));
  const cached = await shoal('state', 'search/sessions');
  t.match(cached, { code: 0, err: '' });
  t.match(cached.out, /^search\/sessions: 200 reads, 30 writes, 2 failed\n/);
  t.match(cached.out, /found 60 \(30.0 %\), found near 130 \(65.0 %\), not found 10 \(5.0 %\)\n/);
  t.match(cached.out, /2.50 ms on average, .* 7.50 ms, 3 waited for\n.*2 to servers, for 4 processes/);
  t.same(JSON.parse((await shoal('state', 'search/sessions', '--json')).out), cache);
  t.match(await shoal('state', 'search/index', '--sort', 'luck'), { code: 2, err: /one of shard, bytes, heat/ });
});
