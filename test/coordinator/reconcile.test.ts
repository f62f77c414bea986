import { isDeepStrictEqual } from 'node:util';
import fc from 'fast-check';
import t from 'tap';
import { place } from '../../coordinator/brain/placement.js';
import { assignShards } from '../../coordinator/brain/shards.js';
import {
  applyManifest,
  type ClusterState,
  deleteApp,
  desiredFor,
  EMPTY_CLUSTER,
  setCordon,
  setOverride,
  wantedCount,
} from '../../coordinator/cluster.js';
import { LOSSES_MAX } from '../../coordinator/host-standing.js';
import { eachInstance, findInstance } from '../../coordinator/instance-table.js';
import {
  hostConnected,
  hostDisconnected,
  type Observed,
  startObserving,
  takeReport,
} from '../../coordinator/observed.js';
import { reconcile } from '../../coordinator/reconcile.js';
import { SettledComponents } from '../../coordinator/settled.js';
import { NOTHING_MEASURED } from '../../coordinator/traffic.js';
import { LIMITS } from '../../protocol/limits.js';
import type { InstanceStatus } from '../../protocol/link.js';
import type { Component, Manifest } from '../../protocol/manifest.js';
import { PLACE_DEFAULT } from '../../protocol/manifest-build.js';

const BRAIN = { place, assignShards };
const MIB = 2 ** 20;

function fifthOf(id: string): number {
  return Number(id.slice(id.lastIndexOf('-') + 1)) % 5;
}

function manifest(app: string, max: number, command: string): Manifest {
  const component: Component = {
    source: { kind: 'rootfs', rootfs: 'host' },
    command: [command],
    env: {},
    count: { min: 1, max },
    size: { cpu: { min: 0.1, max: 0.5 }, memory: { min: 64 * MIB, max: 64 * MIB } },
    objective: { kind: 'utilisation', target: 0.6 },
    state: 'none',
    calls: [],
    ports: [],
  };
  return { app, components: { web: component, data: { ...component, state: 'partitioned' } } };
}

/** Hosts whose agents do at once what they are told, on a clock of the test's own. */
class Simulation {
  state: ClusterState = EMPTY_CLUSTER;
  nowMs = 0;
  readonly seenIds = new Map<string, number>();
  #observed: Observed = startObserving(0);
  readonly #connected = new Set<string>();
  readonly #settled = new SettledComponents();
  /** What each fifth instance from this one on says instead of being ready; null: it is not named. */
  readonly strange = new Map<number, InstanceStatus['phase'] | null>();

  connect(host: string, labels: Record<string, string> = {}): void {
    const info = { name: host, cores: 8, memoryBytes: 2 ** 36, kernel: '6', degraded: [], labels };
    this.#observed = hostConnected(this.#observed, info, this.nowMs);
    this.#connected.add(host);
  }

  disconnect(host: string): void {
    this.#observed = hostDisconnected(this.#observed, host, this.nowMs);
    this.#connected.delete(host);
  }

  /** One second: agents report, the coordinator reconciles. */
  tick(): void {
    this.nowMs += 1_000;
    for (const host of this.#connected) {
      const desired = desiredFor(this.state, host);
      const statuses = desired.instances.map(({ id, app, component, size, draining }): InstanceStatus => {
        const owners = desired.shards[`${app}/${component}`]?.owners ?? [];
        const shards = owners.flatMap((owner, shard) => (owner === id ? [shard] : []));
        const phase = this.strange.get(fifthOf(id)) ?? (draining ? 'draining' : 'ready');
        return { id, app, component, size, phase, restarts: 0, shards };
      });
      const named = statuses.filter(({ id }) => this.strange.get(fifthOf(id)) !== null);
      this.#observed = takeReport(this.#observed, host, desired.revision, named, this.nowMs);
    }
    this.change((state) => state);
  }

