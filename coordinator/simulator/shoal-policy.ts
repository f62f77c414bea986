import { LATENCY_BUCKETS } from '../../protocol/control.js';
import type { HostInfo, InstanceStatus, Sample } from '../../protocol/link.js';
import type { Component, Manifest } from '../../protocol/manifest.js';
import { normalFrom } from '../brain/forecast/random.js';
import { place } from '../brain/placement.js';
import { assignShards } from '../brain/shards.js';
import { applyManifest, type ClusterState, componentKey, EMPTY_CLUSTER, setTargets } from '../cluster.js';
import type { InstanceRecord } from '../instance-table.js';
import { hostConnected, hostDisconnected, type Observed, startObserving, takeReport } from '../observed.js';
import { plan } from '../planner.js';
import { noteCalledInVain, type PlannerMemory } from '../planner-memory.js';
import { reconcile } from '../reconcile.js';
import type { Allotment } from './count-policy.js';
import type { GroundInstance, Wanted } from './ground.js';
import { BINS, type LatencyBook } from './latency-book.js';
import type { Policy, View } from './policy.js';
import type { Noise } from './scalers.js';

const BRAIN = { place, assignShards };
const MEMORY_BYTES = 40 * 2 ** 20;
const NONE: number[] = [];
const NO_SAMPLE: Sample = {
  cpuSeconds: 0,
  memoryBytes: MEMORY_BYTES,
  ioReadBytes: 0,
  ioWriteBytes: 0,
  arrived: 0,
  finished: 0,
  failed: 0,
  outstanding: 0,
  latencyBuckets: Array.from({ length: LATENCY_BUCKETS }, () => 0),
};

export interface ShoalOptions {
  manifest: Manifest;
  /** Components of the manifest, in the simulator's order. */
  names: readonly string[];
  hosts: readonly HostInfo[];
  starts: readonly Allotment[];
  noise: Noise;
  /** Draws which fraction of a call counts as a whole one. */
  calls: () => number;
  tickSeconds: number;
}

/**
 * Shoal itself: the live loop's plan and reconcile over a cluster state, fed with the reports that agents would send of
 * the simulated instances.
 */
export class ShoalPolicy implements Policy {
  readonly periodSeconds: number;
  readonly #app: string;
  readonly #names: readonly string[];
  readonly #hosts: Set<string>;
  readonly #noise: Noise;
  readonly #calls: () => number;
  #state: ClusterState;
  #observed: Observed = startObserving(0);
  readonly #memory: PlannerMemory = new Map();
  #samples: ReadonlyMap<string, Sample>[];
  #askedAt = 0;
  readonly #lists = new WeakMap<readonly InstanceRecord[], readonly Wanted[]>();

  constructor({ manifest, names, hosts, starts, noise, calls, tickSeconds }: ShoalOptions) {
    this.periodSeconds = tickSeconds;
    this.#app = manifest.app;
    this.#names = names;
    this.#hosts = new Set(hosts.map(({ name }) => name));
    this.#noise = noise;
    this.#calls = calls;
    this.#samples = names.map(() => new Map());
    for (const info of hosts) this.#observed = hostConnected(this.#observed, info, 0);
    const targets = names.map((name, index) => {
      const { count = 1, cpu = 1 } = starts[index] ?? {};
      const component = manifest.components[name] as Component;
      const { memory } = component.size;
      return { key: componentKey(manifest.app, name), component, target: { count, size: { cpu, memory: memory.max } } };
    });
    this.#state = setTargets(applyManifest(EMPTY_CLUSTER, manifest), targets);
  }

