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
/** HPA and KPA remember no more than minutes, and need no longer to be in their stride. */
const STRIDE_SECONDS = 3600;

interface Extent {
  /** Instances needed at the peak. */
  scales: number[];
  /** Each has requests of its own and judges another day: the first one the last of the trace, the second the one before, … */
  seeds: number;
}
const SEEDS = 2;
const WHOLE_SCALES = [2, 20, 200];
const QUICK: Extent = { scales: [20], seeds: 1 };
/** Days that Shoal may learn from before the one that is judged; playing hundreds of instances takes long. */
const LEARN_DAYS = { few: 2, many: 1 };
const MANY = 100;

interface Job {
  file: string;
  scale: number;
  /** From 0 on. */
  nth: number;
  seed: number;
  /** Found for the first seed, where all settings are tried. */
  tuned: Settings | null;
}

interface Settings {
  hpa: Partial<PolicyOptions>;
  kpa: Partial<PolicyOptions>;
}

/** Of one policy. */
interface Tally {
  /** Minutes. */
  missed: number;
  cpuHours: number;
  neededCpuHours: number;
}
interface Verdict {
  trace: string;
  scale: number;
  nth: number;
  minutes: number;
  tuned: Settings;
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
 * Shoal's own code against HPA and KPA on every trace of the folder, at several scales; figures are means over the seeds.
 * Tuned: of a grid of settings the one that misses the fewest minutes at no more CPU than Shoal; where none is so cheap, the
 * cheapest. The grid is played for the first seed only.
 */
export async function benchBrainScaling(
  { seeds = SEEDS, scale }: { seeds?: number; scale?: number } = {},
  traces = process.env.SHOAL_TRACES,
  quick = process.env.SHOAL_BENCH_QUICK === '1',
): Promise<Row[]> {
  if (traces === undefined || traces === '') {
    throw new Error(
      'brain-scaling needs traces: scripts/bench brain-scaling --traces DIR (or SHOAL_TRACES=DIR), a folder of "time,value" files',
    );
  }
  const extent = quick ? QUICK : { scales: scale === undefined ? WHOLE_SCALES : [scale], seeds };
  const files = readdirSync(traces)
    .filter((name) => name.endsWith('.csv') && isTrace(join(traces, name)))
    .sort();
  if (files.length === 0) throw new Error(`brain-scaling: no file of ${traces} has rows "time,value"`);
  // The cheap ones first: a run that is cut short has then said the most.
  const queue = extent.scales.flatMap((scale) =>
    files.map((name, index) => ({ file: join(traces, name), scale, firstSeed: 1 + 100 * index + scale })),
  );
  const verdicts: Verdict[] = [];
  const work = async (): Promise<void> => {
    for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
      const { file, scale, firstSeed } = next;
      let tuned: Settings | null = null;
      for (let nth = 0; nth < extent.seeds; nth += 1) {
        const verdict: Verdict = await judgeApart({ file, scale, nth, seed: firstSeed + nth, tuned });
        tuned = verdict.tuned;
        verdicts.push(verdict);
        process.stderr.write(`${told(verdict)}\n`);
      }
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

function judge({ file, scale, nth, seed, tuned }: Job): Verdict {
  const whole = parseTrace(readFileSync(file, 'utf8'), file);
  const learnDays = scale < MANY ? LEARN_DAYS.few : LEARN_DAYS.many;
  // A short trace has fewer days than there are seeds: the earliest is then judged again, with other requests.
  const days = Math.max(0, Math.floor(lengthOf(whole) / DAY) - learnDays - 1);
  const end = lengthOf(whole) - Math.min(nth, days) * DAY;
  const judged = Math.min(DAY, Math.floor(end / 2));
  const trace = partOf(whole, Math.max(0, end - judged - learnDays * DAY), end);
  const minutes = Math.floor(judged / 60);
  const learning = scenarioOf(trace, scale, seed);
  const stride = endOf(learning, judged + STRIDE_SECONDS);
  const run = (name: PolicyName, options: Partial<PolicyOptions> = {}, scenario = stride): Tally => {
    const { rows } = simulate(scenario, makePolicy(name, scenario, { ...POLICY_DEFAULTS, ...options }));
    const tally = { missed: 0, cpuHours: 0, neededCpuHours: 0 };
    for (const { missed, allotted, needed } of (rows[0] ?? []).slice(-minutes)) {
      tally.missed += missed ? 1 : 0;
      tally.cpuHours += allotted / 60;
      tally.neededCpuHours += needed / 60;
    }
    return tally;
  };
  const shoal = run('shoal', {}, learning);
  const tune = (name: 'hpa' | 'kpa', grid: readonly Partial<PolicyOptions>[]): Partial<PolicyOptions> => {
    const tries = grid.map((options) => ({ options, ...run(name, options) }));
    const cheap = tries.filter(({ cpuHours }) => cpuHours <= shoal.cpuHours);
    cheap.sort((a, b) => a.missed - b.missed || a.cpuHours - b.cpuHours);
    tries.sort((a, b) => a.cpuHours - b.cpuHours);
    return cheap[0]?.options ?? tries[0]?.options ?? {};
  };
  const settings = tuned ?? {
    hpa: tune(
      'hpa',
      HPA_GRID.map((hpa) => ({ hpa })),
    ),
    kpa: tune(
      'kpa',
      KPA_GRID.map((kpa) => ({ kpa })),
    ),
  };
  const tallies: Verdict['tallies'] = {
    shoal,
    hpa: run('hpa'),
    kpa: run('kpa'),
    hpaTuned: run('hpa', settings.hpa),
    kpaTuned: run('kpa', settings.kpa),
    oracle: run('oracle'),
    static: run('static'),
  };
  return { trace: nameOf(file), scale, nth, minutes, tuned: settings, tallies };
}

/** One line, so that a long run shows how it goes; and which settings were best. */
function told({ trace, scale, nth, tuned, tallies }: Verdict): string {
  const parts = Object.entries(tallies).map(
    ([who, { missed, cpuHours }]) => `${who} ${missed} min ${cpuHours.toFixed(1)} CPU h`,
  );
  const settings = nth === 0 ? `; tuned ${JSON.stringify({ ...tuned.hpa, ...tuned.kpa })}` : '';
  return `${trace}, ${scale} instances, seed ${nth + 1}: ${parts.join('; ')}${settings}`;
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

/** Each trace at each scale, with the spread of the seeds; then each scale, and all, with the spread of the traces. */
function rowsOf(verdicts: readonly Verdict[], traces: readonly string[]): Row[] {
  const scales = [...new Set(verdicts.map(({ scale }) => scale))].sort((a, b) => a - b);
  const seeds = [...new Set(verdicts.map(({ nth }) => nth))];
  const cells = scales.flatMap((scale) =>
    traces.map((trace) => verdicts.filter((each) => each.trace === trace && each.scale === scale)),
  );
  const rows = cells.flatMap((cell) => {
    const [first] = cell;
    const seen = cell.map((each) => [each]);
    return first === undefined
      ? []
      : withSpread(compared(`${first.trace}, ${first.scale} instances`, cell, seeds.length), seen);
  });
  const wholes = [...scales.map((scale) => [scale]), ...(scales.length > 1 ? [scales] : [])];
  for (const some of wholes) {
    const what = some.length > 1 ? 'all traces' : `all traces, ${some[0]} instances`;
    const of = verdicts.filter(({ scale }) => some.includes(scale));
    rows.push(
      ...withSpread(
        compared(what, of, seeds.length),
        cells.filter((cell) => some.includes(cell[0]?.scale ?? 0)),
      ),
    );
    if (seeds.length < 2) continue;
    for (const [figure, unit, name] of FIGURES) {
      const sums = seeds.map((nth) =>
        totalOf(
          of.filter((each) => each.nth === nth),
          ({ tallies }) => tallies.shoal[figure],
        ),
      );
      rows.push(alone(`${what}: ${name}, deviation of the seeds`, unit, deviationOf(sums)));
    }
  }
  rows.push(
    alone('all traces: judged for each seed', 'minutes', totalOf(verdicts, ({ minutes }) => minutes) / seeds.length),
  );
  const needed = totalOf(verdicts, ({ tallies }) => tallies.shoal.neededCpuHours) / seeds.length;
  rows.push(alone('all traces: needed by the model', 'CPU hours', needed));
  return rows;
}

function totalOf(verdicts: readonly Verdict[], of: (verdict: Verdict) => number): number {
  return verdicts.reduce((total, each) => total + of(each), 0);
}

function deviationOf(values: readonly number[]): number {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  return Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (values.length - 1));
}

/** Shoal beside each peer, summed over the verdicts, the mean of so many seeds. */
function compared(what: string, verdicts: readonly Verdict[], seeds: number): Row[] {
  return PEERS.flatMap(([who, peer]) =>
    FIGURES.map(([figure, unit, name]): Row => {
      const value = totalOf(verdicts, ({ tallies }) => tallies.shoal[figure]) / seeds;
      const peerValue = totalOf(verdicts, ({ tallies }) => tallies[who][figure]) / seeds;
      return { metric: `${what}: ${name}`, unit, value, peer, peerValue, ratio: value / peerValue };
    }),
  );
}

/** With the least and the greatest ratio of a single part. Rows are in the order of `compared`. */
function withSpread(rows: readonly Row[], parts: readonly (readonly Verdict[])[]): Row[] {
  const each = parts.map((part) => compared('', part, 1));
  return rows.map((row, index) => {
    const ratios = each.map((list) => list[index]?.ratio ?? Number.NaN).filter(Number.isFinite);
    return ratios.length === 0 ? row : { ...row, spread: [Math.min(...ratios), Math.max(...ratios)] };
  });
}

const [job] = process.argv.slice(2);
if (process.send !== undefined && process.argv[1] === fileURLToPath(import.meta.url) && job !== undefined)
  process.send(judge(JSON.parse(job) as Job));
