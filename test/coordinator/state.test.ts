import t from 'tap';
import { CachesOnHost, sumOfCaches } from '../../coordinator/caches-on-host.js';
import { StateOnHost } from '../../coordinator/state-on-host.js';
import type { CacheFigures } from '../../protocol/cache-figures.js';
import { newsOf } from '../../protocol/instance-news.js';
import type { InstanceStatus } from '../../protocol/link.js';
import type { SegmentFigures } from '../../protocol/state-figures.js';
import { CoordinatorRig, MANIFEST } from './rig.js';

function segment(shard: number, more: Partial<SegmentFigures> = {}): SegmentFigures {
  return { shard, entries: 0, liveBytes: 0, heldBytes: 0, reads: 0, writes: 0, refused: 0, ...more };
}

t.test('what was done with state only rises, whatever becomes of its segments', async (t) => {
  const host = new StateOnHost();
  host.take({ 'a/b': [segment(0, { reads: 5, writes: 2 }), segment(1, { reads: 1 })] });
  t.same(host.work('a/b'), { reads: 6, writes: 2, refused: 0, copyReads: 0 });
  host.take({ 'a/b': [segment(0, { reads: 7, writes: 2, refused: 1 })] });
  t.same(host.work('a/b'), { reads: 8, writes: 2, refused: 1, copyReads: 0 }, 'a segment went');
  host.take({ 'a/b': [segment(0, { reads: 3 })] });
  t.same(host.work('a/b'), { reads: 11, writes: 2, refused: 1, copyReads: 0 }, 'a segment was made anew');
  host.take({ 'c/d': [segment(0)] });
  t.equal(host.work('a/b')?.reads, 11, 'silence says nothing new');
  host.take({ 'a/b': [] });
  t.equal(host.work('a/b'), undefined, 'the component is gone');
  t.equal(host.segment('a/b', 0), undefined);
});

t.test('shards say what they hold and where they are on their way to; /metrics has the sums', async (t) => {
  const rig = await CoordinatorRig.make();
  t.teardown(() => rig.close());
  await rig.addHost('h1');
  const headers = { 'content-type': 'application/yaml' };
  await rig.api.inject({ method: 'PUT', url: '/v1/apps/shop', headers, payload: MANIFEST });
  await rig.coordinator.tick();
  const path = '/v1/apps/shop/components/cart';
  const before = (await rig.api.inject(path)).json();
  t.same(
    [before.shards[3].holds, before.shards[3].move],
    [null, { kind: 'instance', from: null, to: ['shop-cart-0'] }],
  );

  const shards = Array.from({ length: 63 }, (_, i) => i);
  const cart: InstanceStatus = {
    id: 'shop-cart-0',
    app: 'shop',
    component: 'cart',
    phase: 'ready',
    size: { cpu: 1, memory: 2 ** 28 },
    restarts: 0,
    shards,
  };
  const state = {
    'shop/cart': [
      segment(3, { entries: 2, liveBytes: 80, heldBytes: 65_536, reads: 9, writes: 4, refused: 1 }),
      segment(4, { entries: 1, liveBytes: 40, heldBytes: 65_536, reads: 1, writes: 1, copyReads: 7 }),
    ],
  };
  rig.coordinator.report('h1', { ...newsOf([cart]), revision: 1, events: [], state });
  const view = (await rig.api.inject(path)).json();
  t.same(view.shards[3].holds, {
    host: 'h1',
    entries: 2,
    liveBytes: 80,
    heldBytes: 65_536,
    reads: 9,
    writes: 4,
    refused: 1,
  });
  t.equal(view.shards[3].move, null);
  t.same(view.shards[63].move, { kind: 'instance', from: null, to: ['shop-cart-0'] });
  const { body } = await rig.api.inject('/metrics');
  const expected = {
    bytes: 120,
    held_bytes: 131_072,
    entries: 3,
    shards_moving: 1,
    reads_total: 10,
    writes_total: 5,
    refused_total: 1,
    copy_reads_total: 7,
  };
  for (const [name, value] of Object.entries(expected))
    t.ok(body.includes(`shoal_state_${name}{app="shop",component="cart"} ${value}\n`), name);
  t.notMatch(body, /shoal_state_bytes{app="shop",component="web"}/, 'a component without state has no figures');
});

