import { LATENCY_BUCKETS } from '../../protocol/control.js';
import { type InstanceFacts, SAMPLE_FIELDS } from '../../protocol/instance-news.js';
import type { HostInfo } from '../../protocol/link.js';
import type { Component, Manifest } from '../../protocol/manifest.js';
import { normalFrom } from '../brain/forecast/random.js';
import { place } from '../brain/placement.js';
import { assignShards } from '../brain/shards.js';
import { applyManifest, type ClusterState, componentKey, EMPTY_CLUSTER, setTargets } from '../cluster.js';
import type { InstanceRecord } from '../instance-table.js';
import { hostConnected, hostDisconnected, type Observed, startObserving, takeNews } from '../observed.js';
import { plan } from '../planner.js';
import { noteCalledInVain, type PlannerMemory } from '../planner-memory.js';
import { reconcile } from '../reconcile.js';
import { SettledComponents } from '../settled.js';
import { NOTHING_MEASURED } from '../traffic.js';
import type { Allotment } from './count-policy.js';
import type { GroundInstance, Wanted } from './ground.js';
import { HostReports, Tally } from './host-reports.js';
import { BINS, type LatencyBook } from './latency-book.js';
import type { Policy, View } from './policy.js';
import type { Noise } from './scalers.js';

const BRAIN = { place, assignShards };
const MEMORY_BYTES = 40 * 2 ** 20;
const NONE: number[] = [];
const NOTHING_DONE = {
  cpuSeconds: 0,
  memoryBytes: MEMORY_BYTES,
  ioReadBytes: 0,
  ioWriteBytes: 0,
  arrived: 0,
  finished: 0,
  failed: 0,
  outstanding: 0,
};
const CPU_SECONDS = SAMPLE_FIELDS.indexOf('cpuSeconds');
const ARRIVED = SAMPLE_FIELDS.indexOf('arrived');
const FINISHED = SAMPLE_FIELDS.indexOf('finished');
const FAILED = SAMPLE_FIELDS.indexOf('failed');
const OUTSTANDING = SAMPLE_FIELDS.indexOf('outstanding');

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
  /** Of the hosts that are there. */
  readonly #reports: Map<string, HostReports>;
  readonly #noise: Noise;
  readonly #calls: () => number;
  #state: ClusterState;
  #observed: Observed = startObserving(0);
  readonly #memory: PlannerMemory = new Map();
  /** By instance, of each component. */
  readonly #tallies: ReadonlyMap<string, Tally>[];
  readonly #settled = new SettledComponents();
  #askedAt = 0;
  readonly #lists = new WeakMap<readonly InstanceRecord[], readonly Wanted[]>();

  constructor({ manifest, names, hosts, starts, noise, calls, tickSeconds }: ShoalOptions) {
    this.periodSeconds = tickSeconds;
    this.#app = manifest.app;
    this.#names = names;
    this.#reports = new Map(hosts.map(({ name }) => [name, new HostReports()]));
    this.#noise = noise;
    this.#calls = calls;
    this.#tallies = names.map(() => new Map());
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
    for (const [index, view] of views.entries()) this.#report(now, index, view);
    for (const [host, reports] of this.#reports) {
      takeNews(this.#observed, host, { ...reports.finish(), revision: this.#state.revision }, nowMs);
    }
    this.#askedAt = now;
    if (now > 0) {
      this.#state = plan(this.#state, this.#observed, this.#memory, nowMs, { stepSeconds: this.periodSeconds });
    }
    this.#state = reconcile(this.#state, this.#observed, BRAIN, nowMs, NOTHING_MEASURED, this.#settled).state;
    return this.#names.map((name) => this.#wanted(name));
  }

  hostFailed(host: string, now: number): void {
    this.#reports.delete(host);
    this.#observed = hostDisconnected(this.#observed, host, now * 1000);
  }

  /** What the agents say of a component's instances, each of which did its share since the last time. */
  #report(now: number, index: number, view: View): void {
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
    const rises = {
      cpuSeconds: rise(totals.cpuSeconds) * Math.max(0, 1 + error),
      arrived: rise(totals.arrived),
      finished: rise(totals.finished),
      failed: rise(totals.failed),
    };
    const calls = callsOf(recent, this.#calls);
    const before = this.#tallies[index] as ReadonlyMap<string, Tally>;
    const tallies = new Map<string, Tally>();
    let nth = 0;
    for (const instance of view.instances) {
      const reports = this.#reports.get(instance.host);
      if (reports === undefined) continue;
      const tally = before.get(instance.id) ?? new Tally(NOTHING_DONE);
      tallies.set(instance.id, tally);
      const serves = instance.readyAt <= now && !instance.leaving;
      tally.fields[OUTSTANDING] = serves ? outstanding * share : 0;
      if (serves) {
        count(tally, rises);
        countPart(tally, calls, nth * share, (nth + 1) * share);
        nth += 1;
      }
      const facts = this.#factsOf(now, component, instance, tally.said);
      // Before it serves it has nothing to say.
      reports.add(facts, tally, facts.phase !== 'starting');
    }
    this.#tallies[index] = tallies;
  }

  /** What was said last, where nothing is new. */
  #factsOf(now: number, component: string, instance: GroundInstance, said: InstanceFacts | null): InstanceFacts {
    const { id, readyAt, createdAt, leaving, cpu } = instance;
    const phase = leaving ? 'draining' : readyAt <= now ? 'ready' : 'starting';
    if (said?.phase === phase && said.size.cpu === cpu) return said;
    const size = { cpu, memory: MEMORY_BYTES };
    const startMs = (readyAt - createdAt) * 1000;
    return { id, app: this.#app, component, phase, size, restarts: 0, startMs, shards: NONE };
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

/** What one of those that serve has done since the last time. */
type Rises = Record<'cpuSeconds' | 'arrived' | 'finished' | 'failed', number>;

function count({ fields }: Tally, { cpuSeconds, arrived, finished, failed }: Rises): void {
  (fields[CPU_SECONDS] as number) += cpuSeconds;
  (fields[ARRIVED] as number) += arrived;
  (fields[FINISHED] as number) += finished;
  (fields[FAILED] as number) += failed;
}

/** What falls to one of several, who get the shares from `from` to `to`, so that no call is split or lost. */
function countPart({ buckets }: Tally, calls: readonly Calls[], from: number, to: number): void {
  for (const { bucket, count } of calls) {
    const part = Math.floor(count * to + 1e-9) - Math.floor(count * from + 1e-9);
    if (part > 0) (buckets[bucket] as number) += part;
  }
}
