import t from 'tap';
import { changedKeys } from '../../coordinator/changed-keys.js';
import { applyManifest, componentsOf, EMPTY_CLUSTER, setTargets } from '../../coordinator/cluster.js';
import { differences } from '../../coordinator/persist.js';
import { parseManifest } from '../../protocol/manifest-parse.js';

const MANIFEST = `app: shop
components:
  web: { rootfs: host, command: [node, web.js], count: { min: 1, max: 9 } }
  cart: { rootfs: host, command: [node, cart.js], count: { min: 1, max: 9 } }
`;

function clusterOf(text: string) {
  const parsed = parseManifest(text, 'yaml');
  if (!parsed.ok) throw new Error(JSON.stringify(parsed.errors));
  return applyManifest(EMPTY_CLUSTER, parsed.manifest);
}

t.test('what is stored of new targets is the same whether they are known by their keys or compared', (t) => {
  const before = clusterOf(MANIFEST);
  const [first] = [...componentsOf(before)];
  if (first === undefined) throw new Error('no component');
  const { key, component } = first;
  const target = { count: 5, size: { cpu: component.size.cpu.max, memory: component.size.memory.max } };
  const after = setTargets(before, [{ key, component, target }]);
  const compared = { ...after, targets: { ...after.targets } };
  t.same(changedKeys(before.targets, after.targets), [key]);
  t.equal(changedKeys(before.targets, compared.targets), null);
  t.same(differences(before, after), differences(before, compared));
  // From another state than they were made from, all is compared.
  const later = setTargets(after, [{ key, component, target: { ...target, count: 6 } }]);
  t.equal(changedKeys(before.targets, later.targets), null);
  t.same(
    differences(before, later).map((each) => each.key),
    [`target/${key}`, 'meta'],
  );
  t.end();
});
