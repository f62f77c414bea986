import t from 'tap';
import { place } from '../../coordinator/brain/placement.js';
import { assignShards } from '../../coordinator/brain/shards.js';
import {
  applyManifest,
  type ClusterState,
  componentKey,
  desiredFor,
  EMPTY_CLUSTER,
  instancesOf,
} from '../../coordinator/cluster.js';
import { hostConnected, type Observed, startObserving, takeReport } from '../../coordinator/observed.js';
import { plan } from '../../coordinator/planner.js';
import { explanationOf, type PlannerMemory } from '../../coordinator/planner-memory.js';
import { reconcile } from '../../coordinator/reconcile.js';
import { LATENCY_BUCKETS } from '../../protocol/control.js';
import type { InstanceStatus } from '../../protocol/link.js';
import type { Component, Manifest } from '../../protocol/manifest.js';
import { COMPONENT } from './brain/bench.js';

/** Requests a second to a component, and what each costs. */
interface Load {
  perSecond: number;
  costCpu: number;
  /** What the calls take, all alike; absent: nobody measures it. */
  tookMs?: number;
  /** Cores that each instance waits for; absent: its host does not tell. */
  cpuWait?: number;
}

/** Plan and reconcile over hosts that do at once what they are told; requests are served as far as the CPU goes. */
class Rig {
  state: ClusterState = EMPTY_CLUSTER;
  readonly memory: PlannerMemory = new Map();
  observed: Observed = startObserving(0);
  nowMs = 0;
  /** Hosts that say nothing now. */
  readonly silent = new Set<string>();
  /** What a start takes, on a host that is new to the component and on others. */
  startSeconds = { cold: 0.1, warm: 0.1 };
  /** No instance gets more, whatever it is told: resizes fail. */
  stuckCpu = Number.POSITIVE_INFINITY;
  readonly #hosts: string[];
  readonly #started = new Map<string, number>();
  readonly #counters = new Map<string, Record<'cpuSeconds' | 'arrived' | 'finished' | 'runDelaySeconds', number>>();
  readonly #manifest: Manifest;

  constructor(components: Record<string, Partial<Component>>, rest: Partial<Manifest> = {}, hosts = ['h1', 'h2']) {
    const described = Object.entries(components).map(([name, each]) => [name, { ...COMPONENT, ...each }]);
    this.#manifest = { app: 'x', components: Object.fromEntries(described), ...rest };
    this.#hosts = hosts;
    this.dial();
    this.state = applyManifest(this.state, this.#manifest);
  }

  /** The hosts connect. */
  dial(): void {
    for (const name of this.#hosts) {
      const info = { name, cores: 32, memoryBytes: 2 ** 37, kernel: '6', degraded: [] };
      this.observed = hostConnected(this.observed, info, this.nowMs);
    }
  }

  tick(loads: Record<string, Load>): void {
    this.nowMs += 1_000;
    for (const host of this.#hosts) {
      if (this.silent.has(host)) continue;
      const desired = desiredFor(this.state, host);
      const statuses = desired.instances.map((each) => this.#status(host, each.component, each, loads[each.component]));
      this.observed = takeReport(this.observed, host, desired.revision, statuses, this.nowMs);
    }
    const planned = plan(this.state, this.observed, this.memory, this.nowMs);
    this.state = reconcile(planned, this.observed, { place, assignShards }, this.nowMs).state;
  }

  run(seconds: number, loads: Record<string, Load>): void {
    for (let second = 0; second < seconds; second += 1) this.tick(loads);
  }

  allotted(component: string): number {
    const target = this.state.targets[componentKey('x', component)];
    return target === undefined ? 0 : target.count * target.size.cpu;
  }

  explanation(component: string) {
    const explanation = explanationOf(this.memory.get(componentKey('x', component)));
    if (explanation === null) throw new Error(`nothing was planned for ${component}`);
    return explanation;
  }

  /** Seconds that the instance takes to start. */
  #startOf(host: string, component: string, id: string): number {
    const known = this.#started.get(id);
    if (known !== undefined) return known;
    const place = `${host} ${component}`;
    const seconds = this.#started.has(place) ? this.startSeconds.warm : this.startSeconds.cold;
    this.#started.set(place, 0).set(id, seconds);
    return seconds;
  }

  #status(
    host: string,
    component: string,
    each: { id: string; size: { cpu: number; memory: number } },
    load?: Load,
  ): InstanceStatus {
    const staying = instancesOf(this.state, 'x', component).filter(({ draining }) => draining === undefined).length;
    const arrived = (load?.perSecond ?? 0) / Math.max(1, staying);
    const costCpu = load?.costCpu ?? 0;
    const size = { ...each.size, cpu: Math.min(each.size.cpu, this.stuckCpu) };
    const finished = costCpu > 0 ? Math.min(arrived, size.cpu / costCpu) : 0;
    const before = this.#counters.get(each.id) ?? { cpuSeconds: 0, arrived: 0, finished: 0, runDelaySeconds: 0 };
    const counters = {
      cpuSeconds: before.cpuSeconds + finished * costCpu,
      arrived: before.arrived + arrived,
      finished: before.finished + finished,
      runDelaySeconds: before.runDelaySeconds + (load?.cpuWait ?? 0),
    };
    this.#counters.set(each.id, counters);
    const latencyBuckets = Array.from({ length: LATENCY_BUCKETS }, () => 0);
    const rest = { memoryBytes: 2 ** 20, ioReadBytes: 0, ioWriteBytes: 0, failed: 0, outstanding: 0, latencyBuckets };
    if (load?.tookMs !== undefined) latencyBuckets[Math.ceil(2 * Math.log2(load.tookMs / 0.1))] = counters.finished;
    const { runDelaySeconds, ...counted } = counters;
    const sample = { ...counted, ...rest, ...(load?.cpuWait === undefined ? {} : { runDelaySeconds }) };
    const seconds = this.#startOf(host, component, each.id);
    const since = instancesOf(this.state, 'x', component).find(({ id }) => id === each.id)?.createdAtMs ?? 0;
    const status = { id: each.id, app: 'x', component, size, restarts: 0, shards: [] };
    if (this.nowMs - since < seconds * 1000) return { ...status, phase: 'starting' };
    return { ...status, phase: 'ready', startMs: seconds * 1000, sample };
  }
}

