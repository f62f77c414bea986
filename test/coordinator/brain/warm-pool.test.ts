import t from 'tap';
import { warmOn } from '../../../coordinator/brain/warm-pool.js';
import { applyManifest, desiredFor, EMPTY_CLUSTER } from '../../../coordinator/cluster.js';
import { parseManifest } from '../../../protocol/manifest-parse.js';

function manifest(warm: number, max: number) {
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
