import { randomFrom } from '../../../coordinator/brain/forecast/random.js';
import { place } from '../../../coordinator/brain/placement.js';
import { assignShards } from '../../../coordinator/brain/shards.js';
import { applyManifest, type ClusterState, EMPTY_CLUSTER } from '../../../coordinator/cluster.js';
import { DecisionLog } from '../../../coordinator/decisions.js';
import type { InstanceRecord } from '../../../coordinator/instance-table.js';
import { readAgentMessage } from '../../../coordinator/link-messages.js';
import { hostConnected, type Observed, startObserving, takeNews, takeReport } from '../../../coordinator/observed.js';
import { differences } from '../../../coordinator/persist.js';
import { plan } from '../../../coordinator/planner.js';
import type { PlannerMemory } from '../../../coordinator/planner-memory.js';
import { reconcile } from '../../../coordinator/reconcile.js';
import { SettledComponents } from '../../../coordinator/settled.js';
import { shiftWeights } from '../../../coordinator/shift-weights.js';
import { tell } from '../../../coordinator/tell.js';
import { Traffic } from '../../../coordinator/traffic.js';
import { LATENCY_BUCKETS } from '../../../protocol/control.js';
import { encodeFrame, FrameReader } from '../../../protocol/frame.js';
import { NewsWriter, toWire } from '../../../protocol/instance-news.js';
import type { InstanceStatus } from '../../../protocol/link.js';
import type { Component, Manifest } from '../../../protocol/manifest.js';

/** A component has about ten instances, a host about a hundred. */
const COMPONENTS_PER_APP = 10;
const INSTANCES_PER_COMPONENT = 10;
const INSTANCES_PER_HOST = 100;
const CORES_PER_INSTANCE = 0.5;
const BRAIN = { place, assignShards };

/** Parts of a second's work, in their order. */
export const PARTS = [
  'reports taken in',
  'plan',
  'heat, talk and weights',
  'decisions told',
  'reconcile',
  'batch',
] as const;
export type Part = (typeof PARTS)[number];

/** Does a part of the work, and answers what it answers. */
export interface Watch {
  time<T>(part: Part, work: () => T): T;
}

const UNTIMED: Watch = { time: (_, work) => work() };

/** Hosts whose agents do at once what they are told and whose instances share their component's demand. */
export class SimulatedCluster {
  state: ClusterState = EMPTY_CLUSTER;
  #observed: Observed = startObserving(0);
  readonly #memory: PlannerMemory = new Map();
  #nowMs = 0;
  readonly #phases = new Map<string, number>();
  readonly #work = new Map<string, { cpuSeconds: number; calls: number }>();
  readonly #traffic = new Traffic();
  #settled = new SettledComponents();
  readonly #decisions = new DecisionLog();
  readonly #random = randomFrom(7);
  readonly #reader = new FrameReader();
  readonly #writers = new Map<string, NewsWriter>();

