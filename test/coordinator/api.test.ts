import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { InjectOptions } from 'fastify';
import t from 'tap';
import { loadCluster } from '../../coordinator/persist.js';
import type { ComponentView, HostView, InstanceView, Problem } from '../../protocol/http.js';
import { newsOf } from '../../protocol/instance-news.js';
import type { ListeningPort } from '../../protocol/link.js';
import { CoordinatorRig, MANIFEST } from './rig.js';

const YAML = { 'content-type': 'application/yaml' };
const JSON_TYPE = { 'content-type': 'application/json' };

t.test('an app is applied, seen, scaled and deleted', async (t) => {
  const rig = await CoordinatorRig.make();
  t.teardown(() => rig.close());
  const { api } = rig;
  await rig.addHost('h1');
  const put = await api.inject({ method: 'PUT', url: '/v1/apps/shop', headers: YAML, payload: MANIFEST });
  t.equal(put.statusCode, 200, put.body);
  t.match(put.json(), { app: 'shop', revision: 1, components: ['web', 'cart'] });
  const again = await api.inject({ method: 'PUT', url: '/v1/apps/shop', headers: YAML, payload: MANIFEST });
  t.equal(again.json().revision, 1, 'the same manifest again changes nothing');
  const asJson = JSON.stringify({ app: 'two', components: { a: { rootfs: 'host', command: ['x'] } } });
  t.equal(
    (await api.inject({ method: 'PUT', url: '/v1/apps/two', headers: JSON_TYPE, payload: asJson })).statusCode,
    200,
  );

  await rig.coordinator.tick();
  const instances = (await api.inject('/v1/instances?app=shop')).json<InstanceView[]>();
  t.same(
    instances.map((each) => [each.id, each.host, each.phase]),
    [
      ['shop-cart-0', 'h1', 'starting'],
      ['shop-web-0', 'h1', 'starting'],
    ],
  );
  t.equal((await api.inject('/v1/instances/shop-web-0')).json().id, 'shop-web-0');

  const scale = { method: 'PUT', url: '/v1/apps/shop/components/cart/scale', headers: JSON_TYPE } as const;
  const scaled = await api.inject({ ...scale, payload: '{"count":3}' });
  t.match(scaled.json<ComponentView>(), { count: { desired: 3 }, override: { count: 3 } });
  const freed = await api.inject({ method: 'DELETE', url: '/v1/apps/shop/components/cart/scale' });
  t.match(freed.json<ComponentView>(), { override: null });

  t.equal((await api.inject('/v1/apps/shop/components/web/forecast?horizon=10')).json().points.length, 10);
  t.equal((await api.inject('/v1/hosts')).json()[0].name, 'h1');
  t.match((await api.inject('/metrics')).body, /shoal_component_instances_desired\{app="shop",component="web"\} 1/);
  t.equal((await api.inject('/healthz')).statusCode, 200);
  t.match((await api.inject('/v1/openapi.json')).json().paths, { '/v1/apps/{app}': {}, '/v1/events': {} });
  t.match((await api.inject('/v1/schema/manifest.json')).json(), { type: 'object' });

  t.equal((await api.inject({ method: 'DELETE', url: '/v1/apps/shop' })).statusCode, 200);
  t.equal((await api.inject('/v1/apps/shop')).statusCode, 404);
  t.same((await api.inject('/v1/instances?app=shop')).json(), [], 'its instances are no longer wanted');
});

t.test('what a decision does has the time of the decision, whatever the store takes to write it down', async (t) => {
  const rig = await CoordinatorRig.make();
  t.teardown(() => rig.close());
  await rig.addHost('h1');
  const decidedMs = rig.nowMs;
  const commit = rig.store.commit.bind(rig.store);
  rig.store.commit = async (...batch) => {
    await commit(...batch);
    rig.nowMs += 40;
  };
  await rig.api.inject({ method: 'PUT', url: '/v1/apps/shop', headers: YAML, payload: MANIFEST });
  const events = (await rig.api.inject('/v1/events')).json() as { kind: string; atMs: number }[];
  const created = events.filter(({ kind }) => kind === 'created');
  t.ok(created.length > 0);
  t.same(new Set(created.map(({ atMs }) => atMs)), new Set([decidedMs]));
  t.ok(rig.nowMs > decidedMs, 'it took a while');
});

