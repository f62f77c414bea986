import { fork } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { HpaSpec } from '../../../coordinator/simulator/hpa.js';
import { HPA_DEFAULTS } from '../../../coordinator/simulator/hpa.js';
import type { KpaSpec } from '../../../coordinator/simulator/kpa.js';
import { KPA_DEFAULTS } from '../../../coordinator/simulator/kpa.js';
import {
  makePolicy,
  POLICY_DEFAULTS,
  type PolicyName,
  type PolicyOptions,
} from '../../../coordinator/simulator/policies.js';
import type { Scenario } from '../../../coordinator/simulator/scenario.js';
import { DEFAULT_WORK, endOf, makeScenario, START_SHOAL, simpleApp } from '../../../coordinator/simulator/setup.js';
import { simulate } from '../../../coordinator/simulator/simulate.js';
import { lengthOf, parseTrace, partOf, type Trace } from '../../../coordinator/simulator/trace.js';
import { alone, type Row } from './rows.js';

const DAY = 86_400;
const NOISE = 0.02;
/**
 * Shoal plans each second, as it does live. At hundreds of instances that takes hours to play, so that it plans more
 * rarely there, and reacts as much later.
 */
const TICK_SECONDS = { few: 1, many: 5 };
const MANY = 100;
/** HPA and KPA remember no more than minutes, and need no longer to be in their stride. */
const STRIDE_SECONDS = 3600;

interface Extent {
  /** Instances needed at the peak. */
  scales: number[];
  seeds: number;
  /** The end of each trace is judged, after so much that Shoal may learn from. */
  days: number;
  learnDays: number;
}
/** Some 40 minutes of CPU with ten traces, on as many processes as there are cores. */
const WHOLE: Extent = { scales: [2, 20, 200], seeds: 1, days: 2, learnDays: 3 };
const QUICK: Extent = { scales: [20], seeds: 1, days: 1, learnDays: 2 };

interface Job {
  file: string;
  scale: number;
  seeds: number[];
  extent: Extent;
}

/** Of one policy, summed over the seeds. */
interface Tally {
  /** Minutes. */
  missed: number;
  cpuHours: number;
  neededCpuHours: number;
  settings?: string;
}
interface Verdict {
  trace: string;
  scale: number;
  minutes: number;
  tallies: Record<'shoal' | 'hpa' | 'kpa' | 'hpaTuned' | 'kpaTuned' | 'oracle' | 'static', Tally>;
}

/** Every setting that is tried, in place of the default one. */
const HPA_GRID: Partial<HpaSpec>[] = [50, 60, 70, 80, 90].flatMap((targetPercent) =>
  [60, 300].map((stabilisationSeconds) => ({ targetPercent, down: { ...HPA_DEFAULTS.down, stabilisationSeconds } })),
);
const KPA_GRID: Partial<KpaSpec>[] = [0.5, 0.6, 0.7, 0.8].flatMap((targetUtilisation) =>
  [60, 180].flatMap((stableSeconds) =>
    [1.5, KPA_DEFAULTS.panicThreshold].map((panicThreshold) => ({
      targetUtilisation,
      stableSeconds,
      panicSeconds: stableSeconds / 10,
      panicThreshold,
    })),
  ),
);

/**
 * Shoal's own code against HPA and KPA on every trace of the folder, at several scales. Tuned: of a grid of settings the
 * one that misses the fewest minutes at no more CPU than Shoal; where none is so cheap, the cheapest.
 */
