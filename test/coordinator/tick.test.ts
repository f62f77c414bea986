import { isDeepStrictEqual } from 'node:util';
import fc from 'fast-check';
import { pino } from 'pino';
import t from 'tap';
import { CPU_OVERCOMMIT } from '../../coordinator/brain/allotted.js';
import { place } from '../../coordinator/brain/placement.js';
import { assignShards } from '../../coordinator/brain/shards.js';
import {
  applyManifest,
  type ClusterState,
  desiredFor,
  EMPTY_CLUSTER,
  instancesOf,
  isDrained,
  setCordon,
} from '../../coordinator/cluster.js';
import { eachInstance } from '../../coordinator/instance-table.js';
import { LearnedStore } from '../../coordinator/learned.js';
import {
  hostConnected,
  hostDisconnected,
  type Observed,
  startObserving,
  takeReport,
} from '../../coordinator/observed.js';
import { differences, loadCluster } from '../../coordinator/persist.js';
import { plan } from '../../coordinator/planner.js';
import type { PlannerMemory } from '../../coordinator/planner-memory.js';
import { reconcile, type Step } from '../../coordinator/reconcile.js';
import type { Store } from '../../coordinator/store/store.js';
import { LATENCY_BUCKETS } from '../../protocol/control.js';
import type { InstanceStatus } from '../../protocol/link.js';
import type { Component, Manifest, PlaceRules } from '../../protocol/manifest.js';

const SILENT = pino({ level: 'silent' });

const BRAIN = { place, assignShards };
const MIB = 2 ** 20;

interface Wanted {
  min: number;
  max: number;
  priority: number;
  /** Cores that its users ask for. */
  demand: number;
  memory: number;
  place?: PlaceRules;
}
type Apps = Record<string, Record<string, Wanted>>;
interface Machine {
  name: string;
  cores: number;
  memoryBytes: number;
}

function manifestOf(app: string, components: Record<string, Wanted>): Manifest {
  const described = Object.entries(components).map(([name, { min, max, priority, memory, place }]) => {
    const component: Component = {
      source: { kind: 'rootfs', rootfs: 'host' },
      command: ['x'],
      env: {},
      count: { min, max },
      size: { cpu: { min: 0.1, max: 1 }, memory: { min: memory, max: memory } },
      objective: { kind: 'utilisation', target: 0.7 },
      state: 'none',
      seasonSeconds: 0,
      calls: [],
      priority,
      ports: [],
    };
    return [name, place === undefined ? component : { ...component, place }];
  });
  return { app, components: Object.fromEntries(described) };
}

/** The whole tick over hosts whose agents do at once what they are told, on a clock of the test's own. */
class Cluster {
  state: ClusterState = EMPTY_CLUSTER;
  steps: Step[] = [];
  observed: Observed = startObserving(0);
  nowMs = 0;
  #memory: PlannerMemory = new Map();
  readonly #apps: Apps;
  readonly #machines: Machine[];
  readonly #used = new Map<string, number>();
  readonly #away = new Set<string>();

  constructor(apps: Apps, machines: readonly Machine[]) {
    this.#apps = apps;
    this.#machines = [...machines];
    for (const machine of machines) this.connect(machine.name);
    for (const [app, components] of Object.entries(apps)) {
      this.state = applyManifest(this.state, manifestOf(app, components));
    }
  }

  connect(name: string): void {
    const machine = this.#machines.find((each) => each.name === name);
    if (machine === undefined) throw new Error(`no machine ${name}`);
    this.#away.delete(name);
    this.observed = hostConnected(this.observed, { ...machine, kernel: '6', degraded: [] }, this.nowMs);
  }

  disconnect(name: string): void {
    this.#away.add(name);
    this.observed = hostDisconnected(this.observed, name, this.nowMs);
  }

