import t from 'tap';
import { applyManifest, type ClusterState, EMPTY_CLUSTER } from '../../../coordinator/cluster.js';
import { copiesOn } from '../../../coordinator/copies-on.js';
import { elsewhereFor } from '../../../coordinator/elsewhere.js';
import { type InstanceRecord, tableOf } from '../../../coordinator/instance-table.js';
import {
  hostConnected,
  hostDisconnected,
  type Observed,
  startObserving,
  takeReport,
} from '../../../coordinator/observed.js';
import { placeCopies } from '../../../coordinator/state/place-copies.js';
import { NOTHING_MEASURED } from '../../../coordinator/traffic.js';
import type { Manifest } from '../../../protocol/manifest.js';
import { parseManifest } from '../../../protocol/manifest-parse.js';
import type { CopyReport } from '../../../protocol/state-copies.js';

const KEY = 'shop/cart';

function manifestOf(text: string): Manifest {
  const parsed = parseManifest(text, 'yaml');
  if (!parsed.ok) throw new Error(JSON.stringify(parsed.errors));
  return parsed.manifest;
}

/** Hosts that are connected, and a component with two state shards, one on each of the first two. */
class Rack {
  state: ClusterState;
  readonly observed: Observed = startObserving(0);
  nowMs = 100_000;

  constructor(replicas: number, hosts: readonly { name: string; labels?: Record<string, string>; boot?: string }[]) {
    const manifest = `app: shop
components:
  cart:
    rootfs: host
    command: [x]
    count: { min: 1, max: 2 }
    state: { mode: partitioned, shards: 2, replicas: ${replicas} }
    place: { require: { disk: ssd } }
`;
    for (const { name, labels = { disk: 'ssd' }, boot = `boot-${name}` } of hosts) this.connect(name, labels, boot);
    this.state = this.owned(applyManifest(EMPTY_CLUSTER, manifestOf(manifest)), hosts[0]?.name, hosts[1]?.name);
  }

  owned(state: ClusterState, ...hosts: (string | undefined)[]): ClusterState {
    const instances = hosts.map((host = '', i): InstanceRecord => {
      const of = { id: `shop-cart-${i}`, app: 'shop', component: 'cart', host };
      return { ...of, size: { cpu: 1, memory: 1 }, generation: 1 } as InstanceRecord;
    });
    const owners = instances.map(({ id }) => id);
    return { ...state, instances: tableOf(instances), shards: { [KEY]: { epoch: 1, owners, changedAtMs: 0 } } };
  }

  /** `reports`: it says at once what it has. */
  connect(name: string, labels: Record<string, string> = { disk: 'ssd' }, boot = `boot-${name}`, reports = true): void {
    const info = { name, cores: 4, memoryBytes: 2 ** 33, kernel: '6', degraded: [], fabric: '127.0.0.1:1', labels };
    hostConnected(this.observed, boot === '' ? info : { ...info, boot }, this.nowMs);
    if (reports) takeReport(this.observed, name, 1, [], this.nowMs);
  }

  says(host: string, shard: number, report: Partial<CopyReport>): void {
    const whole = { epoch: 1, role: 'replica' as const, last: 0, synced: [], failing: [], ...report };
    this.observed.hosts.get(host)?.copies.set(`${KEY}/${shard}`, whole);
  }

  place(): { lost: number[] } {
    const { state, lost } = placeCopies(this.state, this.observed, this.nowMs, NOTHING_MEASURED);
    this.state = state;
    return { lost: lost.flatMap(({ shards }) => shards) };
  }

  record(shard: number) {
    return this.state.copies[`${KEY}/${shard}`];
  }
}

t.test('new shards begin on the hosts of their owners, and hosts of an earlier version get no records', async (t) => {
  const rack = new Rack(0, [{ name: 'a' }, { name: 'b' }]);
  rack.place();
  t.match(rack.record(0), { epoch: 1, phase: 'serving', owner: { host: 'a', instance: 'shop-cart-0' }, inSync: ['a'] });
  t.match(rack.record(1), { owner: { host: 'b' }, inSync: ['b'], create: { b: 'boot-b' } });
  const { state } = rack;
  rack.place();
  t.equal(rack.state, state, 'and that is all');
  const older = new Rack(0, [
    { name: 'a', boot: '' },
    { name: 'b', boot: '' },
  ]);
  older.place();
  t.same(older.state.copies, {});
});