t.test('what is wrong is refused by name and changes nothing', async (t) => {
  const rig = await CoordinatorRig.make();
  t.teardown(() => rig.close());
  const { api } = rig;
  await api.inject({ method: 'PUT', url: '/v1/apps/shop', headers: YAML, payload: MANIFEST });
  const before = rig.coordinator.state;
  const component = '/v1/apps/shop/components/cart';
  const cases: [string, string | InjectOptions, number, string, RegExp][] = [
    [
      'no YAML',
      { method: 'PUT', url: '/v1/apps/shop', headers: YAML, payload: 'a: [' },
      400,
      'SHOAL_E_MANIFEST',
      /wrong/,
    ],
    ['empty', { method: 'PUT', url: '/v1/apps/shop', headers: YAML, payload: '' }, 400, 'SHOAL_E_BODY', /manifest/],
    [
      'other app',
      { method: 'PUT', url: '/v1/apps/other', headers: YAML, payload: MANIFEST },
      400,
      'SHOAL_E_NAME',
      /shop/,
    ],
    [
      'bad name',
      { method: 'PUT', url: '/v1/apps/Shop!', headers: YAML, payload: MANIFEST },
      400,
      'SHOAL_E_NAME',
      /app in the address must be a name of lower-case/,
    ],
    ['traversal', '/v1/instances/..%2f..%2fetc%2fpasswd/logs', 400, 'SHOAL_E_NAME', /id of an instance/],
    ['traversal', '/v1/apps/..%2f..%2fx', 400, 'SHOAL_E_NAME', /app in the address/],
    [
      'other type',
      { method: 'PUT', url: '/v1/apps/shop', headers: { 'content-type': 'image/png' }, payload: 'x' },
      400,
      'SHOAL_E_BODY',
      /content type is not taken: send application\/json/,
    ],
    [
      'too large',
      { method: 'PUT', url: '/v1/apps/shop', headers: YAML, payload: 'x'.repeat(2 ** 20 + 1) },
      413,
      'SHOAL_E_BODY_TOO_LARGE',
      /1048576/,
    ],
    [
      'no JSON',
      { method: 'PUT', url: `${component}/scale`, headers: JSON_TYPE, payload: '{"count":' },
      400,
      'SHOAL_E_BODY',
      /JSON/i,
    ],
    [
      'text for number',
      { method: 'PUT', url: `${component}/scale`, headers: JSON_TYPE, payload: '{"count":"3"}' },
      400,
      'SHOAL_E_USAGE',
      /integer/,
    ],
    [
      'fraction',
      { method: 'PUT', url: `${component}/scale`, headers: JSON_TYPE, payload: '{"count":1.5}' },
      400,
      'SHOAL_E_USAGE',
      /integer/,
    ],
    [
      'negative',
      { method: 'PUT', url: `${component}/scale`, headers: JSON_TYPE, payload: '{"count":-1}' },
      400,
      'SHOAL_E_USAGE',
      />= 0/,
    ],
    [
      'unknown key',
      { method: 'PUT', url: `${component}/scale`, headers: JSON_TYPE, payload: '{"count":1,"x":2}' },
      400,
      'SHOAL_E_USAGE',
      /body has the unknown key "x"/,
    ],
    [
      'above max',
      { method: 'PUT', url: `${component}/scale`, headers: JSON_TYPE, payload: '{"count":99}' },
      409,
      'SHOAL_E_CONFLICT',
      /count\.max 4/,
    ],
    ['horizon', `${component}/forecast?horizon=-5`, 400, 'SHOAL_E_USAGE', /horizon/],
    ['horizon', `${component}/forecast?horizon=abc`, 400, 'SHOAL_E_USAGE', /horizon/],
    ['unknown query', '/v1/instances?ap=shop', 400, 'SHOAL_E_USAGE', /unknown key "ap"/],
    ['unknown app', '/v1/apps/nope', 404, 'SHOAL_E_NOT_FOUND', /app nope/],
    ['prototype', '/v1/apps/constructor', 404, 'SHOAL_E_NOT_FOUND', /constructor/],
    ['unknown component', '/v1/apps/shop/components/nope', 404, 'SHOAL_E_NOT_FOUND', /shop\/nope/],
    ['unknown instance', '/v1/instances/shop-web-77', 404, 'SHOAL_E_NOT_FOUND', /shop-web-77/],
    ['unknown route', '/v2/apps', 404, 'SHOAL_E_NOT_FOUND', /openapi/],
    ['wrong method', { method: 'POST', url: '/v1/apps/shop' }, 404, 'SHOAL_E_NOT_FOUND', /POST/],
    ['unknown app', { method: 'DELETE', url: '/v1/apps/nope' }, 404, 'SHOAL_E_NOT_FOUND', /nope/],
    ['rebinding', { url: '/v1/apps', headers: { host: 'evil.example:7946' } }, 401, 'SHOAL_E_UNAUTHORIZED', /evil/],
    ['event id', '/v1/events?after=-1', 400, 'SHOAL_E_USAGE', /after/],
  ];
  for (const [what, request, status, code, detail] of cases) {
    const answer = await api.inject(request);
    const problem = answer.json<Problem>();
    t.match(answer.headers['content-type'], 'application/problem+json', what);
    t.match(
      { status: answer.statusCode, code: problem.code, detail: problem.detail },
      { status, code, detail },
      `${what}: ${answer.body}`,
    );
  }
  t.equal(rig.coordinator.state, before, 'nothing was changed by all that');
});

