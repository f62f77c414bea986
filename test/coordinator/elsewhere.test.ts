import assert from 'node:assert/strict';
import fc from 'fast-check';
import t from 'tap';
import {
  applyManifest,
  type ClusterState,
  desiredDiffers,
  desiredFor,
  EMPTY_CLUSTER,
} from '../../coordinator/cluster.js';
import { isTold } from '../../coordinator/elsewhere.js';
import { type InstanceRecord, tableOf } from '../../coordinator/instance-table.js';
import type { Manifest } from '../../protocol/manifest.js';
import { component } from '../agent/rig.js';

const HOSTS = ['h1', 'h2', 'h3'];
const manifest: Manifest = {
  app: 'a',
  components: {
    front: component('x', { calls: ['mid'] }),
    mid: component('x', { calls: ['back'] }),
    back: component('x'),
  },
};
const empty = applyManifest(EMPTY_CLUSTER, manifest);

/** `placed`: `<component> <host>`, in the order of the instances' numbers. */
function withInstances(placed: readonly string[]): ClusterState {
  const records = placed.map((each, number): InstanceRecord => {
    const [name = '', host = ''] = each.split(' ');
    const size = { cpu: 1, memory: 1 };
    const at = { generation: 1, createdAtMs: 0, createdRevision: 1 };
    return { id: `a-${name}-${number}`, app: 'a', component: name, host, size, ...at };
  });
  return { ...empty, instances: tableOf(records) };
}

t.test(
  'a host is told of others what its own call or are called by, where their agents are, and no more',
  async (t) => {
    const state = withInstances(['front h1', 'mid h2', 'back h3', 'front h2', 'mid h1']);
    const addressOf = (host: string) => (host === 'h2' ? '10.0.0.2:7000' : null);
    t.same(desiredFor(state, 'h1', addressOf).elsewhere, [
      {
        host: 'h2',
        address: '10.0.0.2:7000',
        instances: [
          { id: 'a-front-3', app: 'a', component: 'front' },
          { id: 'a-mid-1', app: 'a', component: 'mid' },
        ],
      },
      { host: 'h3', address: null, instances: [{ id: 'a-back-2', app: 'a', component: 'back' }] },
    ]);
    t.same(
      desiredFor(withInstances(['front h1', 'mid h2', 'back h3']), 'h1').elsewhere?.map(({ host }) => host),
      ['h2'],
      'front calls mid alone',
    );
    t.notOk('elsewhere' in desiredFor(withInstances(['front h1', 'mid h1', 'back h3', 'back h1']), 'h2'));
  },
);

t.test('who is told of whom is mutual, and every change of it is sent', async () => {
  const placed = fc.array(
    fc.tuple(fc.constantFrom('front', 'mid', 'back'), fc.constantFrom(...HOSTS)).map((pair) => pair.join(' ')),
    { maxLength: 8 },
  );
  fc.assert(
    fc.property(placed, placed, (first, second) => {
      const [before, after] = [withInstances(first), withInstances(second)];
      for (const host of HOSTS) {
        const told = desiredFor(after, host).elsewhere ?? [];
        for (const other of HOSTS.filter((each) => each !== host)) {
          const isNamed = told.some((each) => each.host === other);
          assert.equal(isTold(after, host, other), isNamed);
          assert.equal(isTold(after, other, host), isNamed);
        }
        const same =
          JSON.stringify(desiredFor(before, host).elsewhere) === JSON.stringify(told.length ? told : undefined);
        if (!same) assert.ok(desiredDiffers(before, after, host));
      }
    }),
    { numRuns: 300 },
  );
});