  change(transition: (state: ClusterState) => ClusterState): void {
    const before = this.state;
    const after = transition(before);
    const { state, steps } = reconcile(after, this.#observed, BRAIN, this.nowMs, NOTHING_MEASURED, this.#settled);
    const whole = reconcile(after, this.#observed, BRAIN, this.nowMs);
    if (!isDeepStrictEqual({ state, steps }, whole))
      throw new Error('passing over what is settled changes the outcome');
    this.#check(before, state);
    this.state = state;
  }

  /** What must hold at every moment. */
  #check(before: ClusterState, state: ClusterState): void {
    const again = reconcile(state, this.#observed, BRAIN, this.nowMs);
    if (again.state !== state) throw new Error(`a second reconcile changes something: ${JSON.stringify(again.steps)}`);
    if (state !== before && state.revision <= before.revision) throw new Error('changed without a new revision');
    for (const { id } of eachInstance(state.instances)) {
      const number = Number(id.slice(id.lastIndexOf('-') + 1));
      const prefix = id.slice(0, id.lastIndexOf('-'));
      if (findInstance(before.instances, id) !== undefined) continue;
      if (number <= (this.seenIds.get(prefix) ?? -1)) throw new Error(`${id} was given out twice`);
      this.seenIds.set(prefix, Math.max(number, this.seenIds.get(prefix) ?? -1));
    }
    for (const [key, { owners }] of Object.entries(state.shards)) {
      for (const owner of owners) {
        if (owner !== null && findInstance(state.instances, owner) === undefined)
          throw new Error(`${key}: ${owner} is gone`);
      }
    }
    for (const [app, record] of Object.entries(state.apps)) {
      for (const [name, { count }] of Object.entries(record.manifest.components)) {
        const wanted = wantedCount(state, app, name);
        if (wanted > count.max) throw new Error(`${app}/${name} wants ${wanted} of at most ${count.max}`);
      }
    }
  }

  /** Instances that stay, by component. */
  staying(app: string, component: string): number {
    const all = [...eachInstance(this.state.instances)];
    return all.filter((each) => each.app === app && each.component === component && each.draining === undefined).length;
  }
}

type Step =
  | { kind: 'apply'; app: string; max: number; command: string }
  | { kind: 'delete'; app: string }
  | { kind: 'scale'; app: string; component: string; count: number | null }
  | { kind: 'connect' | 'disconnect'; host: string }
  | { kind: 'drain'; host: string; drained: boolean }
  | { kind: 'strange'; number: number; phase: InstanceStatus['phase'] | null }
  | { kind: 'tick'; seconds: number };

const app = fc.constantFrom('a', 'b');
const host = fc.constantFrom('h1', 'h2', 'h3');
const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.oneof(
    { weight: 3, arbitrary: fc.constant<Step>({ kind: 'tick', seconds: 1 }) },
    fc.constantFrom<Step>({ kind: 'tick', seconds: 8 }, { kind: 'tick', seconds: 40 }),
    fc.record({ kind: fc.constant('drain' as const), host, drained: fc.boolean() }),
    fc.record({
      kind: fc.constant('strange' as const),
      number: fc.nat(4),
      phase: fc.constantFrom<InstanceStatus['phase'] | null>('failed', 'starting', 'backoff', 'ready', null),
    }),
    fc.record({
      kind: fc.constant('apply' as const),
      app,
      max: fc.integer({ min: 1, max: 6 }),
      command: fc.constantFrom('x', 'y'),
    }),
    fc.record({ kind: fc.constant('delete' as const), app }),
    fc.record({
      kind: fc.constant('scale' as const),
      app,
      component: fc.constantFrom('web', 'data'),
      count: fc.option(fc.integer({ min: 1, max: 6 })),
    }),
    fc.record({ kind: fc.constantFrom('connect' as const, 'disconnect' as const), host }),
  ),
  { maxLength: 60 },
);

t.test('whatever is asked and whichever hosts come and go, the invariants hold and it converges', (t) => {
  fc.assert(
    fc.property(steps, (list) => {
      const simulation = new Simulation();
      for (const step of list) {
        // A refused step must leave everything as it was; reconcile then has nothing to do.
        try {
          if (step.kind === 'apply')
            simulation.change((s) => applyManifest(s, manifest(step.app, step.max, step.command)));
          else if (step.kind === 'delete') simulation.change((s) => deleteApp(s, step.app));
          else if (step.kind === 'scale')
            simulation.change((s) => setOverride(s, step.app, step.component, step.count));
        } catch (error) {
          if (!/SHOAL_E_(NOT_FOUND|CONFLICT)/.test((error as { code?: string }).code ?? '')) throw error;
        }
        if (step.kind === 'connect') simulation.connect(step.host);
        else if (step.kind === 'disconnect') simulation.disconnect(step.host);
        else if (step.kind === 'drain') {
          const cordon = step.drained ? { drain: true, sinceMs: simulation.nowMs } : null;
          simulation.change((s) => setCordon(s, step.host, cordon));
        } else if (step.kind === 'strange') simulation.strange.set(step.number, step.phase);
        else if (step.kind === 'tick') for (let i = 0; i < step.seconds; i += 1) simulation.tick();
      }
      simulation.strange.clear();
      for (const name of ['h1', 'h2', 'h3']) {
        simulation.change((s) => setCordon(s, name, null));
        simulation.connect(name);
      }
      for (let second = 0; second < 120; second += 1) simulation.tick();
      for (const [name, record] of Object.entries(simulation.state.apps)) {
        for (const component of Object.keys(record.manifest.components)) {
          const wanted = wantedCount(simulation.state, name, component);
          if (simulation.staying(name, component) !== wanted) throw new Error(`${name}/${component} has not ${wanted}`);
        }
        const owners = simulation.state.shards[`${name}/data`]?.owners ?? [];
        if (owners.length !== LIMITS.shardCountDefault || owners.includes(null))
          throw new Error(`${name}/data has shards without an owner`);
      }
      const wantedApps = new Set(Object.keys(simulation.state.apps));
      return [...eachInstance(simulation.state.instances)].every(
        (each) => wantedApps.has(each.app) && each.draining === undefined,
      );
    }),
    { numRuns: 150 },
  );
  t.end();
});

t.test('what a drained host cannot give away is tried again each time, and goes when another host comes', (t) => {
  const simulation = new Simulation();
  simulation.connect('h1');
  simulation.change((state) => applyManifest(state, manifest('a', 1, 'x')));
  for (let second = 0; second < 8; second += 1) simulation.tick();
  simulation.change((state) => setCordon(state, 'h1', { drain: true, sinceMs: simulation.nowMs }));
  for (let second = 0; second < 3; second += 1) simulation.tick();
  simulation.connect('h2');
  for (let second = 0; second < 30; second += 1) simulation.tick();
  t.same(
    [...eachInstance(simulation.state.instances)].map(({ host }) => host),
    ['h2', 'h2'],
  );
  t.end();
});

t.test('a changed command replaces instances one after another, never fewer than wanted', (t) => {
  const simulation = new Simulation();
  simulation.connect('h1');
  simulation.tick();
  simulation.change((state) => applyManifest(state, manifest('a', 4, 'x')));
  simulation.change((state) => setOverride(state, 'a', 'web', 3));
  for (let i = 0; i < 5; i += 1) simulation.tick();
  const old = [...eachInstance(simulation.state.instances)].map(({ id }) => id).filter((id) => id.startsWith('a-web'));
  simulation.change((state) => applyManifest(state, manifest('a', 4, 'y')));
  for (let i = 0; i < 20; i += 1) {
    t.ok(simulation.staying('a', 'web') >= 3);
    simulation.tick();
  }
  t.equal(simulation.staying('a', 'web'), 3);
  t.notOk(
    old.some((id) => findInstance(simulation.state.instances, id) !== undefined),
    'none of the old ones is left',
  );
  t.end();
});

t.test('a component at rest gets another instance when one fails, vanishes or loses its host', async (t) => {
  const upsets: ((simulation: Simulation) => void)[] = [
    ({ strange }) => strange.set(0, 'failed'),
    ({ strange }) => strange.set(0, null),
    (simulation) => simulation.disconnect('h1'),
  ];
  for (const upset of upsets) {
    const simulation = new Simulation();
    for (const name of ['h1', 'h2']) simulation.connect(name);
    simulation.change((state) => applyManifest(state, manifest('a', 4, 'x')));
    simulation.change((state) => setOverride(state, 'a', 'web', 2));
    for (let second = 0; second < 5; second += 1) simulation.tick();
    const before = ids(simulation);
    for (let second = 0; second < 5; second += 1) simulation.tick();
    t.strictSame(ids(simulation), before, 'at rest');
    upset(simulation);
    for (let second = 0; second < 120; second += 1) simulation.tick();
    t.not(String(ids(simulation)), String(before));
    t.equal(simulation.staying('a', 'web'), 2);
  }
});

function ids({ state }: Simulation): string[] {
  return [...eachInstance(state.instances)].map(({ id }) => id).sort();
}

t.test(
  'a host that comes and goes gets new instances of what no steady host may have, and of nothing else',
  async (t) => {
    const simulation = new Simulation();
    simulation.connect('steady');
    for (let loss = 0; loss < LOSSES_MAX; loss += 1) {
      simulation.connect('unsteady', { disk: 'fast' });
      simulation.disconnect('unsteady');
    }
    simulation.connect('unsteady', { disk: 'fast' });
    simulation.tick();
    const { app, components } = manifest('shop', 4, 'x');
    const { web, data } = components as { web: Component; data: Component };
    const place = { ...PLACE_DEFAULT, require: { disk: 'fast' } };
    simulation.change((state) => applyManifest(state, { app, components: { web, data: { ...data, place } } }));
    for (const name of ['web', 'data']) simulation.change((state) => setOverride(state, app, name, 4));
    const hostsOf = (name: string) =>
      [...eachInstance(simulation.state.instances)]
        .filter(({ component }) => component === name)
        .map(({ host }) => host);
    t.same(hostsOf('web'), Array(4).fill('steady'));
    t.same(hostsOf('data'), Array(4).fill('unsteady'));
  },
);
