import t from 'tap';
import { place } from '../../coordinator/brain/placement.js';
import { assignShards } from '../../coordinator/brain/shards.js';
import { applyManifest, type ClusterState, EMPTY_CLUSTER, type InstanceRecord } from '../../coordinator/cluster.js';
import { hostConnected, startObserving, takeReport } from '../../coordinator/observed.js';
import { reconcile } from '../../coordinator/reconcile.js';
import { FILL_SHARE_MAX } from '../../coordinator/shard-maps.js';
import { shiftWeights } from '../../coordinator/shift-weights.js';
import { Traffic } from '../../coordinator/traffic.js';
import { LATENCY_BUCKETS, type ShardHeat } from '../../protocol/control.js';
import type { InstanceStatus, Sample } from '../../protocol/link.js';
import type { Manifest } from '../../protocol/manifest.js';
import { parseManifest } from '../../protocol/manifest-parse.js';

const MANIFEST = `app: shop
components:
  web:
    rootfs: host
    command: [node, main.js]
    calls: [cart, mail, stock]
    count: { min: 3, max: 9 }
  cart:
    rootfs: host
    command: [node, cart.js]
    state: {mode: partitioned, shards: 64}
    count: { min: 4, max: 8 }
  mail: { rootfs: host, command: [node, mail.js] }
  stock: { rootfs: host, command: [node, stock.js] }
`;
function manifestOf(text: string): Manifest {
  const parsed = parseManifest(text, 'yaml');
  if (!parsed.ok) throw new Error(JSON.stringify(parsed.errors));
  return parsed.manifest;
}

const BRAIN = { place, assignShards };
const HOST = { name: 'h', cores: 64, memoryBytes: 2 ** 38, kernel: '6', degraded: [] };
const CALLS_PER_SECOND = 100;

const SHARDS = 64;

/** One host whose agent does at once what it is told; how hot shards are and how slow instances is up to the test. */
class World {
  nowMs = 1_800_000_000_000;
  readonly traffic = new Traffic();
  readonly #observed = startObserving(this.nowMs);
  readonly #samples = new Map<string, Sample>();
  state: ClusterState;
  /** Cores of each state shard of cart. */
  heat: number[] = Array.from({ length: SHARDS }, () => 0.01);
  /** Ms a call takes at an instance of web. */
  latencyOf: (id: string) => number = () => 10;
  /** Calls/s that each instance of web makes. */
  called: Record<string, number> = { cart: 75, mail: 25 };
  readonly kinds: string[] = [];