function cache(more: Partial<CacheFigures>): CacheFigures {
  const totals = { hits: 0, misses: 0, nearHits: 0, writes: 0, failed: 0, answerMs: 0 };
  return { ...totals, slowestMs: 0, waiting: 0, connections: 1, clients: 1, ...more };
}

t.test('what was done with a cache only rises, and what is so now is as it was said last', async (t) => {
  const host = new CachesOnHost();
  host.take({ 'a/b': cache({ hits: 5, answerMs: 10, slowestMs: 4, waiting: 3 }) });
  host.take({ 'a/b': cache({ hits: 7, answerMs: 12, slowestMs: 1 }) });
  t.match(host.of('a/b'), { hits: 7, answerMs: 12, slowestMs: 1, waiting: 0 });
  host.take({ 'a/b': cache({ hits: 2, answerMs: 1 }), 'c/d': cache({}) });
  t.match(host.of('a/b'), { hits: 9, answerMs: 13 }, 'another agent counts from 0');
  const other = cache({ hits: 1, slowestMs: 8, connections: 2 });
  const sum = sumOfCaches([host.of('a/b') as CacheFigures, other]);
  t.match(sum, { hits: 10, slowestMs: 8, connections: 3, clients: 2 });
  host.take({ 'c/d': cache({}) });
  t.equal(host.of('a/b'), undefined, 'no instance of it is there any more');
  t.equal(sumOfCaches([]), null);
});

t.test('/metrics has how many shards have fewer copies than are wanted', async (t) => {
  const rig = await CoordinatorRig.make();
  t.teardown(() => rig.close());
  await rig.addHost('h1');
  const component = { rootfs: 'host', command: ['true'], count: 1, size: { cpu: 1 } };
  const state = (replicas: number) => ({ mode: 'partitioned', shards: 8, replicas });
  const components = { one: { ...component, state: state(0) }, two: { ...component, state: state(1) } };
  const headers = { 'content-type': 'application/json' };
  const payload = JSON.stringify({ app: 'a', components });
  t.equal((await rig.api.inject({ method: 'PUT', url: '/v1/apps/a', headers, payload })).statusCode, 200);
  await rig.coordinator.tick();
  const { body } = await rig.api.inject('/metrics');
  t.match(body, 'shoal_state_shards_short{app="a",component="one"} 0');
  t.match(body, 'shoal_state_shards_short{app="a",component="two"} 8', 'there is no second host');
});

t.test('shards that were lost are known to the next coordinator, until the component goes', async (t) => {
  const rig = await CoordinatorRig.make();
  t.teardown(() => rig.close());
  const headers = { 'content-type': 'application/json' };
  const component = { rootfs: 'host', command: ['true'], count: 1, size: { cpu: 1 } };
  const components = { one: { ...component, state: { mode: 'partitioned', shards: 2 } } };
  const payload = JSON.stringify({ app: 'a', components });
  const apply = () => rig.api.inject({ method: 'PUT', url: '/v1/apps/a', headers, payload });
  const lostAtMs = async (): Promise<(number | null)[]> => {
    const { shards } = (await rig.api.inject('/v1/apps/a/components/one')).json();
    return shards.map((each: { lostAtMs: number | null }) => each.lostAtMs);
  };
  const total = async () =>
    /shoal_state_lost_total{app="a",component="one"} (\d+)/.exec((await rig.api.inject('/metrics')).body)?.[1];
  const burn = async (host: string, next: string) => {
    rig.coordinator.disconnect(host, 'it burns');
    rig.nowMs += 60_000;
    await rig.coordinator.tick();
    await rig.addHost(next, { boot: `boot-${next}` });
    await rig.coordinator.tick();
    await rig.coordinator.tick();
  };
  await rig.addHost('h1', { boot: 'boot-h1' });
  t.equal((await apply()).statusCode, 200);
  await rig.coordinator.tick();
  t.same([await lostAtMs(), await total()], [[null, null], '0'], 'a shard that is new is not lost');
  await burn('h1', 'h2');
  const atMs = rig.nowMs;
  t.same([await lostAtMs(), await total()], [[atMs, atMs], '2']);
  await rig.restart('killed');
  t.same([await lostAtMs(), await total()], [[atMs, atMs], '2'], 'whatever became of the event');
  await rig.addHost('h2', { boot: 'boot-h2' });
  await rig.coordinator.tick();
  await burn('h2', 'h3');
  t.same([await lostAtMs(), await total()], [[rig.nowMs, rig.nowMs], '4']);
  t.equal((await rig.api.inject({ method: 'DELETE', url: '/v1/apps/a' })).statusCode, 200);
  t.equal((await apply()).statusCode, 200);
  await rig.restart('killed');
  t.same([await lostAtMs(), await total()], [[null, null], '0'], 'another component');
});

