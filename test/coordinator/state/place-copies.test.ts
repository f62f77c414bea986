import t from 'tap';
import {
  type AppRecord,
  applyManifest,
  type ClusterState,
  deleteApp,
  EMPTY_CLUSTER,
  type ShardRecord,
  setCordon,
} from '../../../coordinator/cluster.js';
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
import { type Measured, NOTHING_MEASURED } from '../../../coordinator/traffic.js';
import { LIMITS } from '../../../protocol/limits.js';
import type { Manifest } from '../../../protocol/manifest.js';
import { parseManifest } from '../../../protocol/manifest-parse.js';
import type { CopyRecord, CopyReport } from '../../../protocol/state-copies.js';

const KEY = 'shop/cart';

function manifestOf(text: string): Manifest {
  const parsed = parseManifest(text, 'yaml');
  if (!parsed.ok) throw new Error(JSON.stringify(parsed.errors));
  return parsed.manifest;
}

/** Hosts that are connected, and a component with state shards, owned by an instance on each of the first two in turn. */
class Rack {
  state: ClusterState;
  readonly observed: Observed = startObserving(0);
  nowMs = 100_000;
  readonly #shards: number;
  readonly #components: readonly string[];

  constructor(
    replicas: number,
    hosts: readonly { name: string; labels?: Record<string, string>; boot?: string }[],
    shards = 2,
    components = ['cart'],
    snapshot = '',
  ) {
    this.#shards = shards;
    this.#components = components;
    const component = (name: string) => `  ${name}:
    rootfs: host
    command: [x]
    count: { min: 1, max: 2 }
    state: { mode: partitioned, shards: ${shards}, replicas: ${replicas}${snapshot} }
    place: { require: { disk: ssd } }
`;
    const manifest = `app: shop\ncomponents:\n${components.map(component).join('')}`;
    for (const { name, labels = { disk: 'ssd' }, boot = `boot-${name}` } of hosts) this.connect(name, labels, boot);
    this.state = this.owned(applyManifest(EMPTY_CLUSTER, manifestOf(manifest)), hosts[0]?.name, hosts[1]?.name);
  }