t.test('every place of a manifest that is wrong is named with its line', async (t) => {
  const rig = await CoordinatorRig.make();
  t.teardown(() => rig.close());
  const payload = 'app: shop\ncomponents:\n  web:\n    rootfs: host\n    comand: [x]\n    directory: relative\n';
  const answer = await rig.api.inject({ method: 'PUT', url: '/v1/apps/shop', headers: YAML, payload });
  const { errors = [] } = answer.json<Problem>();
  t.equal(answer.statusCode, 400);
  t.match(
    errors.find((each) => each.line === 5),
    { message: /command/ },
    'with what was probably meant',
  );
  const relative = MANIFEST.replace('command: [node, main.js]', 'command: [node, main.js]\n    directory: here');
  const refused = await rig.api.inject({ method: 'PUT', url: '/v1/apps/shop', headers: YAML, payload: relative });
  t.match(refused.json<Problem>().detail, /absolute path/);
});

t.test('what this version cannot do yet is refused, not pretended', async (t) => {
  const rig = await CoordinatorRig.make();
  t.teardown(() => rig.close());
  const apply = async (payload: string) =>
    (await rig.api.inject({ method: 'PUT', url: '/v1/apps/shop', headers: YAML, payload })).json<Problem>();
  const built = 'app: shop\ncomponents:\n  web:\n    build: ./src\n';
  t.match(await apply(built), { code: 'SHOAL_E_MANIFEST', detail: /build: must be an absolute path here, not .\/src/ });
});

t.test('with a token nothing but the health is open', async (t) => {
  const token = 'a-token-of-enough-length';
  const rig = await CoordinatorRig.make(token);
  t.teardown(() => rig.close());
  const ask = (authorization?: string) =>
    rig.api.inject({ url: '/v1/apps', headers: authorization === undefined ? {} : { authorization } });
  t.equal((await ask()).statusCode, 401);
  t.equal((await ask('Bearer wrong')).statusCode, 401);
  t.equal((await ask(`Basic ${token}`)).statusCode, 401);
  t.equal((await ask(`Bearer ${token}`)).statusCode, 200);
  t.equal((await rig.api.inject('/healthz')).statusCode, 200);
  t.equal((await rig.api.inject('/metrics')).statusCode, 401);
});

t.test('events come as a list and live, and go on after the last id', async (t) => {
  const rig = await CoordinatorRig.make();
  t.teardown(() => rig.close());
  const address = await rig.api.listen({ host: '127.0.0.1', port: 0 });
  await rig.addHost('h1');
  const [first] = (await rig.api.inject('/v1/events')).json();
  t.match(first, { kind: 'host-connected' });
  t.same((await rig.api.inject(`/v1/events?after=${first.id}`)).json(), []);

  const abort = new AbortController();
  const headers = { accept: 'text/event-stream', 'last-event-id': String(first.id) };
  const live = await fetch(`${address}/v1/events`, { headers, signal: abort.signal });
  t.equal(live.headers.get('content-type'), 'text/event-stream');
  rig.coordinator.disconnect('h1', 'pulled the plug');
  let text = '';
  const decoder = new TextDecoder();
  for await (const chunk of live.body as AsyncIterable<Uint8Array>) {
    text += decoder.decode(chunk, { stream: true });
    if (text.includes('pulled the plug')) break;
  }
  t.notMatch(text, /host-connected/, 'what was seen does not come twice');
  t.match(text, /^id: \d+\nevent: host-disconnected\ndata: \{/m);
  abort.abort();
});

t.test('logs: the tail, all, and what follows across a rotation', async (t) => {
  const rig = await CoordinatorRig.make();
  t.teardown(() => rig.close());
  await rig.addHost('h1');
  await rig.api.inject({ method: 'PUT', url: '/v1/apps/shop', headers: YAML, payload: MANIFEST });
  await rig.coordinator.tick();
  const folder = join(rig.folder, 'run/instances/shop-web-0');
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, 'log.1'), 'one\ntwo\n');
  await writeFile(join(folder, 'log'), 'three\n');
  const url = '/v1/instances/shop-web-0/logs';
  t.equal((await rig.api.inject(url)).body, 'one\ntwo\nthree\n');
  t.equal((await rig.api.inject(`${url}?tail=2`)).body, 'two\nthree\n');
  t.equal((await rig.api.inject(`${url}?tail=x`)).statusCode, 400);

  const address = await rig.api.listen({ host: '127.0.0.1', port: 0 });
  const abort = new AbortController();
  const live = await fetch(`${address}${url}?follow=1&tail=1`, { signal: abort.signal });
  let text = '';
  const decoder = new TextDecoder();
  let written = false;
  for await (const chunk of live.body as AsyncIterable<Uint8Array>) {
    text += decoder.decode(chunk, { stream: true });
    if (text.includes('three') && !written) {
      written = true;
      await writeFile(join(folder, 'log'), 'four\n', { flag: 'a' });
    }
    if (text.includes('four')) break;
  }
  t.equal(text, 'three\nfour\n');
  abort.abort();
});