t.test('replicas are on other hosts that the component may be on, and both hosts are told of each other', async (t) => {
  const rack = new Rack(1, [{ name: 'a' }, { name: 'b' }, { name: 'c', labels: {} }]);
  rack.place();
  t.same(rack.record(0)?.inSync, ['a', 'b']);
  t.same(Object.keys(copiesOn(rack.state, 'b')), [`${KEY}/0`, `${KEY}/1`]);
  t.same(copiesOn(rack.state, 'c'), {});
  t.match(
    elsewhereFor(rack.state, 'a', () => 'b:1'),
    [{ host: 'b', address: 'b:1' }],
  );
});

t.test('an owner that moves to another host: its shard is filled there first', async (t) => {
  const rack = new Rack(0, [{ name: 'a' }, { name: 'b' }]);
  rack.place();
  rack.state = rack.owned(rack.state, 'b', 'b');
  rack.place();
  t.match(rack.record(0), { phase: 'serving', owner: { host: 'a' }, joining: [{ host: 'b' }] });
});

t.test(
  'the only host of a shard is waited for until it is lost; then the shard begins empty, and that is said',
  async (t) => {
    const rack = new Rack(0, [{ name: 'a' }, { name: 'b' }]);
    rack.place();
    hostDisconnected(rack.observed, 'a', rack.nowMs);
    rack.nowMs += 20_000;
    t.same(rack.place().lost, []);
    t.match(rack.record(0), { phase: 'serving', owner: { host: 'a' } });
    rack.nowMs += 20_000;
    rack.state = rack.owned(rack.state, 'b', 'b');
    t.same(rack.place().lost, [0]);
    t.match(rack.record(0), { phase: 'serving', owner: { host: 'b' }, create: { b: 'boot-b' } });
  },
);

t.test('where there is a replica, its host takes over when the owner is away for a few seconds', async (t) => {
  const rack = new Rack(1, [{ name: 'a' }, { name: 'b' }]);
  rack.place();
  hostDisconnected(rack.observed, 'a', rack.nowMs);
  rack.nowMs += 2_000;
  rack.place();
  t.match(rack.record(0), { phase: 'serving' }, 'not at once');
  rack.nowMs += 2_000;
  rack.place();
  const fencing = rack.record(0);
  t.match(fencing, { phase: 'fencing' });
  rack.says('b', 0, { epoch: fencing?.epoch ?? 0 });
  rack.place();
  t.match(rack.record(0), { phase: 'serving', owner: { host: 'b', instance: 'shop-cart-1' }, inSync: ['b'] });
});

t.test('a replica whose agent has come back, and has not yet said what it has, is not let go of', async (t) => {
  const rack = new Rack(1, [{ name: 'a' }, { name: 'b' }]);
  rack.place();
  t.same(rack.record(0)?.inSync, ['a', 'b']);
  // Both were away for a moment: a, with the owner, has burnt, and nobody knows yet.
  for (const host of ['a', 'b']) hostDisconnected(rack.observed, host, rack.nowMs);
  rack.nowMs += 500;
  rack.place();
  rack.connect('b', undefined, undefined, false);
  rack.place();
  t.same(rack.record(0)?.inSync, ['a', 'b']);
  rack.nowMs += 10_000;
  rack.connect('b');
  rack.place();
  t.match(rack.record(0), { phase: 'fencing', inSync: ['a', 'b'] });
});

t.test('records go with their component', async (t) => {
  const rack = new Rack(0, [{ name: 'a' }, { name: 'b' }]);
  rack.place();
  rack.state = { ...rack.state, apps: {} };
  rack.place();
  t.same(rack.state.copies, {});
});