t.test('a front end that is about to grow takes those that it calls along, in the same tick', async (t) => {
  const season = 60;
  const wave = { count: { min: 1, max: 50 }, seasonSeconds: season };
  const rig = new Rig({ web: { ...wave, calls: ['index'] }, index: { count: { min: 1, max: 50 }, seasonSeconds: 0 } });
  // Every minute the front end jumps; each of its requests makes three there.
  const at = (second: number) => {
    const perSecond = second % season < 30 ? 100 : 400;
    return { web: { perSecond, costCpu: 0.01 }, index: { perSecond: 3 * perSecond, costCpu: 0.004 } };
  };
  for (let second = 0; second < 20 * season; second += 1) rig.tick(at(second));
  // Just before the jump: the index has to be ready for it, though its own demand is low and it knows no season.
  let early = 0;
  for (let second = 0; second < 30; second += 1) {
    rig.tick(at(second));
    if (second >= 26) early = Math.max(early, rig.allotted('index'));
  }
  t.ok(rig.explanation('web').ahead?.trust === 1);
  t.ok(early >= 400 * 3 * 0.004, `${early} cores for the ${400 * 3 * 0.004} to come`);
});

t.test('who is slow by those it calls gets no CPU for it; who waits for a CPU does', async (t) => {
  const objective = { kind: 'latency', percentile: 99, targetMs: 50 } as const;
  const bounds = { count: { min: 1, max: 10 }, objective };
  const make = () => new Rig({ web: { ...bounds, calls: ['index'] }, index: bounds });
  const usual = { perSecond: 40, costCpu: 0.005, cpuWait: 0 };
  const well = { web: { ...usual, tookMs: 20 }, index: { ...usual, tookMs: 8 } };
  const slow = (cpuWait: number, indexMs: number) => ({
    web: { ...usual, cpuWait, tookMs: 90 },
    index: { ...usual, tookMs: indexMs },
  });
  const calling = make();
  calling.run(60, well);
  const before = calling.allotted('web');
  t.match(calling.explanation('web').seen.time, { cpuWaitMs: 0 });
  calling.run(30, slow(0, 80));
  const { notes, seen } = calling.explanation('web');
  t.ok(notes.includes('slow-callees'), `${notes}: ${JSON.stringify(seen.time)}`);
  t.equal(seen.time?.slowest?.callee, 'index');
  t.ok(calling.allotted('web') <= before * 1.3, `${calling.allotted('web')} cores, before ${before}`);
  const starved = make();
  starved.run(60, well);
  starved.run(30, slow(2, 8));
  t.ok(starved.explanation('web').notes.includes('cpu-wait'), `${starved.explanation('web').notes}`);
  t.ok(starved.allotted('web') > before * 1.3, `${starved.allotted('web')} cores, before ${before}`);
  const unknown = new Rig({ web: { ...bounds, calls: ['index'] }, index: bounds });
  unknown.run(60, { web: { perSecond: 40, costCpu: 0.005, tookMs: 20 }, index: { ...usual, tookMs: 8 } });
  t.notOk('time' in unknown.explanation('web').seen, 'nothing is made of what a host does not tell');
});

t.test('starved instances do not look idle: a tenfold rise is met within two ticks', async (t) => {
  const rig = new Rig({ a: { count: { min: 1, max: 50 } } });
  rig.run(60, { a: { perSecond: 50, costCpu: 0.01 } });
  const loads = { a: { perSecond: 500, costCpu: 0.01 } };
  rig.run(1, loads);
  t.equal(rig.explanation('a').demand.basis, 'arrivals');
  t.ok(Math.abs(rig.explanation('a').demand.cpu - 5) < 0.3, `${rig.explanation('a').demand.cpu}`);
  rig.run(1, loads);
  t.ok(rig.allotted('a') >= 5);
});