t.test('a host is cordoned, drained and opened again, durably', async (t) => {
  const rig = await CoordinatorRig.make();
  t.teardown(() => rig.close());
  const { api, coordinator } = rig;
  await rig.addHost('h1');
  const url = '/v1/hosts/h1/cordon';
  const put = (payload: string, at = url) => api.inject({ method: 'PUT', url: at, headers: JSON_TYPE, payload });
  t.match((await api.inject('/v1/hosts/h1')).json<HostView>(), { use: 'open' });
  t.match((await put('{"drain":false}')).json<HostView>(), { use: 'cordoned' });
  const { revision } = coordinator.state;
  await put('{"drain":false}');
  t.equal(coordinator.state.revision, revision, 'again it changes nothing');
  t.match((await put('{"drain":true}')).json<HostView>(), { use: 'drained' });
  t.match((await loadCluster(rig.store)).cordons, { h1: { drain: true } });
  t.equal((await put('{"drain":1}')).statusCode, 400);
  t.equal((await put('{"drain":true}', '/v1/hosts/nobody/cordon')).statusCode, 404);
  t.match((await api.inject({ method: 'DELETE', url })).json<HostView>(), { use: 'open' });
  t.strictSame((await loadCluster(rig.store)).cordons, {});
});

t.test('a component that waits for room says so', async (t) => {
  const rig = await CoordinatorRig.make();
  t.teardown(() => rig.close());
  const { api } = rig;
  await rig.addHost('h1');
  const text = 'app: shop\ncomponents: {web: {rootfs: host, command: [x], place: {require: {disk: ssd}}}}';
  await api.inject({ method: 'PUT', url: '/v1/apps/shop', headers: { 'content-type': 'text/yaml' }, payload: text });
  const view = (await api.inject('/v1/apps/shop/components/web')).json<ComponentView>();
  t.match(view.reason, /1 instances wait for room: no host has disk=ssd/);
});

t.test('a component tells on which hosts its host ports do not listen yet', async (t) => {
  const rig = await CoordinatorRig.make();
  t.teardown(() => rig.close());
  for (const host of ['h1', 'h2', 'away']) await rig.addHost(host);
  rig.coordinator.disconnect('away', 'gone');
  const payload = 'app: shop\ncomponents: {web: {rootfs: host, command: [x], ports: [{ name: http, host: 8080 }]}}';
  await rig.api.inject({ method: 'PUT', url: '/v1/apps/shop', headers: { 'content-type': 'text/yaml' }, payload });
  const ports = async () => (await rig.api.inject('/v1/apps/shop/components/web')).json<ComponentView>().ports;
  t.strictSame(await ports(), [{ name: 'http', host: 8080, missingOn: ['h1', 'h2'] }]);
  const { revision } = rig.coordinator.state;
  const web = { app: 'shop', component: 'web', host: 8080 };
  const listening = (...ports: ListeningPort[]) => ({ ...newsOf([]), revision, events: [], ports });
  rig.coordinator.report('h2', listening(web));
  rig.coordinator.report('h1', listening({ ...web, app: 'another' }));
  t.strictSame(await ports(), [{ name: 'http', host: 8080, missingOn: ['h1'] }]);
  rig.coordinator.report('h1', listening(web));
  t.strictSame(await ports(), [{ name: 'http', host: 8080, missingOn: [] }]);
});
