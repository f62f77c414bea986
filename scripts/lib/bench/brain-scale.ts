import { fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { randomFrom } from '../../../coordinator/brain/forecast/random.js';
import { place } from '../../../coordinator/brain/placement.js';
import { assignShards } from '../../../coordinator/brain/shards.js';
import { applyManifest, type ClusterState, EMPTY_CLUSTER } from '../../../coordinator/cluster.js';
import { DecisionLog } from '../../../coordinator/decisions.js';
import { countInstances, type InstanceRecord } from '../../../coordinator/instance-table.js';
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
import { quantile } from '../demo/recorder.js';
import { alone, type Row } from './rows.js';

/** Instances; a component has about ten of them, a host about a hundred. */
const SIZES = [1_000, 10_000, 100_000];
const COMPONENTS_PER_APP = 10;
const INSTANCES_PER_COMPONENT = 10;
const INSTANCES_PER_HOST = 100;
const WARM_TICKS = 10;
const MEASURED_TICKS = 30;
/** Demand rises and falls by a fifth in such a time: within it a size seldom holds, or, as over a day, nearly always. */
const PERIODS = { restless: 60, calm: 86_400 };
const MEMORY_MIB = 1_024;
const CORES_PER_INSTANCE = 0.5;
const BRAIN = { place, assignShards };

/** Parts of a second's work, in their order. */
const PARTS = ['reports taken in', 'plan', 'heat, talk and weights', 'decisions told', 'reconcile', 'batch'] as const;
type Part = (typeof PARTS)[number];

interface Result {
  instances: number;
  /** Of each tick, ms; and the CPU time of all threads, those of the garbage collector among them. */
  tickMs: number[];
  tickCpuMs: number[];
  /** The tick, and before it the reports of that second. */
  secondMs: number[];
  secondCpuMs: number[];
  /** CPU time of each second, ms. */
  partCpuMs: Record<Part, number[]>;
  /** Wanted instances that a tick created, drained or resized. */
  changed: number;
  rssMiB: number;
  period: Period;
}

/**
 * One planning tick at growing sizes: from the sums to the moves, that is plan, heat and weights, decisions, reconcile and
 * the batch for the store, without the disk; and what comes before it, the reports of all hosts, from the frames as the
 * link's sockets deliver them: decoded, checked and taken in. Each size runs in a process of its own whose heap is
 * bounded. Demand follows a wave with noise of a twentieth; where it is restless, a quarter of the instances are resized
 * each second.
 */
export async function benchBrainScale(): Promise<Row[]> {
  const rows: Row[] = [];
  const results: Result[] = [];
  for (const size of SIZES) results.push(await measureApart(size, 'restless'));
  const most = SIZES.at(-1) as number;
  const calm = await measureApart(most, 'calm');
  for (const result of [...results, calm]) rows.push(...rowsOf(result));
  const points = results.map(
    ({ instances, tickMs }) => [Math.log(instances), Math.log(quantile(tickMs, 0.5))] as const,
  );
  rows.push(alone('growth of the tick with size (1: linear, 2: quadratic)', 'exponent', slopeOf(points)));
  return rows;
}

function rowsOf({
  instances,
  tickMs,
  tickCpuMs,
  secondMs,
  secondCpuMs,
  partCpuMs,
  changed,
  rssMiB,
  period,
}: Result): Row[] {
  const of = `${instances} instances, ${period}`;
  return [
    alone(`tick, ${of}, p50`, 'ms', quantile(tickMs, 0.5)),
    alone(`tick, ${of}, p99`, 'ms', quantile(tickMs, 0.99)),
    alone(`tick, ${of}, CPU time, p50`, 'ms', quantile(tickCpuMs, 0.5)),
    alone(`tick and reports, ${of}, p50`, 'ms', quantile(secondMs, 0.5)),
    alone(`tick and reports, ${of}, CPU time, p50`, 'ms', quantile(secondCpuMs, 0.5)),
    ...PARTS.map((part) => alone(`${part}, ${of}, CPU time, p50`, 'ms', quantile(partCpuMs[part], 0.5))),
    alone(`changed a tick, ${of}`, 'instances', changed),
    alone(`memory of the process, ${of}`, 'MiB', rssMiB),
  ];
}

type Period = keyof typeof PERIODS;

function measureApart(size: number, period: Period): Promise<Result> {
  return new Promise((resolve, reject) => {
    const execArgv = [`--max-old-space-size=${MEMORY_MIB}`];
    const child = fork(fileURLToPath(import.meta.url), [String(size), period], { execArgv });
    let result: Result | undefined;
    child.on('message', (message) => {
      result = message as Result;
    });
    child.on('error', reject);
    child.on('exit', (code) => {
      if (result !== undefined && code === 0) resolve(result);
      else
        reject(new Error(`${size} instances: the process ended with ${code}, its heap bounded to ${MEMORY_MIB} MiB`));
    });
  });
}

function measure(size: number, period: Period): Result {
  const cluster = new SimulatedCluster(size, PERIODS[period]);
  const tickMs: number[] = [];
  const tickCpuMs: number[] = [];
  const secondMs: number[] = [];
  const secondCpuMs: number[] = [];
  const partCpuMs = Object.fromEntries(PARTS.map((part) => [part, []])) as unknown as Record<Part, number[]>;
  let changed = 0;
  for (let second = 0; second < WARM_TICKS + MEASURED_TICKS; second += 1) {
    const watch = new StopWatch();
    cluster.report(watch);
    const reports = watch.sum();
    const steps = cluster.tick(watch);
    if (second < WARM_TICKS) continue;
    const all = watch.sum();
    secondMs.push(all.ms);
    secondCpuMs.push(all.cpuMs);
    tickMs.push(all.ms - reports.ms);
    tickCpuMs.push(all.cpuMs - reports.cpuMs);
    for (const part of PARTS) partCpuMs[part].push(watch.cpuMs.get(part) ?? 0);
    changed += steps / MEASURED_TICKS;
  }
  const instances = countInstances(cluster.state.instances);
  const rssMiB = process.resourceUsage().maxRSS / 1024;
  return { instances, tickMs, tickCpuMs, secondMs, secondCpuMs, partCpuMs, changed, rssMiB, period };
}

/** Adds up what the parts of a second's work take. */
class StopWatch {
  /** CPU time of all threads, by part. */
  readonly cpuMs = new Map<Part, number>();
  #ms = 0;

  /** Does the work, and answers what it answers. */
  time<T>(part: Part, work: () => T): T {
    const used = process.cpuUsage();
    const start = performance.now();
    const result = work();
    this.#ms += performance.now() - start;
    const { user, system } = process.cpuUsage(used);
    this.cpuMs.set(part, (this.cpuMs.get(part) ?? 0) + (user + system) / 1000);
    return result;
  }

  sum(): { ms: number; cpuMs: number } {
    return { ms: this.#ms, cpuMs: [...this.cpuMs.values()].reduce((sum, each) => sum + each, 0) };
  }
}

/** Hosts whose agents do at once what they are told and whose instances share their component's demand. */
class SimulatedCluster {
  state: ClusterState = EMPTY_CLUSTER;
  #observed: Observed = startObserving(0);
  readonly #memory: PlannerMemory = new Map();
  #nowMs = 0;
  readonly #phases = new Map<string, number>();
  readonly #work = new Map<string, { cpuSeconds: number; calls: number }>();
  readonly #traffic = new Traffic();
  readonly #settled = new SettledComponents();
  readonly #decisions = new DecisionLog();
  readonly #random = randomFrom(7);
  readonly #reader = new FrameReader();
  readonly #writers = new Map<string, NewsWriter>();

  constructor(
    size: number,
    private readonly periodSeconds: number,
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
    this.tick(new StopWatch());
  }

  /** What all agents report after one more second, host by host. What agents do to say it is not timed. */
  report(watch: StopWatch): void {
    this.#nowMs += 1_000;
    const demands = new Map<string, number>();
    for (const [key, group] of this.state.instances.byComponent) {
      const angle = 2 * Math.PI * (this.#nowMs / 1000 / this.periodSeconds + (this.#phases.get(key) ?? 0));
      const cores = INSTANCES_PER_COMPONENT * CORES_PER_INSTANCE * 0.55 * (1 + 0.2 * Math.sin(angle));
      demands.set(key, (cores * (0.97 + 0.06 * this.#random())) / group.length);
    }
    const { revision } = this.state;
    for (const [host, group] of this.state.instances.byHost) {
      const instances = group.map((each) => this.#statusOf(each, demands));
      const news = toWire(this.#writerOf(host).write(instances));
      const frame = encodeFrame({ type: 'report', atMs: this.#nowMs, revision, ...news, events: [] });
      watch.time('reports taken in', () => this.#take(host, frame));
    }
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

  /** As the loop does, without the disk. Answers how many instances were touched. */
  tick(watch: StopWatch): number {
    const nowMs = this.#nowMs;
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

/** Least squares. */
function slopeOf(points: readonly (readonly [number, number])[]): number {
  const mean = (of: 0 | 1) => points.reduce((sum, point) => sum + point[of], 0) / points.length;
  const [x, y] = [mean(0), mean(1)];
  const over = points.reduce((sum, point) => sum + (point[0] - x) * (point[1] - y), 0);
  return over / points.reduce((sum, point) => sum + (point[0] - x) ** 2, 0);
}

const [size, period] = process.argv.slice(2);
if (process.send !== undefined && process.argv[1] === fileURLToPath(import.meta.url))
  process.send(measure(Number(size), period as Period));