  /** `fromScratch`: nothing is kept between ticks of what follows from the state; far slower, and to no other effect. */
  constructor(
    size: number,
    private readonly periodSeconds: number,
    private readonly fromScratch = false,
  ) {
    const components = size / INSTANCES_PER_COMPONENT;
    for (let i = 0; i < size / INSTANCES_PER_HOST; i += 1) {
      const info = { name: `host-${i}`, cores: 64, memoryBytes: 2 ** 38, kernel: '6', degraded: [] };
      hostConnected(this.#observed, info, 0);
      this.#observed = takeReport(this.#observed, info.name, 0, [], 0);
    }
    for (let i = 0; i < components / COMPONENTS_PER_APP; i += 1) this.state = applyManifest(this.state, manifestOf(i));
    for (const app of Object.keys(this.state.apps)) {
      for (let c = 0; c < COMPONENTS_PER_APP; c += 1) this.#phases.set(`${app}/c${c}`, this.#random());
    }
    this.tick(UNTIMED);
  }

  /** What all agents report after one more second, host by host. What agents do to say it is not timed. */
  report(watch: Watch): void {
    this.#nowMs += 1_000;
    const demands = new Map<string, number>();
    for (const [key, group] of this.state.instances.byComponent) {
      const angle = 2 * Math.PI * (this.#nowMs / 1000 / this.periodSeconds + (this.#phases.get(key) ?? 0));
      const cores = INSTANCES_PER_COMPONENT * CORES_PER_INSTANCE * 0.55 * (1 + 0.2 * Math.sin(angle));
      demands.set(key, (cores * (0.97 + 0.06 * this.#random())) / group.length);
    }
    const { revision } = this.state;
    const frames = [...this.state.instances.byHost].map(([host, group]) => {
      const instances = group.map((each) => this.#statusOf(each, demands));
      const news = toWire(this.#writerOf(host).write(instances));
      return { host, frame: encodeFrame({ type: 'report', atMs: this.#nowMs, revision, ...news, events: [] }) };
    });
    // Together: to look at the clocks takes longer than a report.
    watch.time('reports taken in', () => {
      for (const { host, frame } of frames) this.#take(host, frame);
    });
  }

  #writerOf(host: string): NewsWriter {
    let writer = this.#writers.get(host);
    if (writer === undefined) {
      writer = new NewsWriter();
      this.#writers.set(host, writer);
    }
    return writer;
  }

  #statusOf(
    { id, app, component, size, draining }: InstanceRecord,
    demands: ReadonlyMap<string, number>,
  ): InstanceStatus {
    const cores = Math.min(size.cpu, demands.get(`${app}/${component}`) ?? 0);
    const work = this.#work.get(id) ?? { cpuSeconds: 0, calls: 0 };
    work.cpuSeconds += cores;
    work.calls += Math.round(cores * 200);
    this.#work.set(id, work);
    const sample = {
      cpuSeconds: work.cpuSeconds,
      memoryBytes: 40 * 2 ** 20,
      ioReadBytes: 0,
      ioWriteBytes: 0,
      arrived: work.calls,
      finished: work.calls,
      failed: 0,
      outstanding: draining === undefined ? 1 : 0,
      latencyBuckets: Array.from({ length: LATENCY_BUCKETS }, (_, i) => (i === 12 ? work.calls : 0)),
      busyMs: work.calls * 5,
      called: {},
    };
    const phase = draining === undefined ? 'ready' : 'draining';
    return { id, app, component, size, phase, restarts: 0, shards: [], sample };
  }

  /** As the link does. */
  #take(host: string, frame: Buffer): void {
    for (const message of this.#reader.push(frame)) {
      const report = readAgentMessage(message);
      if (report.type !== 'report') throw new Error(`a ${report.type} in place of a report`);
      takeNews(this.#observed, host, report, this.#nowMs);
    }
  }

  /** One more second. */
  second(): void {
    this.report(UNTIMED);
    this.tick(UNTIMED);
  }

  /** As the loop does, without the disk. Answers how many instances were touched. */
  tick(watch: Watch): number {
    const nowMs = this.#nowMs;
    if (this.fromScratch) {
      // As read from the store: no record is the one that something was worked out for.
      this.state = structuredClone(this.state);
      this.#settled = new SettledComponents();
    }
    const planned = watch.time('plan', () => plan(this.state, this.#observed, this.#memory, nowMs));
    const shifted = watch.time('heat, talk and weights', () => {
      const looked = this.#traffic.look(planned, this.#observed, nowMs);
      return shiftWeights(planned, looked, this.#traffic, nowMs);
    });
    watch.time('decisions told', () => this.#decisions.stage(tell(planned, this.#memory)));
    const { state, steps } = watch.time('reconcile', () =>
      reconcile(shifted.state, this.#observed, BRAIN, nowMs, this.#traffic, this.#settled),
    );
    watch.time('batch', () => {
      const batch = [...differences(this.state, state), ...this.#decisions.operations()];
      if (batch.length === 0 && state.revision !== this.state.revision) throw new Error('a change that is not stored');
      this.#decisions.committed();
    });
    this.state = state;
    return steps.reduce((sum, { count = 1 }) => sum + count, 0);
  }
}

function manifestOf(index: number): Manifest {
  const component: Component = {
    source: { kind: 'rootfs', rootfs: 'host' },
    command: ['x'],
    env: {},
    count: { min: 8, max: 14 },
    size: {
      cpu: { min: 0.1, max: CORES_PER_INSTANCE },
      memory: { min: 64 * 2 ** 20, max: 128 * 2 ** 20 },
    },
    objective: { kind: 'utilisation', target: 0.7 },
    state: 'none',
    calls: [],
    ports: [],
  };
  const names = Array.from({ length: COMPONENTS_PER_APP }, (_, i) => `c${i}`);
  return { app: `app-${index}`, components: Object.fromEntries(names.map((name) => [name, component])) };
}