  decide(now: number, views: readonly View[]): readonly (readonly Wanted[])[] {
    const nowMs = now * 1000;
    const statuses = new Map<string, InstanceStatus[]>([...this.#hosts].map((host) => [host, []]));
    for (const [index, view] of views.entries()) this.#report(now, index, view, statuses);
    for (const [host, list] of statuses) {
      this.#observed = takeReport(this.#observed, host, this.#state.revision, list, nowMs);
    }
    this.#askedAt = now;
    if (now > 0) {
      this.#state = plan(this.#state, this.#observed, this.#memory, nowMs, { stepSeconds: this.periodSeconds });
    }
    this.#state = reconcile(this.#state, this.#observed, BRAIN, nowMs).state;
    return this.#names.map((name) => this.#wanted(name));
  }

  hostFailed(host: string, now: number): void {
    this.#hosts.delete(host);
    this.#observed = hostDisconnected(this.#observed, host, now * 1000);
  }

  /** What the agents say of a component's instances, each of which did its share since the last time. */
  #report(now: number, index: number, view: View, statuses: Map<string, InstanceStatus[]>): void {
    const component = this.#names[index] ?? '';
    const { totals, outstanding, recent } = view;
    const since = this.#askedAt;
    const serving = view.instances.filter(({ readyAt, leaving }) => readyAt <= now && !leaving);
    if (serving.length === 0 && outstanding > 0) {
      noteCalledInVain(this.#memory, componentKey(this.#app, component), now * 1000);
    }
    const share = 1 / Math.max(1, serving.length);
    const rise = (total: Float64Array) => ((total[now] as number) - (total[since] as number)) * share;
    const error = (this.#noise.share / Math.sqrt(Math.max(1, serving.length))) * normalFrom(this.#noise.random);
    const cpu = rise(totals.cpuSeconds) * Math.max(0, 1 + error);
    const arrived = rise(totals.arrived);
    const finished = rise(totals.finished);
    const failed = rise(totals.failed);
    const calls = callsOf(recent, this.#calls);
    const before = this.#samples[index] as ReadonlyMap<string, Sample>;
    const samples = new Map<string, Sample>();
    let nth = 0;
    for (const instance of view.instances) {
      const { id, host } = instance;
      if (!this.#hosts.has(host)) continue;
      const known = before.get(id) ?? NO_SAMPLE;
      const serves = instance.readyAt <= now && !instance.leaving;
      const [from, to] = [nth * share, (nth + 1) * share];
      if (serves) nth += 1;
      // All of it written out: that is far faster than spreading `known`, and there may be hundreds each second.
      const sample: Sample = {
        cpuSeconds: serves ? known.cpuSeconds + cpu : known.cpuSeconds,
        memoryBytes: MEMORY_BYTES,
        ioReadBytes: 0,
        ioWriteBytes: 0,
        arrived: serves ? known.arrived + arrived : known.arrived,
        finished: serves ? known.finished + finished : known.finished,
        failed: serves ? known.failed + failed : known.failed,
        outstanding: serves ? outstanding * share : 0,
        latencyBuckets: serves ? withPart(known.latencyBuckets, calls, from, to) : known.latencyBuckets,
      };
      samples.set(id, sample);
      statuses.get(host)?.push(this.#status(now, component, instance, sample));
    }
    this.#samples[index] = samples;
  }

  #status(now: number, component: string, instance: GroundInstance, sample: Sample): InstanceStatus {
    const { id, readyAt, createdAt, leaving, cpu } = instance;
    const phase = leaving ? 'draining' : readyAt <= now ? 'ready' : 'starting';
    const size = { cpu, memory: MEMORY_BYTES };
    const startMs = (readyAt - createdAt) * 1000;
    const status: InstanceStatus = { id, app: this.#app, component, phase, size, restarts: 0, startMs, shards: NONE };
    // Before it serves it has nothing to say.
    if (phase !== 'starting') status.sample = sample;
    return status;
  }

  #wanted(name: string): readonly Wanted[] {
    const group = this.#state.instances.byComponent.get(componentKey(this.#app, name)) ?? [];
    let list = this.#lists.get(group);
    if (list === undefined) {
      list = group.map(({ id, host, size, draining }) => {
        return { id, host, cpu: size.cpu, leaving: draining !== undefined };
      });
      this.#lists.set(group, list);
    }
    return list;
  }
}

/** Whole calls by bucket, as an agent counts them; fractions of them, which the engine `flow` has, become one at random. */
function callsOf(book: LatencyBook, random: () => number): Calls[] {
  const buckets = new Float64Array(LATENCY_BUCKETS);
  const perBucket = BINS / LATENCY_BUCKETS;
  for (let bin = book.low; bin <= book.high; bin += 1) {
    (buckets[Math.floor(bin / perBucket)] as number) += book.bins[bin] as number;
  }
  const list: Calls[] = [];
  for (const [bucket, calls] of buckets.entries()) {
    const whole = Math.floor(calls);
    const count = calls > whole && random() < calls - whole ? whole + 1 : whole;
    if (count > 0) list.push({ bucket, count });
  }
  return list;
}

interface Calls {
  bucket: number;
  count: number;
}

/** With what falls to one of several, who get the shares from `from` to `to`, so that no call is split or lost. */
function withPart(known: readonly number[], calls: readonly Calls[], from: number, to: number): number[] {
  const buckets = known.slice();
  for (const { bucket, count } of calls) {
    const part = Math.floor(count * to + 1e-9) - Math.floor(count * from + 1e-9);
    if (part > 0) buckets[bucket] = (buckets[bucket] as number) + part;
  }
  return buckets;
}