  tick(): Step[] {
    this.nowMs += 1_000;
    for (const { name } of this.#machines) {
      if (this.#away.has(name)) continue;
      const desired = desiredFor(this.state, name);
      const statuses = desired.instances.map((each) => this.#status(each.app, each.component, each));
      this.observed = takeReport(this.observed, name, desired.revision, statuses, this.nowMs);
    }
    const planned = plan(this.state, this.observed, this.#memory, this.nowMs);
    const { state, steps } = reconcile(planned, this.observed, BRAIN, this.nowMs);
    this.state = state;
    this.steps = steps;
    this.#check();
    return steps;
  }

  /** As after the death of the coordinator: what was stored is all that is left, agents dial again. */
  async restart(): Promise<void> {
    const stored = new Map<string, unknown>();
    for (const each of differences(EMPTY_CLUSTER, this.state))
      if (each.kind === 'put') stored.set(each.key, each.value);
    const load = async (prefix: string) => new Map([...stored].filter(([key]) => key.startsWith(prefix)));
    const store = { load } as unknown as Store;
    for (const each of new LearnedStore().all(this.#memory, this.nowMs, SILENT))
      if (each.kind === 'put') stored.set(each.key, each.value);
    const loaded = await loadCluster(store);
    if (!isDeepStrictEqual(loaded, this.state)) throw new Error('the stored state is not the state');
    this.state = loaded;
    this.#memory = await new LearnedStore().load(store, [...this.#memory.keys()], this.nowMs, SILENT);
    const before = this.observed;
    this.observed = startObserving(this.nowMs);
    for (const [name, { connected }] of before.hosts) if (connected) this.connect(name);
  }

  staying(app: string, component: string): number {
    return instancesOf(this.state, app, component).filter((each) => each.draining === undefined).length;
  }

  room(name: string): { cpu: number; memory: number } {
    const machine = this.#machines.find((each) => each.name === name) ?? { cores: 0, memoryBytes: 0 };
    const here = this.state.instances.byHost.get(name) ?? [];
    return {
      cpu: machine.cores * CPU_OVERCOMMIT - here.reduce((sum, { size }) => sum + size.cpu, 0),
      memory: machine.memoryBytes - here.reduce((sum, { size }) => sum + size.memory, 0),
    };
  }

  #status(
    app: string,
    component: string,
    each: { id: string; size: { cpu: number; memory: number }; draining: boolean },
  ) {
    const { id, size, draining } = each;
    const share = (this.#apps[app]?.[component]?.demand ?? 0) / Math.max(1, this.staying(app, component));
    const used = (this.#used.get(id) ?? 0) + (draining ? 0 : Math.min(size.cpu, share));
    this.#used.set(id, used);
    const latencyBuckets = Array.from({ length: LATENCY_BUCKETS }, () => 0);
    const counters = { ioReadBytes: 0, ioWriteBytes: 0, arrived: used * 100, finished: used * 100, failed: 0 };
    const sample = {
      cpuSeconds: used,
      memoryBytes: MIB,
      outstanding: draining || share === 0 ? 0 : 1,
      latencyBuckets,
      ...counters,
    };
    const phase = draining ? 'draining' : 'ready';
    return { id, app, component, size, phase, restarts: 0, shards: [], sample } satisfies InstanceStatus;
  }

  /** What must hold after every tick. */
  #check(): void {
    for (const { name } of this.#machines) {
      const { cpu, memory } = this.room(name);
      if (cpu < -1e-6 || memory < 0) throw new Error(`${name} has more than it has room for`);
    }
    for (const [app, components] of Object.entries(this.#apps)) {
      for (const [component, { min, max, memory }] of Object.entries(components)) {
        const staying = instancesOf(this.state, app, component).filter((each) => each.draining === undefined);
        // On a drained host they serve on until others do.
        const count = staying.filter((each) => !isDrained(this.state, each.host)).length;
        if (count > max) throw new Error(`${app}/${component} has ${count} of at most ${max}`);
        const cpu = this.state.targets[`${app}/${component}`]?.size.cpu ?? 1;
        const fits = this.#machines.some(({ name }) => {
          const room = this.room(name);
          return !this.#away.has(name) && room.cpu >= cpu + 1e-6 && room.memory >= memory;
        });
        if (staying.length < min && fits)
          throw new Error(`${app}/${component} has ${staying.length} of at least ${min} and there is room`);
      }
    }
  }
}

const wanted = fc.record({
  min: fc.integer({ min: 0, max: 3 }),
  max: fc.integer({ min: 3, max: 12 }),
  priority: fc.constantFrom(100, 500, 900),
  demand: fc.double({ min: 0, max: 8, noNaN: true }),
  memory: fc.integer({ min: 16, max: 256 }).map((size) => size * MIB),
});
const components = fc.record({ a: wanted, b: wanted });
const apps: fc.Arbitrary<Apps> = fc.record({ x: components, y: components });
/** Often too few for what is wanted. */
const machines: fc.Arbitrary<Machine[]> = fc
  .array(fc.record({ cores: fc.integer({ min: 1, max: 4 }), memoryBytes: fc.integer({ min: 256, max: 1536 }) }), {
    minLength: 1,
    maxLength: 4,
  })
  .map((list) =>
    list.map(({ cores, memoryBytes }, i) => ({ name: `h${i + 1}`, cores, memoryBytes: memoryBytes * MIB })),
  );

t.test('no host gets more than it can hold, no component leaves its bounds, whatever is short', async () => {
  fc.assert(
    fc.property(apps, machines, (wants, list) => {
      const cluster = new Cluster(wants, list);
      for (let second = 0; second < 30; second += 1) cluster.tick();
    }),
    { numRuns: 60 },
  );
});

/** Of every instance its host and size. */
function standing({ state }: Cluster): Map<string, { host: string; cpu: number }> {
  return new Map([...eachInstance(state.instances)].map(({ id, host, size }) => [id, { host, cpu: size.cpu }]));
}

/** Names what went up and down while demand stayed as it was; null: nothing did. */
function swinging(cluster: Cluster, seconds: number): string | null {
  const directions = new Map<string, Set<number>>();
  const note = (what: string, change: number) => {
    if (change !== 0) directions.set(what, (directions.get(what) ?? new Set()).add(Math.sign(change)));
  };
  const keys = ['x', 'y'].flatMap((app) => ['a', 'b'].map((component) => [app, component] as const));
  const counts = () =>
    new Map(keys.map(([app, component]) => [`${app}/${component}`, cluster.staying(app, component)]));
  let [before, count] = [standing(cluster), counts()];
  for (let second = 0; second < seconds; second += 1) {
    cluster.tick();
    for (const [key, now] of counts()) note(`count of ${key}`, now - (count.get(key) ?? 0));
    const now = standing(cluster);
    for (const [id, { cpu }] of now) note(`size of ${id}`, cpu - (before.get(id)?.cpu ?? cpu));
    [before, count] = [now, counts()];
  }
  return [...directions].find(([, each]) => each.size > 1)?.[0] ?? null;
}

t.test('under constant demand nothing goes up and down, in a full cluster too', async () => {
  fc.assert(
    fc.property(apps, machines, (wants, list) => {
      const cluster = new Cluster(wants, list);
      for (let second = 0; second < 100; second += 1) cluster.tick();
      const swings = swinging(cluster, 150);
      if (swings !== null) throw new Error(`${swings} goes up and down`);
    }),
    { numRuns: 30 },
  );
});

t.test('the order of apps, components and hosts decides nothing', async () => {
  const turned = <T>(record: Record<string, T>) => Object.fromEntries(Object.entries(record).reverse());
  fc.assert(
    fc.property(apps, machines, (wants, list) => {
      const one = new Cluster(wants, list);
      const reversed = Object.entries(wants).map(([app, each]): [string, Record<string, Wanted>] => [
        app,
        turned(each),
      ]);
      const other = new Cluster(Object.fromEntries(reversed.reverse()), list.toReversed());
      for (let second = 0; second < 30; second += 1) {
        one.tick();
        other.tick();
        if (!isDeepStrictEqual(one.state.instances, other.state.instances)) return false;
      }
      return true;
    }),
    { numRuns: 40 },
  );
});

t.test('a restart from what was stored changes no instance', async () => {
  await fc.assert(
    fc.asyncProperty(apps, machines, async (wants, list) => {
      const cluster = new Cluster(wants, list);
      for (let second = 0; second < 150; second += 1) cluster.tick();
      const { instances } = cluster.state;
      await cluster.restart();
      for (let second = 0; second < 20; second += 1) cluster.tick();
      return isDeepStrictEqual(cluster.state.instances, instances);
    }),
    { numRuns: 20 },
  );
});

t.test('a size that no host has room for comes to rest, and what is missing comes as more instances', async (t) => {
  const small = 16 * MIB;
  const idle: Wanted = { min: 0, max: 3, priority: 100, demand: 0, memory: small };
  const full: Apps = {
    x: { a: idle, b: { min: 0, max: 6, priority: 900, demand: 3.42631, memory: small } },
    y: { a: idle, b: { min: 2, max: 4, priority: 100, demand: 1.6380015, memory: 85 * MIB } },
  };
  const cluster = new Cluster(
    full,
    ['h1', 'h2'].map((name) => ({ name, cores: 1, memoryBytes: 256 * MIB })),
  );
  for (let second = 0; second < 150; second += 1) cluster.tick();
  const rested = standing(cluster);
  t.equal(swinging(cluster, 60), null);
  await cluster.restart();
  for (let second = 0; second < 60; second += 1) {
    cluster.tick();
    t.strictSame(standing(cluster), rested);
  }
});

t.test('more demand never gets less', async () => {
  const allotted = (demand: number) => {
    const want: Wanted = { min: 1, max: 50, priority: 500, demand, memory: 16 * MIB };
    const cluster = new Cluster({ x: { a: want } }, [{ name: 'h1', cores: 64, memoryBytes: 2 ** 36 }]);
    for (let second = 0; second < 90; second += 1) cluster.tick();
    return [...eachInstance(cluster.state.instances)].reduce((sum, { size }) => sum + size.cpu, 0);
  };
  fc.assert(
    fc.property(fc.double({ min: 0, max: 20, noNaN: true }), fc.double({ min: 0, max: 20, noNaN: true }), (a, b) => {
      return allotted(Math.max(a, b)) >= allotted(Math.min(a, b)) * 0.9;
    }),
    { numRuns: 15 },
  );
});

const steady: Wanted = { min: 3, max: 3, priority: 500, demand: 0.3, memory: 100 * MIB };
const pair: Machine[] = ['h1', 'h2'].map((name) => ({ name, cores: 4, memoryBytes: 1024 * MIB }));

t.test('a drained host is left only as others get ready, and gets nothing until it is opened', async (t) => {
  const cluster = new Cluster({ x: { a: steady } }, pair);
  for (let second = 0; second < 5; second += 1) cluster.tick();
  cluster.state = setCordon(cluster.state, 'h1', { drain: true, sinceMs: cluster.nowMs });
  for (let second = 0; second < 15; second += 1) {
    cluster.tick();
    const serving = instancesOf(cluster.state, 'x', 'a').filter((each) => each.draining === undefined).length;
    t.ok(serving >= 3);
  }
  t.equal(cluster.state.instances.byHost.get('h1'), undefined);
  t.equal(cluster.staying('x', 'a'), 3);
  cluster.state = setCordon(cluster.state, 'h2', { drain: true, sinceMs: cluster.nowMs });
  for (let second = 0; second < 10; second += 1) cluster.tick();
  t.equal(cluster.staying('x', 'a'), 3, 'with nowhere to go they stay');
  cluster.state = setCordon(cluster.state, 'h1', null);
  for (let second = 0; second < 15; second += 1) cluster.tick();
  t.equal(cluster.state.instances.byHost.get('h1')?.length, 3);
});

t.test('a full cluster: the lower priority gives way, down to its minimum, and gets its room back', async (t) => {
  const low: Wanted = { min: 1, max: 9, priority: 100, demand: 9, memory: 100 * MIB };
  const high: Wanted = { min: 0, max: 12, priority: 900, demand: 20, memory: 100 * MIB };
  const one = [{ name: 'h1', cores: 8, memoryBytes: 1000 * MIB }];
  const cluster = new Cluster({ low: { a: low } }, one);
  for (let second = 0; second < 60; second += 1) cluster.tick();
  t.equal(cluster.staying('low', 'a'), 9);
  const both = new Cluster({ low: { a: low }, high: { a: high } }, one);
  const seen = new Set<string>();
  for (let second = 0; second < 60; second += 1) for (const { kind } of both.tick()) seen.add(kind);
  t.equal(both.staying('high', 'a'), 9);
  t.equal(both.staying('low', 'a'), 1, 'its minimum is left to it');
  t.ok(seen.has('unplaced'));
  high.demand = 0;
  for (let second = 0; second < 240; second += 1) both.tick();
  t.equal(both.staying('low', 'a'), 9);
});

t.test('what is needed for a minimum takes the room of what others have above theirs', async (t) => {
  const one = [{ name: 'h1', cores: 8, memoryBytes: 500 * MIB }];
  const many: Wanted = { min: 1, max: 5, priority: 500, demand: 9, memory: 100 * MIB };
  const cluster = new Cluster({ x: { a: many } }, one);
  for (let second = 0; second < 60; second += 1) cluster.tick();
  t.equal(cluster.staying('x', 'a'), 5);
  cluster.state = applyManifest(cluster.state, manifestOf('y', { b: { ...many, min: 2, max: 2 } }));
  const reasons = new Set<string>();
  for (let second = 0; second < 60; second += 1) {
    for (const { kind, message } of cluster.tick()) if (kind === 'gave-way') reasons.add(message);
  }
  t.equal(cluster.staying('y', 'b'), 2);
  t.equal(cluster.staying('x', 'a'), 3);
  t.strictSame([...reasons], ['gave way to y/b of priority 500, for its min']);
});

t.test('a lost host: its instances come again elsewhere', async (t) => {
  const cluster = new Cluster({ x: { a: steady } }, pair);
  for (let second = 0; second < 5; second += 1) cluster.tick();
  t.equal(new Set(instancesOf(cluster.state, 'x', 'a').map(({ host }) => host)).size, 2);
  cluster.disconnect('h1');
  for (let second = 0; second < 40; second += 1) cluster.tick();
  t.equal(cluster.state.instances.byHost.get('h2')?.length, 3);
});