  owned(state: ClusterState, ...hosts: (string | undefined)[]): ClusterState {
    const instances: InstanceRecord[] = [];
    const shards: Record<string, ShardRecord> = {};
    for (const component of this.#components) {
      const own = hosts.map((host = '', i): InstanceRecord => {
        const of = { id: `shop-${component}-${i}`, app: 'shop', component, host };
        return { ...of, size: { cpu: 1, memory: 1 }, generation: 1 } as InstanceRecord;
      });
      instances.push(...own);
      const owners = Array.from({ length: this.#shards }, (_, shard) => own[shard % hosts.length]?.id ?? null);
      shards[`shop/${component}`] = { epoch: 1, owners, changedAtMs: 0 };
    }
    return { ...state, instances: tableOf(instances), shards };
  }

  /** `reports`: it says at once what it has. */
  connect(name: string, labels: Record<string, string> = { disk: 'ssd' }, boot = `boot-${name}`, reports = true): void {
    const info = { name, cores: 4, memoryBytes: 2 ** 33, kernel: '6', degraded: [], fabric: '127.0.0.1:1', labels };
    hostConnected(this.observed, boot === '' ? info : { ...info, boot }, this.nowMs);
    if (reports) takeReport(this.observed, name, 1, [], this.nowMs);
  }

  says(host: string, shard: number, report: Partial<CopyReport>, key = KEY): void {
    const whole = { epoch: 1, role: 'replica' as const, last: 0, synced: [], failing: [], ...report };
    this.observed.hosts.get(host)?.copies.set(`${key}/${shard}`, whole);
  }

  place(measured: Measured = NOTHING_MEASURED): { lost: number[] } {
    const { state, lost } = placeCopies(this.state, this.observed, this.nowMs, measured);
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
    t.same(rack.state.stateLost, { [KEY]: { total: 1, atMs: { 0: rack.nowMs } } }, 'with the record');
    t.same(rack.place().lost, [], 'once');
  },
);

t.test('a host that is lost may come back with a snapshot, until it is drained', async (t) => {
  const rack = new Rack(0, [{ name: 'a' }, { name: 'b' }], 2, ['cart'], ', snapshot: { every: 60s }');
  rack.place();
  hostDisconnected(rack.observed, 'a', rack.nowMs);
  rack.state = rack.owned(rack.state, 'b', 'b');
  rack.nowMs += 40_000;
  t.same(rack.place().lost, []);
  rack.nowMs += 500_000;
  t.same(rack.place().lost, []);
  t.match(rack.record(0), { phase: 'fencing', inSync: ['a'] });
  rack.state = setCordon(rack.state, 'a', { drain: true, sinceMs: rack.nowMs });
  t.same(rack.place().lost, [0]);
  t.match(rack.record(0), { phase: 'serving', owner: { host: 'b' } });
});

t.test('a shard that nobody can begin yet is not said to begin empty: a snapshot of it may come', async (t) => {
  const rack = new Rack(0, [{ name: 'a' }]);
  rack.place();
  hostDisconnected(rack.observed, 'a', rack.nowMs);
  rack.nowMs += 40_000;
  t.same(rack.place().lost, []);
  t.match(rack.record(0), { phase: 'lost' });
  t.same(rack.state.stateLost, {});
  rack.connect('b');
  rack.state = rack.owned(rack.state, 'b');
  t.same(rack.place().lost, [0]);
});

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

t.test('an app that is deleted and applied again begins after all epochs of its earlier life', async (t) => {
  for (const isSlow of [false, true]) {
    const rack = new Rack(0, [{ name: 'a' }, { name: 'b' }]);
    rack.place();
    const manifest = (rack.state.apps.shop as AppRecord).manifest;
    // An owner that was being passed on may have had the epoch after that of its record.
    const copies = { ...rack.state.copies, [`${KEY}/1`]: { ...(rack.record(1) as CopyRecord), epoch: 7 } };
    rack.state = deleteApp({ ...rack.state, copies }, 'shop');
    t.same(rack.state.copies, {}, 'at once, whoever looks when');
    if (isSlow) rack.place();
    rack.state = rack.owned(applyManifest(rack.state, manifest), 'a', 'b');
    rack.place();
    t.match(rack.record(0), { epoch: 9, bornAfter: 8, create: { a: 'boot-a' } });
    t.match(rack.record(1), { epoch: 9, bornAfter: 8, create: { b: 'boot-b' } });
  }
});

/** Plans and fills until nothing changes any more; answers how many fills were begun and the fewest whole copies on the way. */
function settle(rack: Rack, shards: number): { fills: number; fewest: number; mostAtOnce: number; rounds: number } {
  const seen = { fills: 0, fewest: Number.POSITIVE_INFINITY, mostAtOnce: 0, rounds: 0 };
  const begun = new Set<string>();
  for (; seen.rounds < 200; seen.rounds += 1) {
    const { state } = rack;
    rack.place();
    const filling = new Map<string, number>();
    for (let shard = 0; shard < shards; shard += 1) {
      const record = rack.record(shard);
      seen.fewest = Math.min(seen.fewest, record?.inSync.length ?? 0);
      for (const { host, since } of record?.joining ?? []) {
        begun.add(`${shard} ${host} ${since}`);
        filling.set(host, (filling.get(host) ?? 0) + 1);
      }
    }
    seen.mostAtOnce = Math.max(seen.mostAtOnce, ...filling.values());
    seen.fills = begun.size;
    if (rack.state === state) return seen;
    // Of the shards that are filled one after the other is whole, so that there is news while others are on their way.
    const next = Array.from({ length: shards }, (_, shard) => shard).findLast(
      (shard) => (rack.record(shard)?.joining.length ?? 0) > 0,
    );
    for (let shard = 0; shard < shards; shard += 1) {
      const record = rack.record(shard);
      const [synced = [], host = ''] = [shard === next ? record?.joining : [], record?.owner?.host];
      rack.says(host, shard, { epoch: record?.epoch ?? 0, role: 'owner', synced });
    }
  }
  return seen;
}

const SHARDS = 12;

function copiesAt(rack: Rack): Record<string, number> {
  const counts: Record<string, number> = {};
  for (let shard = 0; shard < SHARDS; shard += 1) {
    for (const host of rack.record(shard)?.inSync ?? []) counts[host] = (counts[host] ?? 0) + 1;
  }
  return counts;
}

t.test('replicas leave a drained host: first they are filled elsewhere, few at once', async (t) => {
  const rack = new Rack(1, [{ name: 'a' }, { name: 'c' }, { name: 'b' }], SHARDS);
  rack.place();
  const { b: before } = copiesAt(rack);
  t.ok((before ?? 0) > 2);
  rack.state = setCordon(rack.state, 'b', { drain: true, sinceMs: rack.nowMs });
  const { fills, fewest, mostAtOnce, rounds } = settle(rack, SHARDS);
  t.ok(rounds < 200, 'it comes to rest');
  t.same(copiesAt(rack), { a: 12, c: 12 });
  t.equal(fills, before, 'each is filled once');
  t.equal(fewest, 2, 'R + 1 whole copies all the time');
  t.ok(mostAtOnce <= 2);
});

t.test('a host that comes gets its part of the replicas, no more, and then nothing moves', async (t) => {
  const rack = new Rack(1, [{ name: 'a' }, { name: 'c' }, { name: 'b' }], SHARDS);
  rack.place();
  rack.connect('d');
  const { fills, fewest, mostAtOnce, rounds } = settle(rack, SHARDS);
  t.ok(rounds < 200, 'it comes to rest');
  t.same(copiesAt(rack), { a: 6, b: 6, c: 6, d: 6 });
  t.equal(fills, 6, 'each is filled once');
  t.equal(fewest, 2, 'R + 1 whole copies all the time');
  t.ok(mostAtOnce <= 2);
});

t.test('with two more of each shard, and two hosts that come at once, each fill is of use', async (t) => {
  const rack = new Rack(2, [{ name: 'a' }, { name: 'c' }, { name: 'b' }], SHARDS);
  rack.place();
  for (const host of ['d', 'e']) rack.connect(host);
  const { fills, fewest, rounds } = settle(rack, SHARDS);
  t.ok(rounds < 200, 'it comes to rest');
  const counts = Object.values(copiesAt(rack));
  t.ok(Math.max(...counts) - Math.min(...counts) < 2);
  t.equal(fills, (copiesAt(rack).d ?? 0) + (copiesAt(rack).e ?? 0), 'each is filled once');
  t.equal(fewest, 3, 'R + 1 whole copies all the time');
});

t.test('a copy on a drained host stays while nobody else can hold it', async (t) => {
  const rack = new Rack(1, [{ name: 'a' }, { name: 'b' }], SHARDS);
  rack.state = rack.owned(rack.state, 'a');
  rack.place();
  rack.state = setCordon(rack.state, 'b', { drain: true, sinceMs: rack.nowMs });
  t.equal(settle(rack, SHARDS).fewest, 2);
  rack.connect('c');
  t.equal(settle(rack, SHARDS).fewest, 2);
  t.same(copiesAt(rack), { a: 12, c: 12 });
});

/** Host → fills from it or to it. */
function fillsAt(rack: Rack): Map<string, string[]> {
  const fills = new Map<string, string[]>();
  for (const [name, { owner, joining }] of Object.entries(rack.state.copies)) {
    for (const { host } of joining) {
      for (const each of [owner?.host ?? '', host]) fills.set(each, [...(fills.get(each) ?? []), name]);
    }
  }
  return fills;
}

/** All that are being filled are whole, unless they are stuck, and the owners of all have spoken. */
function fill(rack: Rack, isStuck: (host: string) => boolean = () => false): void {
  for (const [name, { epoch, owner, joining }] of Object.entries(rack.state.copies)) {
    const [app, component, shard] = name.split('/');
    const synced = joining.filter(({ host }) => !isStuck(host));
    rack.says(owner?.host ?? '', Number(shard), { epoch, role: 'owner', synced }, `${app}/${component}`);
  }
}

/** A host with replicas of two components is away. */
function rackWithLoss(replicas: number, hosts: readonly string[], lost: string): Rack {
  const rack = new Rack(
    replicas,
    hosts.map((name) => ({ name })),
    SHARDS,
    ['cart', 'list'],
  );
  rack.place();
  hostDisconnected(rack.observed, lost, rack.nowMs);
  rack.nowMs += 5_000;
  for (const [name, { epoch, owner }] of Object.entries(rack.state.copies)) {
    const [app, component, shard] = name.split('/');
    rack.says(owner?.host ?? '', Number(shard), { epoch, role: 'owner', failing: [lost] }, `${app}/${component}`);
  }
  return rack;
}

t.test(
  'after a loss copies of all components are made anew a few at a time of each host, and at last all are',
  async (t) => {
    const rack = rackWithLoss(1, ['a', 'c', 'b', 'd'], 'b');
    const most: Record<string, number> = {};
    let rounds = 0;
    for (let before: ClusterState | null = null; before !== rack.state && rounds < 100; rounds += 1) {
      before = rack.state;
      rack.place();
      for (const [host, fills] of fillsAt(rack)) most[host] = Math.max(most[host] ?? 0, fills.length);
      fill(rack);
    }
    t.ok(rounds < 100, 'it comes to rest');
    t.equal(Object.keys(rack.state.copies).length, 2 * SHARDS);
    for (const { inSync } of Object.values(rack.state.copies)) {
      t.equal(inSync.length, 2);
      t.notOk(inSync.includes('b'));
    }
    t.equal(Math.max(...Object.values(most)), LIMITS.stateFillsPerHostMax);
  },
);

t.test('the shards with the fewest copies come first, then the hottest, of whichever component', async (t) => {
  const rack = rackWithLoss(2, ['a', 'b', 'c', 'd'], 'c');
  // Of some shards the other copy is gone as well.
  const bare = ['shop/cart/7', 'shop/list/9'];
  const copies = Object.fromEntries(
    Object.entries(rack.state.copies).map(([name, record]) => {
      const inSync = bare.includes(name) ? [record.owner?.host ?? ''] : record.inSync;
      return [name, { ...record, inSync }];
    }),
  );
  rack.state = { ...rack.state, copies };
  const heat = Array.from({ length: SHARDS }, (_, shard) => (shard === 3 ? 2 : 1));
  const view = { heat, calls: heat, resting: new Set<number>() };
  rack.place({ ...NOTHING_MEASURED, heatOf: (key) => (key === 'shop/list' ? view : null) });
  const begun = [...new Set([...fillsAt(rack).values()].flat())].sort();
  for (const name of bare) t.ok(begun.includes(name), name);
  t.ok(begun.includes('shop/list/3'), 'the hottest');
  t.ok(begun.length < 8);
});

t.test('a host that takes no copies holds up those of others for a minute at most', async (t) => {
  const rack = rackWithLoss(1, ['a', 'c', 'b', 'd'], 'b');
  const isStuck = (host: string) => host === 'd';
  const filled = () => Object.values(rack.state.copies).filter(({ inSync }) => inSync.length === 2).length;
  const settleStuck = () => {
    for (let rounds = 0, before: ClusterState | null = null; before !== rack.state && rounds < 100; rounds += 1) {
      before = rack.state;
      rack.place();
      fill(rack, isStuck);
    }
  };
  settleStuck();
  const stalled = filled();
  t.ok((fillsAt(rack).get('d')?.length ?? 0) > 0);
  let toD = 0;
  for (let minutes = 0; minutes < 20; minutes += 1) {
    toD = fillsAt(rack).get('d')?.length ?? 0;
    rack.nowMs += LIMITS.stateFillMsMax + 1;
    for (const host of ['a', 'c', 'd']) takeReport(rack.observed, host, 1, [], rack.nowMs);
    settleStuck();
    t.ok((fillsAt(rack).get('d')?.length ?? 0) - toD < LIMITS.stateFillsPerHostMax, 'few more at a time');
  }
  t.ok(filled() > stalled);
  const waiting = Object.values(rack.state.copies).filter(
    ({ inSync, joining }) => inSync.length < 2 && joining.length === 0,
  );
  t.same(waiting, [], 'all others are whole');
});

t.test(
  'a shard that nobody serves comes before those that lack copies, and waits for none where it is already',
  async (t) => {
    const rack = new Rack(1, [{ name: 'a' }, { name: 'b' }, { name: 'c' }, { name: 'd' }], SHARDS);
    rack.place();
    const [unserved, ready] = [
      [0, 2, 4],
      [1, 3, 5, 6, 7, 8],
    ];
    const owner = { host: 'c', instance: null };
    const copies = Object.fromEntries(
      Object.entries(rack.state.copies).map(([name, record], i) => {
        if (unserved.includes(i)) return [name, { ...record, owner, inSync: ['c', 'd'] }];
        if (ready.includes(i)) return [name, { ...record, owner, inSync: ['a', 'b', 'c'] }];
        return [name, { ...record, inSync: [record.owner?.host ?? ''] }];
      }),
    );
    rack.state = { ...rack.state, copies };
    rack.place();
    for (const shard of unserved) t.match(rack.record(shard)?.joining, [{ host: 'a' }], `${shard} is filled there`);
    for (const shard of ready) t.match(rack.record(shard), { phase: 'passing' });
  },
);