export async function benchBrainScaling(
  traces = process.env.SHOAL_TRACES,
  quick = process.env.SHOAL_BENCH_QUICK === '1',
): Promise<Row[]> {
  if (traces === undefined || traces === '') {
    throw new Error(
      'brain-scaling needs traces: scripts/bench brain-scaling --traces DIR (or SHOAL_TRACES=DIR), a folder of "time,value" files',
    );
  }
  const extent = quick ? QUICK : WHOLE;
  const files = readdirSync(traces)
    .filter((name) => name.endsWith('.csv') && isTrace(join(traces, name)))
    .sort();
  if (files.length === 0) throw new Error(`brain-scaling: no file of ${traces} has rows "time,value"`);
  // The cheap ones first: a run that is cut short has then said the most.
  const jobs = extent.scales.flatMap((scale) =>
    files.map((name, index): Job => {
      const seeds = Array.from({ length: extent.seeds }, (_, i) => 1 + i + 100 * index + scale);
      return { file: join(traces, name), scale, seeds, extent };
    }),
  );
  const verdicts: Verdict[] = [];
  const queue = [...jobs];
  const work = async (): Promise<void> => {
    for (let job = queue.shift(); job !== undefined; job = queue.shift()) {
      const verdict = await judgeApart(job);
      verdicts.push(verdict);
      process.stderr.write(`${told(verdict)}\n`);
    }
  };
  await Promise.all(Array.from({ length: availableParallelism() }, work));
  return rowsOf(verdicts, files.map(nameOf));
}

/** Files of another shape, such as one series a row, are none. */
function isTrace(file: string): boolean {
  const [first = '', second = ''] = readFileSync(file, 'utf8').split('\n', 2);
  return first.split(',').length === 2 && second.split(',').length === 2;
}

function nameOf(file: string): string {
  return basename(file, '.csv');
}

function judgeApart(job: Job): Promise<Verdict> {
  return new Promise((resolve, reject) => {
    const child = fork(fileURLToPath(import.meta.url), [JSON.stringify(job)]);
    let verdict: Verdict | undefined;
    child.on('message', (message) => {
      verdict = message as Verdict;
    });
    child.on('error', reject);
    child.on('exit', (code) => {
      if (verdict !== undefined && code === 0) resolve(verdict);
      else reject(new Error(`${nameOf(job.file)} at ${job.scale} instances: the process ended with ${code}`));
    });
  });
}

function judge({ file, scale, seeds, extent }: Job): Verdict {
  const whole = parseTrace(readFileSync(file, 'utf8'), file);
  const end = lengthOf(whole);
  const judged = Math.min(extent.days * DAY, Math.floor(end / 2));
  const trace = partOf(whole, Math.max(0, end - judged - extent.learnDays * DAY), end);
  const minutes = Math.floor(judged / 60);
  const learning = seeds.map((seed) => scenarioOf(trace, scale, seed));
  const stride = learning.map((scenario) => endOf(scenario, judged + STRIDE_SECONDS));
  const run = (name: PolicyName, options: Partial<PolicyOptions>, scenarios: readonly Scenario[]): Tally => {
    const tally = { missed: 0, cpuHours: 0, neededCpuHours: 0 };
    for (const scenario of scenarios) {
      const { rows } = simulate(scenario, makePolicy(name, scenario, { ...POLICY_DEFAULTS, ...options }));
      for (const { missed, allotted, needed } of (rows[0] ?? []).slice(-minutes)) {
        tally.missed += missed ? 1 : 0;
        tally.cpuHours += allotted / 60;
        tally.neededCpuHours += needed / 60;
      }
    }
    return tally;
  };
  const shoal = run('shoal', { tickSeconds: scale < MANY ? TICK_SECONDS.few : TICK_SECONDS.many }, learning);
  const tuned = (name: 'hpa' | 'kpa', grid: readonly Partial<PolicyOptions>[]): Tally => {
    const limit = shoal.cpuHours / seeds.length;
    const tries = grid.map((options) => ({ options, ...run(name, options, stride.slice(0, 1)) }));
    const cheap = tries.filter(({ cpuHours }) => cpuHours <= limit);
    cheap.sort((a, b) => a.missed - b.missed || a.cpuHours - b.cpuHours);
    tries.sort((a, b) => a.cpuHours - b.cpuHours);
    const { options = {} } = cheap[0] ?? tries[0] ?? {};
    return { ...run(name, options, stride), settings: JSON.stringify(options) };
  };
  const tallies: Verdict['tallies'] = {
    shoal,
    hpa: run('hpa', {}, stride),
    kpa: run('kpa', {}, stride),
    hpaTuned: tuned(
      'hpa',
      HPA_GRID.map((hpa) => ({ hpa })),
    ),
    kpaTuned: tuned(
      'kpa',
      KPA_GRID.map((kpa) => ({ kpa })),
    ),
    oracle: run('oracle', {}, stride),
    static: run('static', {}, stride),
  };
  return { trace: nameOf(file), scale, minutes: minutes * seeds.length, tallies };
}

