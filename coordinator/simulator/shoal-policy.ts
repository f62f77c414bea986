import { LATENCY_BUCKETS } from '../../protocol/control.js';
import type { HostInfo, InstanceStatus, Sample } from '../../protocol/link.js';
import type { Manifest } from '../../protocol/manifest.js';
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
  #state: ClusterState;
  #observed: Observed = startObserving(0);
  readonly #memory: PlannerMemory = new Map();
  #samples: ReadonlyMap<string, Sample>[];
  #askedAt = 0;
  readonly #lists = new WeakMap<readonly InstanceRecord[], readonly Wanted[]>();

  constructor({ manifest, names, hosts, starts, noise, tickSeconds }: ShoalOptions) {
    this.periodSeconds = tickSeconds;
    this.#app = manifest.app;
    this.#names = names;
    this.#hosts = new Set(hosts.map(({ name }) => name));
    this.#noise = noise;
    this.#samples = names.map(() => new Map());
    for (const info of hosts) this.#observed = hostConnected(this.#observed, info, 0);
    const targets = names.map((component, index) => {
      const { count = 1, cpu = 1 } = starts[index] ?? {};
      const memory = manifest.components[component]?.size.memory.max ?? MEMORY_BYTES;
      return { app: manifest.app, component, target: { count, size: { cpu, memory } } };
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
    const buckets = bucketsOf(recent, share);
    const before = this.#samples[index] as ReadonlyMap<string, Sample>;
    const samples = new Map<string, Sample>();
    for (const instance of view.instances) {
      const { id, host } = instance;
      if (!this.#hosts.has(host)) continue;
      const known = before.get(id) ?? NO_SAMPLE;
      const sample =
        instance.readyAt > now || instance.leaving
          ? { ...known, outstanding: 0 }
          : {
              ...known,
              cpuSeconds: known.cpuSeconds + cpu,
              arrived: known.arrived + arrived,
              finished: known.finished + finished,
              failed: known.failed + failed,
              outstanding: outstanding * share,
              latencyBuckets: known.latencyBuckets.map((count, bucket) => count + (buckets[bucket] as number)),
            };
      samples.set(id, sample);
      statuses.get(host)?.push(this.#status(now, component, instance, sample));
    }
    this.#samples[index] = samples;
  }

  #status(now: number, component: string, instance: GroundInstance, sample: Sample): InstanceStatus {
    const { id, readyAt, leaving, cpu } = instance;
    const phase = leaving ? 'draining' : readyAt <= now ? 'ready' : 'starting';
    const status = { id, app: this.#app, component, phase, restarts: 0, shards: [] } as const;
    const whole: InstanceStatus = { ...status, shards: [], size: { cpu, memory: MEMORY_BYTES } };
    // Before it serves it has nothing to say.
    return phase === 'starting' ? whole : { ...whole, sample };
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

function bucketsOf(book: LatencyBook, share: number): Float64Array {
  const buckets = new Float64Array(LATENCY_BUCKETS);
  const perBucket = BINS / LATENCY_BUCKETS;
  for (let bin = 0; bin < BINS; bin += 1) {
    (buckets[Math.floor(bin / perBucket)] as number) += share * (book.bins[bin] as number);
  }
  return buckets;
}