t.test('a component says what its instances do with its cache; /metrics has it', async (t) => {
  const rig = await CoordinatorRig.make();
  t.teardown(() => rig.close());
  await rig.addHost('h1');
  const headers = { 'content-type': 'application/yaml' };
  await rig.api.inject({ method: 'PUT', url: '/v1/apps/shop', headers, payload: MANIFEST });
  const said = cache({
    hits: 4,
    misses: 2,
    nearHits: 9,
    writes: 3,
    failed: 1,
    answerMs: 1_500,
    slowestMs: 250,
    waiting: 5,
  });
  rig.coordinator.report('h1', { ...newsOf([]), revision: 1, events: [], caches: { 'shop/web': said } });
  t.same((await rig.api.inject('/v1/apps/shop/components/web')).json().cache, said);
  rig.coordinator.report('h1', { ...newsOf([]), revision: 1, events: [] });
  const { body } = await rig.api.inject('/metrics');
  const of = 'app="shop",component="web"';
  for (const line of [
    `cache_reads_total{${of},found="cache"} 4`,
    `cache_reads_total{${of},found="nowhere"} 2`,
    `cache_reads_total{${of},found="near"} 9`,
    `cache_writes_total{${of}} 3`,
    `cache_failed_total{${of}} 1`,
    `cache_answer_seconds_total{${of}} 1.5`,
    `cache_answer_slowest_seconds{${of}} 0.25`,
    `cache_requests_waiting{${of}} 5`,
    `cache_connections{${of}} 1`,
    `cache_clients{${of}} 1`,
  ]) {
    t.ok(body.includes(`shoal_${line}\n`), line);
  }
  t.equal((await rig.api.inject('/v1/apps/shop/components/cart')).json().cache, null);
});

t.test('/metrics has whether copies go by RDMA, and the bytes that did', async (t) => {
  const rig = await CoordinatorRig.make();
  t.teardown(() => rig.close());
  await rig.addHost('h1');
  const connection = (host: string) => ({ host, carrier: 'verbs' as const, reason: 'a card', channels: 1 });
  const connections = [
    { ...connection('h2'), copies: { by: 'rdma' as const, reason: 'a card', rdmaBytes: 77 } },
    { ...connection('h3'), copies: { by: 'link' as const, reason: 'no channel yet', rdmaBytes: 5 } },
    // An agent of before.
    connection('h4'),
  ];
  rig.coordinator.report('h1', { ...newsOf([]), revision: 1, events: [], connections });
  const { body } = await rig.api.inject('/metrics');
  for (const [other, by, bytes] of [
    ['h2', 1, 77],
    ['h3', 0, 5],
  ]) {
    t.ok(body.includes(`shoal_state_copies_by_rdma{host="h1",other="${other}"} ${by}\n`), `${other}: by`);
    t.ok(body.includes(`shoal_state_rdma_bytes_total{host="h1",other="${other}"} ${bytes}\n`), `${other}: bytes`);
  }
  t.notMatch(body, /shoal_state_.*other="h4"/, 'of which it is not known');
});
