import t from 'tap';
import { BuildClaims } from '../../coordinator/build-claims.js';
import { applyManifest, EMPTY_CLUSTER } from '../../coordinator/cluster.js';
import { type InstanceRecord, tableOf } from '../../coordinator/instance-table.js';
import { hostConnected, startObserving, takeNews, takeReport } from '../../coordinator/observed.js';
import { builtBy, seedsFor } from '../../coordinator/seeds.js';
import { newsOf } from '../../protocol/instance-news.js';
import type { BuildStatus, InstancePhase } from '../../protocol/link.js';
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

const BUILD = '0123456789abcdef';
const [FIRST, OTHER] = ['1', '2'].map((digit) => `sha256:${digit.repeat(64)}`) as [string, string];

/** Hosts that all have the app, by name: what each says of the build. */
function builders(said: Record<string, Partial<BuildStatus> | null>) {
  const source = { kind: 'build' as const, build: '/src' };
  const state = applyManifest(EMPTY_CLUSTER, { app: 'b', components: { web: component('x', { source }) } });
  const observed = startObserving(0);
  const says = (host: string, status: Partial<BuildStatus> | null) => {
    const build = { id: BUILD, app: 'b', component: 'web', revision: '', step: '', why: '', startedMs: 0 };
    const builds = status === null ? [] : [{ ...build, state: 'built' as const, ...status }];
    takeNews(observed, host, { ...newsOf([]), revision: 1, builds }, 0);
  };
  for (const [host, status] of Object.entries(said)) {
    const fabric = `${host}:7000`;
    hostConnected(observed, { name: host, cores: 1, memoryBytes: 1, kernel: '', degraded: [], fabric }, 0);
    says(host, status);
  }
  return { state, observed, says };
}

t.test('of what was built the image is told that was there first, and who has that one', (t) => {
  const { state, observed } = builders({
    h1: { image: OTHER, endedMs: 30 },
    h2: { image: FIRST, endedMs: 10 },
    h3: { image: FIRST, endedMs: 20 },
    h4: { state: 'building' },
    h5: { state: 'failed' },
    h6: {},
    h7: { image: FIRST, endedMs: 5, app: 'not-there' },
  });
  const built = builtBy(state, observed, BUILD, 'h4');
  t.equal(built?.manifest, FIRST);
  t.same(built?.hosts.map(({ host }) => host).sort(), ['h2', 'h3']);
  t.same(builtBy(state, observed, BUILD, 'h2')?.hosts, [{ host: 'h3', address: 'h3:7000' }], 'not the one that asks');
  t.equal(builtBy(state, observed, 'fedcba9876543210', 'h4'), null);
  for (const host of ['h2', 'h3']) (observed.hosts.get(host) as { connected: boolean }).connected = false;
  t.equal(builtBy(state, observed, BUILD, 'h4')?.manifest, OTHER, 'of those that can be reached');
  t.equal(builtBy(EMPTY_CLUSTER, observed, BUILD, 'h4'), null, 'of no app');
  t.end();
});

t.test('the first that asks builds, the others wait for it as long as it says that it does', (t) => {
  const { state, observed, says } = builders({ h1: null, h2: null, h3: null });
  const claims = new BuildClaims();
  const builder = (asking: string, nowMs: number) => claims.builderFor(BUILD, asking, state, observed, nowMs);
  t.equal(builder('h2', 0), null);
  t.equal(builder('h1', 1), 'h2');
  t.equal(builder('h2', 2), null, 'it may ask again');
  says('h1', { state: 'building' });
  says('h2', { state: 'building' });
  t.equal(builder('h1', 1_000_000), 'h2', 'however long it takes');
  t.equal(claims.builderFor('fedcba9876543210', 'h3', state, observed, 3), null, 'another build is another matter');
  says('h2', { state: 'failed' });
  t.equal(builder('h1', 1_000_001), null, 'it could not');
  t.equal(builder('h3', 1_000_002), 'h1');
  says('h1', null);
  t.equal(builder('h3', 1_005_000), 'h1', 'it has not said so yet');
  t.equal(builder('h3', 1_010_001), null, 'it has begun anew and forgotten');
  (observed.hosts.get('h3') as { connected: boolean }).connected = false;
  t.equal(builder('h2', 1_010_002), null, 'it is gone');
  t.end();
});