  constructor(manifest = MANIFEST) {
    this.state = applyManifest(EMPTY_CLUSTER, manifestOf(manifest));
    hostConnected(this.#observed, HOST, this.nowMs);
    takeReport(this.#observed, HOST.name, 0, [], this.nowMs);
    this.#reconcile();
  }

  instances(component: string): readonly InstanceRecord[] {
    return this.state.instances.byComponent.get(`shop/${component}`) ?? [];
  }

  owners(): readonly (string | null)[] {
    return this.state.shards['shop/cart']?.owners ?? [];
  }

  /** Cores of each owner, the hottest first. */
  loads(): number[] {
    const load = (id: string) => this.heat.reduce((sum, heat, i) => sum + (this.owners()[i] === id ? heat : 0), 0);
    return this.instances('cart')
      .map(({ id }) => load(id))
      .sort((a, b) => b - a);
  }

  seconds(count: number): void {
    for (let i = 0; i < count; i += 1) this.#second();
  }

  /** Another count for a component. */
  scale(component: string, count: number): void {
    this.state = { ...this.state, overrides: { ...this.state.overrides, [`shop/${component}`]: count } };
  }

  #second(): void {
    this.nowMs += 1_000;
    const statuses = (this.state.instances.byHost.get(HOST.name) ?? []).map((each) => this.#report(each));
    takeReport(this.#observed, HOST.name, this.state.revision, statuses, this.nowMs);
    const looked = this.traffic.look(this.state, this.#observed, this.nowMs);
    const shifted = shiftWeights(this.state, looked, this.traffic, this.nowMs);
    this.kinds.push(...shifted.steps.map(({ kind }) => kind));
    this.state = shifted.state;
    this.#reconcile();
  }

  #reconcile(): void {
    const { state, steps } = reconcile(this.state, this.#observed, BRAIN, this.nowMs, this.traffic);
    this.state = state;
    this.kinds.push(...steps.map(({ kind }) => kind));
  }

  #report({ id, app, component, size }: InstanceRecord): InstanceStatus {
    const before = this.#samples.get(id);
    const mine = this.owners().flatMap((owner, shard) => (component === 'cart' && owner === id ? [shard] : []));
    const cpu = component === 'cart' ? mine.reduce((sum, shard) => sum + (this.heat[shard] ?? 0), 0) : 0.1;
    const heat = new Map((before?.heat ?? []).map((each): [number, ShardHeat] => [each[0], each]));
    for (const shard of mine) {
      const [, calls, ms] = heat.get(shard) ?? [shard, 0, 0];
      heat.set(shard, [shard, calls + 10, ms + 1_000 * (this.heat[shard] ?? 0)]);
    }
    const called: Record<string, number> = {};
    const calls = component === 'web' ? Object.entries(this.called) : [];
    for (const [callee, rate] of calls) called[callee] = (before?.called?.[callee] ?? 0) + rate;
    const finished = (before?.finished ?? 0) + CALLS_PER_SECOND;
    const sample: Sample = {
      cpuSeconds: (before?.cpuSeconds ?? 0) + cpu,
      memoryBytes: 1,
      ioReadBytes: 0,
      ioWriteBytes: 0,
      arrived: finished,
      finished,
      failed: 0,
      outstanding: 0,
      latencyBuckets: Array.from({ length: LATENCY_BUCKETS }, () => 0),
      busyMs: (before?.busyMs ?? 0) + CALLS_PER_SECOND * (component === 'web' ? this.latencyOf(id) : 1),
      heat: [...heat.values()],
      called,
    };
    this.#samples.set(id, sample);
    return { id, app, component, phase: 'ready', size, restarts: 0, shards: mine, sample };
  }
}

t.test('the heat of each state shard and what is said to whom are found from the counters', async (t) => {
  const world = new World();
  world.heat[5] = 0.2;
  world.seconds(120);
  const { heat = [], calls = [] } = world.traffic.heatOf('shop/cart') ?? {};
  t.ok(Math.abs((heat[5] ?? 0) - 0.2) < 0.01, `${heat[5]}`);
  t.ok(Math.abs((heat[6] ?? 0) - 0.01) < 0.001, `${heat[6]}`);
  t.ok(Math.abs((calls[6] ?? 0) - 10) < 0.5, `${calls[6]}`);
  const talk = world.traffic.talkOf('shop/web');
  t.ok(Math.abs((talk.get('cart') ?? 0) - 3 * 75) < 40 && Math.abs((talk.get('mail') ?? 0) - 3 * 25) < 14);
});

t.test('even heat moves nothing', async (t) => {
  const world = new World();
  world.heat.fill(0.03);
  world.seconds(5);
  const before = world.owners();
  world.seconds(300);
  t.equal(world.owners(), before);
});

t.test('hot shards leave the hottest owner, a few in a round, until it is within the bound', async (t) => {
  const world = new World();
  world.seconds(5);
  const before = world.owners();
  const [victim] = before;
  // Eight hot shards, all on one owner.
  const hot = before.flatMap((owner, shard) => (owner === victim ? [shard] : [])).slice(0, 8);
  for (const shard of hot) world.heat[shard] = 0.1;
  let peak = world.loads()[0] ?? 0;
  let last = world.owners();
  for (let second = 0; second < 300; second += 1) {
    world.seconds(1);
    const moved = world.owners().filter((owner, shard) => owner !== last[shard]).length;
    t.ok(moved <= Math.floor(0.09 * SHARDS), `${moved} shards in one round`);
    const highest = world.loads()[0] ?? 0;
    t.ok(highest <= peak + 1e-9, 'the hottest only cools down');
    peak = highest;
    last = world.owners();
  }
  const mean = world.loads().reduce((sum, load) => sum + load, 0) / 4;
  t.ok(peak <= 1.25 * mean, `${peak} of a mean of ${mean}`);
  world.seconds(200);
  t.equal(world.owners(), last, 'and then all is quiet');
});

t.test('an owner that is hot beside others but nearly idle is left alone', async (t) => {
  const world = new World();
  world.heat.fill(0.0001);
  world.seconds(5);
  const before = world.owners();
  for (const shard of [0, 4, 8]) world.heat[shard] = 0.005;
  world.seconds(200);
  t.equal(world.owners(), before);
});

t.test('another instance takes its share of the heat, not of the number', async (t) => {
  const world = new World();
  world.heat[3] = 0.3;
  world.seconds(120);
  world.scale('cart', 5);
  world.seconds(30);
  const counts = world.instances('cart').map(({ id }) => world.owners().filter((owner) => owner === id).length);
  t.equal(
    counts.reduce((sum, each) => sum + each, 0),
    64,
  );
  t.ok(
    counts.every((each) => each > 0),
    counts.join(' '),
  );
  const owner = world.owners()[3];
  t.equal(
    counts[world.instances('cart').findIndex(({ id }) => id === owner)],
    Math.min(...counts),
    'the hot one has few others beside it',
  );
});

t.test('new owners fill up in rounds, by heat or by number; one that goes hands over all at once', async (t) => {
  for (const known of [true, false]) {
    const world = new World();
    world.heat[3] = 0.3;
    if (known) world.seconds(120);
    else world.seconds(2);
    world.scale('cart', 8);
    let last = world.owners();
    let rounds = 0;
    for (let second = 0; second < 20; second += 1) {
      world.seconds(1);
      const moved = world.owners().filter((owner, shard) => owner !== last[shard]).length;
      t.ok(moved <= FILL_SHARE_MAX * SHARDS, `${moved} shards in one round`);
      if (moved > 0) rounds += 1;
      last = world.owners();
    }
    t.equal(new Set(last).size, 8, 'all have some');
    t.ok(rounds >= 4 && rounds <= 6, `${rounds} rounds`);
    const counts = world.instances('cart').map(({ id }) => last.filter((owner) => owner === id).length);
    if (!known) t.same(new Set(counts), new Set([8]));
    t.notOk('filling' in (world.state.shards['shop/cart'] ?? {}));

    world.scale('cart', 2);
    world.seconds(2);
    t.equal(new Set(world.owners()).size, 2, 'those that leave have none any more');
  }
});

t.test('a slow instance gets fewer calls, and all of them again when it has recovered', async (t) => {
  const world = new World();
  world.seconds(60);
  t.notOk(world.kinds.includes('weight-shifted'));
  const slow = world.instances('web')[1]?.id ?? '';
  world.latencyOf = (id) => (id === slow ? 40 : 10);
  world.seconds(120);
  const weights = () => world.instances('web').map(({ weight = 1 }) => weight);
  const [first, second = 1, third] = weights();
  t.same([first, third], [1, 1]);
  t.ok(second >= 0.25 && second <= 0.35, `four times as slow: a weight of ${second}`);
  world.latencyOf = () => 10;
  world.seconds(200);
  t.same(weights(), [1, 1, 1]);
  t.notOk('weight' in (world.instances('web')[1] ?? {}), 'a weight of 1 is not written down');
});

t.test('a component that is only observed keeps its weights and its shards, unless an owner goes', async (t) => {
  const world = new World(
    MANIFEST.replace('calls: [cart, mail, stock]', '$&\n    mode: observe').replace(
      'state: {mode: partitioned, shards: 64}',
      '$&\n    mode: observe',
    ),
  );
  world.seconds(60);
  const before = world.owners();
  const [victim] = before;
  for (const [shard, owner] of before.entries()) if (owner === victim) world.heat[shard] = 0.1;
  const slow = world.instances('web')[1]?.id ?? '';
  world.latencyOf = (id) => (id === slow ? 40 : 10);
  world.seconds(300);
  t.equal(world.owners(), before, 'the hot ones stay together');
  t.ok((world.traffic.heatOf('shop/cart')?.heat[0] ?? 0) > 0.05, 'though it is known that they are hot');
  t.same(
    world.instances('web').map(({ weight = 1 }) => weight),
    [1, 1, 1],
  );
  t.notOk(world.kinds.includes('weight-shifted'));

  world.scale('cart', 3);
  world.seconds(3);
  const owners = new Set(world.owners());
  t.equal(owners.size, 3);
  t.notOk(owners.has(null), 'whoever goes hands over, watched or not');
});
