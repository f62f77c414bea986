import { fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { randomFrom } from '../../../coordinator/brain/forecast/random.js';
import { place } from '../../../coordinator/brain/placement.js';
import { assignShards } from '../../../coordinator/brain/shards.js';
import { applyManifest, type ClusterState, EMPTY_CLUSTER } from '../../../coordinator/cluster.js';
import { DecisionLog } from '../../../coordinator/decisions.js';
import { countInstances } from '../../../coordinator/instance-table.js';
import { hostConnected, type Observed, startObserving, takeReport } from '../../../coordinator/observed.js';
import { differences } from '../../../coordinator/persist.js';
import { plan } from '../../../coordinator/planner.js';
import type { PlannerMemory } from '../../../coordinator/planner-memory.js';
import { reconcile } from '../../../coordinator/reconcile.js';
import { shiftWeights } from '../../../coordinator/shift-weights.js';
import { tell } from '../../../coordinator/tell.js';
import { Traffic } from '../../../coordinator/traffic.js';
import { LATENCY_BUCKETS } from '../../../protocol/control.js';
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

interface Result {
  instances: number;
  /** Of each tick, ms; and the CPU time of all threads, those of the garbage collector among them. */
  tickMs: number[];
  tickCpuMs: number[];
  /** Of these, spent on the plan, and on heat, talk and weights; the rest on reconcile and the batch. */
  planMs: number[];
  evenMs: number[];
  /** Of taking in a second's reports of all hosts, ms. */
  reportsMs: number[];
  /** Wanted instances that a tick created, drained or resized. */
  changed: number;
  rssMiB: number;
  period: Period;
}

/**
 * One planning tick at growing sizes: plan, decisions, reconcile and the batch for the store, without the disk. Each size runs in
 * a process of its own whose heap is bounded. Demand follows a wave with noise of a twentieth; where it is restless, a
 * quarter of the instances are resized each second.
 */
export async function benchBrainScale(): Promise<Row[]> {
  const rows: Row[] = [];
  const results: Result[] = [];
  for (const size of SIZES) results.push(await measureApart(size, 'restless'));
  const most = SIZES.at(-1) as number;
  const calm = await measureApart(most, 'calm');
  for (const { instances, tickMs, tickCpuMs, planMs, evenMs, reportsMs, changed, rssMiB, period } of [
    ...results,
    calm,
  ]) {
    const of = `${instances} instances, ${period}`;
    rows.push(alone(`tick, ${of}, p50`, 'ms', quantile(tickMs, 0.5)));
    rows.push(alone(`tick, ${of}, p99`, 'ms', quantile(tickMs, 0.99)));
    rows.push(alone(`tick, ${of}, CPU time, p50`, 'ms', quantile(tickCpuMs, 0.5)));
    rows.push(alone(`of it the plan, ${of}, p50`, 'ms', quantile(planMs, 0.5)));
    rows.push(alone(`of it heat, talk and weights, ${of}, p50`, 'ms', quantile(evenMs, 0.5)));
    rows.push(alone(`changed a tick, ${of}`, 'instances', changed));
    rows.push(alone(`reports of all hosts taken in, ${of}, p50`, 'ms', quantile(reportsMs, 0.5)));
    rows.push(alone(`memory of the process, ${of}`, 'MiB', rssMiB));
  }
  const points = results.map(
    ({ instances, tickMs }) => [Math.log(instances), Math.log(quantile(tickMs, 0.5))] as const,
  );
  rows.push(alone('growth of the tick with size (1: linear, 2: quadratic)', 'exponent', slopeOf(points)));
  return rows;
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
  const planMs: number[] = [];
  const evenMs: number[] = [];
  const reportsMs: number[] = [];
  let changed = 0;
  for (let second = 0; second < WARM_TICKS + MEASURED_TICKS; second += 1) {
    const reports = cluster.work();
    const start = performance.now();
    cluster.take(reports);
    const taken = performance.now();
    const used = process.cpuUsage();
    const { steps, plannedMs, evenedMs } = cluster.tick();
    const end = performance.now();
    const { user, system } = process.cpuUsage(used);
    if (second < WARM_TICKS) continue;
    reportsMs.push(taken - start);
    tickMs.push(end - taken);
    tickCpuMs.push((user + system) / 1000);
    planMs.push(plannedMs);
    evenMs.push(evenedMs);
    changed += steps / MEASURED_TICKS;
  }
  const rssMiB = process.resourceUsage().maxRSS / 1024;
  return {
    instances: countInstances(cluster.state.instances),
    tickMs,
    tickCpuMs,
    planMs,
    evenMs,
    reportsMs,
    changed,
    rssMiB,
    period,
  };
}

type Reports = Map<string, InstanceStatus[]>;

/** Hosts whose agents do at once what they are told and whose instances share their component's demand. */
class SimulatedCluster {
  state: ClusterState = EMPTY_CLUSTER;
  #observed: Observed = startObserving(0);
  readonly #memory: PlannerMemory = new Map();
  #nowMs = 0;
  readonly #phases = new Map<string, number>();
  readonly #work = new Map<string, { cpuSeconds: number; calls: number }>();
  readonly #traffic = new Traffic();
  readonly #decisions = new DecisionLog();
  readonly #random = randomFrom(7);

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
    this.tick();
  }

  /** What all agents report after one more second. */
  work(): Reports {
    this.#nowMs += 1_000;
    const reports: Reports = new Map();
    const demands = new Map<string, number>();
    for (const [key, group] of this.state.instances.byComponent) {
      const angle = 2 * Math.PI * (this.#nowMs / 1000 / this.periodSeconds + (this.#phases.get(key) ?? 0));
      const cores = INSTANCES_PER_COMPONENT * CORES_PER_INSTANCE * 0.55 * (1 + 0.2 * Math.sin(angle));
      demands.set(key, (cores * (0.97 + 0.06 * this.#random())) / group.length);
    }
    for (const [host, group] of this.state.instances.byHost) {
      const statuses = group.map(({ id, app, component, size, draining }): InstanceStatus => {
        const cores = Math.min(size.cpu, demands.get(`${app}/${component}`) ?? 0);
        const work = this.#work.get(id) ?? { cpuSeconds: 0, calls: 0 };
        work.cpuSeconds += cores;
        work.calls += Math.round(cores * 200);
        this.#work.set(id, work);
        const latencyBuckets = Array.from({ length: LATENCY_BUCKETS }, (_, i) => (i === 12 ? work.calls : 0));
        const sample = {
          cpuSeconds: work.cpuSeconds,
          memoryBytes: 40 * 2 ** 20,
          ioReadBytes: 0,
          ioWriteBytes: 0,
          arrived: work.calls,
          finished: work.calls,
          failed: 0,
          outstanding: draining === undefined ? 1 : 0,
          latencyBuckets,
          busyMs: work.calls * 5,
          called: {},
        };
        const phase = draining === undefined ? 'ready' : 'draining';
        return { id, app, component, size, phase, restarts: 0, shards: [], sample };
      });
      reports.set(host, statuses);
    }
    return reports;
  }

  take(reports: Reports): void {
    for (const [host, statuses] of reports) {
      this.#observed = takeReport(this.#observed, host, this.state.revision, statuses, this.#nowMs);
    }
  }

  /** As the loop does, without the disk. Answers how many instances were touched, and the plan's share of the time. */
  tick(): { steps: number; plannedMs: number; evenedMs: number } {
    const start = performance.now();
    const planned = plan(this.state, this.#observed, this.#memory, this.#nowMs);
    const plannedMs = performance.now() - start;
    const looked = this.#traffic.look(planned, this.#observed, this.#nowMs);
    const shifted = shiftWeights(planned, looked, this.#traffic, this.#nowMs);
    const evenedMs = performance.now() - start - plannedMs;
    this.#decisions.stage(tell(planned, this.#memory));
    const { state, steps } = reconcile(shifted.state, this.#observed, BRAIN, this.#nowMs, this.#traffic);
    const batch = [...differences(this.state, state), ...this.#decisions.operations()];
    if (batch.length === 0 && state.revision !== this.state.revision) throw new Error('a change that is not stored');
    this.#decisions.committed();
    this.state = state;
    const changed = steps.reduce((sum, { count = 1 }) => sum + count, 0);
    return { steps: changed, plannedMs, evenedMs };
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
