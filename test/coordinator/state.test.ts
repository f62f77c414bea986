import t from 'tap';
import { StateOnHost } from '../../coordinator/state-on-host.js';
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
  t.same(host.work('a/b'), { reads: 6, writes: 2, refused: 0 });
  host.take({ 'a/b': [segment(0, { reads: 7, writes: 2, refused: 1 })] });
  t.same(host.work('a/b'), { reads: 8, writes: 2, refused: 1 }, 'a segment went');
  host.take({ 'a/b': [segment(0, { reads: 3 })] });
  t.same(host.work('a/b'), { reads: 11, writes: 2, refused: 1 }, 'a segment was made anew');
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
      segment(4, { entries: 1, liveBytes: 40, heldBytes: 65_536, reads: 1, writes: 1 }),
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
  };
  for (const [name, value] of Object.entries(expected))
    t.ok(body.includes(`shoal_state_${name}{app="shop",component="cart"} ${value}\n`), name);
  t.notMatch(body, /shoal_state_bytes{app="shop",component="web"}/, 'a component without state has no figures');
});