t.test('observed only: the plan is made, explained and goes on from itself; nothing is changed', async (t) => {
  const rig = new Rig({ a: { mode: 'observe' } });
  const before = rig.state.targets;
  rig.run(60, { a: { perSecond: 300, costCpu: 0.01 } });
  t.equal(rig.state.targets, before);
  const { after, before: from } = rig.explanation('a');
  t.ok(after.count * after.size.cpu >= 6, `${after.count} × ${after.size.cpu}`);
  t.strictSame(from.count, after.count, 'it has come to rest where it would be');
});

t.test('an app keeps its budget: the higher priority is served first, the minimum always', async (t) => {
  const rig = new Rig({ high: { priority: 900 }, low: { priority: 100 } }, { budget: { cpu: 6 } });
  const load = { perSecond: 200, costCpu: 0.01 };
  for (let second = 0; second < 60; second += 1) {
    rig.tick({ high: load, low: load });
    if (second > 3) t.ok(rig.allotted('high') + rig.allotted('low') <= 6 + 1e-6);
  }
  t.ok(rig.allotted('high') >= 4);
  t.ok(rig.allotted('low') >= 0.1 && rig.allotted('low') <= 2.01);
  t.ok(rig.explanation('low').notes.includes('budget'));
});

t.test('a budget of its own', async (t) => {
  const rig = new Rig({ a: { budget: { cpu: 1.5 } } });
  rig.run(30, { a: { perSecond: 400, costCpu: 0.01 } });
  t.ok(rig.allotted('a') <= 1.5 + 1e-9 && rig.allotted('a') > 1.3);
});

t.test('a host falls silent: what its instances do is not taken for nothing, and nothing shrinks', async (t) => {
  const rig = new Rig({ a: { count: { min: 4, max: 20 } } });
  const loads = { a: { perSecond: 300, costCpu: 0.01 } };
  rig.run(60, loads);
  const before = rig.allotted('a');
  t.equal(rig.state.instances.byHost.size, 2);
  rig.silent.add('h2');
  for (let second = 0; second < 30; second += 1) {
    rig.tick(loads);
    t.ok(rig.allotted('a') >= before - 1e-9);
    t.ok(Math.abs(rig.explanation('a').demand.cpu - 3) < 0.2, `${rig.explanation('a').demand.cpu} cores of 3`);
  }
  t.ok(rig.explanation('a').notes.includes('lost-metrics'));
});

t.test('all metrics lost: everything stays', async (t) => {
  const rig = new Rig({ a: {} });
  rig.run(60, { a: { perSecond: 300, costCpu: 0.01 } });
  const before = rig.state.targets;
  for (const host of ['h1', 'h2']) rig.silent.add(host);
  rig.run(60, {});
  t.equal(rig.state.targets, before);
});

t.test('resizes that fail end nothing: the plan goes on with the size that there is', async (t) => {
  const rig = new Rig({ a: { count: { min: 1, max: 40 } } });
  rig.run(30, { a: { perSecond: 50, costCpu: 0.01 } });
  const ids = instancesOf(rig.state, 'x', 'a').map(({ id }) => id);
  rig.stuckCpu = 0.5;
  rig.run(30, { a: { perSecond: 300, costCpu: 0.01 } });
  const now = instancesOf(rig.state, 'x', 'a');
  t.ok(ids.every((id) => now.some((each) => each.id === id && each.draining === undefined)));
  t.ok(now.length * 0.5 >= 3, `${now.length} instances of half a core for 3 cores`);
});

t.test('how long starting takes is learned: cold on a new host, warm after it, and stored with all else', async (t) => {
  const rig = new Rig({ a: { count: { min: 1, max: 50 } } }, {}, ['h1']);
  rig.startSeconds = { cold: 20, warm: 0.3 };
  const start = () => rig.explanation('a').learned.start;
  rig.run(30, { a: { perSecond: 50, costCpu: 0.01 } });
  t.match(start(), { seconds: 40, kind: 'cold', seen: 1 }, 'one alone is taken for more');
  t.equal(rig.explanation('a').ahead?.seconds, 41, 'planned so far ahead');
  for (let i = 0; i < 12; i += 1) {
    rig.run(20, { a: { perSecond: 100 + 100 * i, costCpu: 0.01 } });
  }
  t.match(start(), { kind: 'warm' });
  t.ok((start()?.seconds ?? 9) < 0.4, `${start()?.seconds} s`);
  t.equal(rig.explanation('a').ahead?.seconds, 1 + (start()?.seconds ?? 9), 'and until the next plan');
});

t.test('what was there before the coordinator or its host dialled tells nothing of starting', async (t) => {
  const rig = new Rig({ a: { count: { min: 1, max: 50 } } });
  rig.run(1, { a: { perSecond: 50, costCpu: 0.01 } });
  const before = rig.state;
  rig.nowMs += 3_600_000;
  rig.observed = startObserving(rig.nowMs);
  rig.dial();
  rig.memory.clear();
  rig.run(3, { a: { perSecond: 50, costCpu: 0.01 } });
  t.equal(rig.state.instances.byComponent.get('x/a')?.[0]?.id, before.instances.byComponent.get('x/a')?.[0]?.id);
  t.equal(rig.explanation('a').learned.start?.kind, 'assumed');
});