/** One line, so that a long run shows how it goes; and which settings were best. */
function told({ trace, scale, tallies }: Verdict): string {
  const parts = Object.entries(tallies).map(([who, { missed, cpuHours, settings = '' }]) => {
    return `${who} ${missed} min ${cpuHours.toFixed(1)} CPU h ${settings}`.trim();
  });
  return `${trace}, ${scale} instances: ${parts.join('; ')}`;
}

function scenarioOf(trace: Trace, scale: number, seed: number): Scenario {
  const app = simpleApp(DEFAULT_WORK.goal, DEFAULT_WORK.cpuSeconds, DEFAULT_WORK.variation);
  const setup = {
    trace,
    scale,
    seed,
    burst: 0,
    noise: NOISE,
    start: START_SHOAL,
    engine: 'flow',
    failures: [],
  } as const;
  return makeScenario(app, setup);
}

const PEERS = [
  ['hpa', 'HPA, defaults'],
  ['kpa', 'KPA, defaults'],
  ['hpaTuned', 'HPA, tuned'],
  ['kpaTuned', 'KPA, tuned'],
  ['oracle', 'oracle'],
  ['static', 'the peak'],
] as const;

const FIGURES = [
  ['missed', 'minutes', 'objective missed'],
  ['cpuHours', 'CPU hours', 'allotted'],
] as const;

/** Each trace at each scale; then each scale, and all, with the spread of the traces. */
function rowsOf(verdicts: readonly Verdict[], traces: readonly string[]): Row[] {
  const scales = [...new Set(verdicts.map(({ scale }) => scale))].sort((a, b) => a - b);
  const rows = scales.flatMap((scale) =>
    traces.flatMap((trace) => {
      const of = verdicts.filter((each) => each.trace === trace && each.scale === scale);
      return compared(`${trace}, ${scale} instances`, of);
    }),
  );
  for (const scale of scales) {
    const of = verdicts.filter((each) => each.scale === scale);
    rows.push(...withSpread(compared(`all traces, ${scale} instances`, of), of));
  }
  if (scales.length > 1) rows.push(...withSpread(compared('all traces', verdicts), verdicts));
  rows.push(
    alone(
      'all traces: judged',
      'minutes',
      totalOf(verdicts, ({ minutes }) => minutes),
    ),
  );
  const needed = totalOf(verdicts, ({ tallies }) => tallies.shoal.neededCpuHours);
  rows.push(alone('all traces: needed by the model', 'CPU hours', needed));
  return rows;
}

function totalOf(verdicts: readonly Verdict[], of: (verdict: Verdict) => number): number {
  return verdicts.reduce((total, each) => total + of(each), 0);
}

/** Shoal beside each peer, summed over the verdicts. */
function compared(what: string, verdicts: readonly Verdict[]): Row[] {
  return PEERS.flatMap(([who, peer]) =>
    FIGURES.map(([figure, unit, name]): Row => {
      const value = totalOf(verdicts, ({ tallies }) => tallies.shoal[figure]);
      const peerValue = totalOf(verdicts, ({ tallies }) => tallies[who][figure]);
      return { metric: `${what}: ${name}`, unit, value, peer, peerValue, ratio: value / peerValue };
    }),
  );
}

/** With the least and the greatest ratio of a single verdict. Rows are in the order of `compared`. */
function withSpread(rows: readonly Row[], verdicts: readonly Verdict[]): Row[] {
  const each = verdicts.map((verdict) => compared('', [verdict]));
  return rows.map((row, index) => {
    const ratios = each.map((list) => list[index]?.ratio ?? Number.NaN).filter(Number.isFinite);
    return ratios.length === 0 ? row : { ...row, spread: [Math.min(...ratios), Math.max(...ratios)] };
  });
}

const [job] = process.argv.slice(2);
if (process.send !== undefined && process.argv[1] === fileURLToPath(import.meta.url) && job !== undefined)
  process.send(judge(JSON.parse(job) as Job));
