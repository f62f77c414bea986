import t from 'tap';
import { applyManifest, EMPTY_CLUSTER } from '../../coordinator/cluster.js';
import { type InstanceRecord, tableOf } from '../../coordinator/instance-table.js';
import { hostConnected, startObserving, takeReport } from '../../coordinator/observed.js';
import { seedsFor } from '../../coordinator/seeds.js';
import type { InstancePhase } from '../../protocol/link.js';
import { component } from '../agent/rig.js';

const IMAGE = 'registry.example/image:1';
const SIZE = { cpu: 1, memory: 1 };
const manifest = {
  app: 'a',
  components: {
    web: component('x', { source: { kind: 'image', image: IMAGE } }),
    job: component('x', { source: { kind: 'image', image: 'registry.example/image:2' } }),
  },
};

/** `placed`: `<component> <host> <phase>`; a host whose name is in capitals takes no other hosts. */
function cluster(...placed: string[]) {
  const observed = startObserving(0);
  const records = placed.map((each, number): InstanceRecord => {
    const [name = '', host = ''] = each.split(' ');
    const at = { generation: 1, createdAtMs: 0, createdRevision: 1 };
    return { id: `a-${name}-${number}`, app: 'a', component: name, host, size: SIZE, ...at };
  });
  for (const host of new Set(records.map((each) => each.host))) {
    const fabric = host === host.toLowerCase() ? { fabric: `${host}:7000` } : {};
    hostConnected(observed, { name: host, cores: 1, memoryBytes: 1, kernel: '', degraded: [], ...fabric }, 0);
    const statuses = records.flatMap((record, number) => {
      const phase = (placed[number] ?? '').split(' ')[2] as InstancePhase;
      const { id, app, component } = record;
      return record.host === host ? [{ id, app, component, phase, size: SIZE, restarts: 0, shards: [] }] : [];
    });
    takeReport(observed, host, 1, statuses, 0);
  }
  return { state: { ...applyManifest(EMPTY_CLUSTER, manifest), instances: tableOf(records) }, observed };
}

t.test('hosts that have something of the image made, can be reached and are not the one that asks', async (t) => {
  const { state, observed } = cluster(
    'web h1 ready',
    'web h2 starting',
    'web h3 backoff',
    'job h4 ready',
    'web H5 ready',
    'web h6 draining',
    'web h6 ready',
  );
  const hosts = (asking: string) => seedsFor(state, observed, IMAGE, asking).map(({ host }) => host);
  t.same(hosts('h9').sort(), ['h1', 'h6']);
  t.same(hosts('h1'), ['h6']);
  t.same(seedsFor(state, observed, IMAGE, 'h6'), [{ host: 'h1', address: 'h1:7000' }]);
  t.same(seedsFor(state, observed, 'registry.example/image:3', 'h9'), []);
  const away = observed.hosts.get('h1');
  if (away !== undefined) away.connected = false;
  t.same(hosts('h9'), ['h6']);
});

t.test('hosts that ask are given few, and not all the same first', async (t) => {
  const { state, observed } = cluster(...Array.from({ length: 50 }, (_, i) => `web h${i} ready`));
  const firsts = new Set<string>();
  for (let asking = 0; asking < 100; asking += 1) {
    const seeds = seedsFor(state, observed, IMAGE, `new-${asking}`);
    t.equal(seeds.length, 3);
    firsts.add(seeds[0]?.host ?? '');
  }
  t.ok(firsts.size > 25, `${firsts.size} of 50 are asked first by 100`);
});
