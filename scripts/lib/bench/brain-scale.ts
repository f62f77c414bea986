import { fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { countInstances } from '../../../coordinator/instance-table.js';
import { quantile } from '../demo/recorder.js';
import { exponentOf, growthPlot } from './growth-plot.js';
import { alone, type Row } from './rows.js';
import { PARTS, type Part, SimulatedCluster, type Watch } from './simulated-cluster.js';

/** Instances; a component has about ten of them, a host about a hundred. */
const SIZES = [1_000, 3_000, 10_000, 30_000, 100_000];
const WARM_TICKS = 10;
const MEASURED_TICKS = 30;
/** Demand rises and falls by a fifth in such a time: within it a size seldom holds, or, as over a day, nearly always. */
const PERIODS = { restless: 60, calm: 86_400 };
const MEMORY_MIB = 1_024;

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
 * each second. The growth is plotted on stderr, for docs/benchmarks.md.
 */
export async function benchBrainScale(): Promise<Row[]> {
  const rows: Row[] = [];
  const results: Result[] = [];
  for (const size of SIZES) results.push(await measureApart(size, 'restless'));
  const most = SIZES.at(-1) as number;
  const calm = await measureApart(most, 'calm');
  for (const result of [...results, calm]) rows.push(...rowsOf(result));
  const points = results.map(({ instances, tickMs }) => ({ size: instances, ms: quantile(tickMs, 0.5) }));
  rows.push(alone('growth of the tick with size (1: linear, 2: quadratic)', 'exponent', exponentOf(points)));
  // Beside the figures, which may be read by a program.
  process.stderr.write(`${growthPlot('Planning tick, p50', points)}\n`);
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
class StopWatch implements Watch {
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

const [size, period] = process.argv.slice(2);
if (process.send !== undefined && process.argv[1] === fileURLToPath(import.meta.url))
  process.send(measure(Number(size), period as Period));
