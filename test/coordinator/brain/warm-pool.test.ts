import fc from 'fast-check';
import t from 'tap';
import { poolSize, warmOn } from '../../../coordinator/brain/warm-pool.js';
import { applyManifest, desiredDiffers, desiredFor, EMPTY_CLUSTER, setTargets } from '../../../coordinator/cluster.js';
import { parseManifest } from '../../../protocol/manifest-parse.js';
import { CoordinatorRig } from '../rig.js';

function manifest(warm: number | string, max: number) {
  const text = `app: shop
components:
  web: { rootfs: host, command: [x], warm: ${warm}, count: { min: 0, max: ${max} }, ports: [{ name: http, host: 8080 }] }
  other: { rootfs: host, command: [x] }
`;
  const parsed = parseManifest(text, 'yaml');
  if (!parsed.ok) throw new Error(JSON.stringify(parsed.errors));
  return parsed.manifest;
}

t.test('so many wait as the manifest allows and as may still become instances, of the smallest size', async (t) => {
  const { components } = manifest(3, 5);
  const size = { cpu: 0.1, memory: 64 * 2 ** 20 };
  const of = (count: number) => [{ app: 'shop', component: 'web', count, size }];
  t.same(warmOn('shop', components, new Map()), of(3));
  t.same(warmOn('shop', components, new Map([['web', 4]])), of(1));
  t.same(warmOn('shop', components, new Map([['web', 5]])), []);
  t.same(warmOn('shop', components, new Map([['web', 9]])), [], 'some may still be draining');
});

t.test('a host is told of them, also of a component without an instance; without any nothing is said', async (t) => {
  const state = applyManifest(EMPTY_CLUSTER, manifest(2, 5));
  t.match(desiredFor(state, 'h1').warm, [{ component: 'web', count: 2 }]);
  t.notOk('warm' in desiredFor(applyManifest(EMPTY_CLUSTER, manifest(0, 5)), 'h1'));
});

t.test('a pool has one to spare, and as many more as what is foreseen needs beyond the plan', async (t) => {
  const calm = { count: 2, cpu: 0.5, utilisation: 0.6 };
  t.equal(poolSize({ ...calm, highestCpu: 0.6 }), 1, 'nothing more is foreseen');
  t.equal(poolSize({ ...calm, highestCpu: 0.2 }), 1, 'less is');
  t.equal(poolSize({ ...calm, highestCpu: 1.5 }), 4, '0.3 cores each: five, of which two are planned');
  t.equal(poolSize({ ...calm, count: 0, highestCpu: 0 }), 1, 'for the first call');
  const amount = fc.double({ min: 0, max: 100, noNaN: true });
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 50 }), amount, amount, (count, highestCpu, more) => {
      const need = { count, cpu: 0.5, utilisation: 0.7 };
      const size = poolSize({ ...need, highestCpu });
      return size >= 1 && size <= poolSize({ ...need, highestCpu: highestCpu + more });
    }),
  );
});

t.test('a host is told as many as are needed, within the range of the manifest', async (t) => {
  const { components } = manifest('{ min: 1, max: 6 }', 20);
  t.match(components.web, { warm: 6, warmMin: 1 });
  t.match(
    warmOn('shop', components, new Map(), () => 4),
    [{ count: 4 }],
  );
  t.match(
    warmOn('shop', components, new Map(), () => 9),
    [{ count: 6 }],
  );
  const state = applyManifest(EMPTY_CLUSTER, manifest('{ min: 1, max: 6 }', 20));
  const component = state.apps.shop?.manifest.components.web;
  if (component === undefined) throw new Error('there is no web');
  const size = { cpu: 0.5, memory: 2 ** 27 };
  const grown = setTargets(state, [{ key: 'shop/web', component, target: { count: 1, size, warm: 3 } }]);
  t.match(desiredFor(grown, 'h1').warm, [{ count: 3 }]);
  const more = setTargets(grown, [{ key: 'shop/web', component, target: { count: 1, size, warm: 99 } }]);
  t.match(desiredFor(more, 'h1').warm, [{ count: 6 }]);
  t.ok(desiredDiffers(grown, more, 'h1'), 'its host is told');
  t.notOk(desiredDiffers(more, setTargets(more, []), 'h1'));
});

t.test('the pool is as big as what the forecast sees coming needs, while demand itself rests', async (t) => {
  const rig = await CoordinatorRig.make();
  t.teardown(() => rig.close());
  await rig.addHost('h1');
  const app = `app: shop
components:
  web:
    { rootfs: host, command: [x], warm: { min: 1, max: 8 }, count: { min: 1, max: 20 }, size: { cpu: 0.5 }, season: 40s }
`;
  const headers = { 'content-type': 'application/yaml' };
  const put = await rig.api.inject({ method: 'PUT', url: '/v1/apps/shop', payload: app, headers });
  t.equal(put.statusCode, 200, put.body);
  const waiting = () => desiredFor(rig.coordinator.state, 'h1').warm?.[0]?.count ?? 0;
  for (let i = 0; i < 25; i += 1) await rig.second('h1', { 'shop/web': 0.1 });
  t.equal(waiting(), 1, 'nothing is known to come');
  for (let i = 25; i < 150; i += 1) await rig.second('h1', { 'shop/web': i % 40 < 30 ? 0.1 : 2 });
  t.ok(waiting() > 1, `${waiting()} wait for what comes each 40 s`);
});
