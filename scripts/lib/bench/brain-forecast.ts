import { spawn } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { absoluteError, naiveScale, symmetricError } from '../../../coordinator/brain/forecast/accuracy.js';
import { combine } from '../../../coordinator/brain/forecast/index.js';
import { randomFrom } from '../../../coordinator/brain/forecast/random.js';
import { quantile } from '../demo/recorder.js';
import { naive2 } from './naive2.js';
import { alone, type Row } from './rows.js';

const FILE = 'm4-hourly-dev.csv';
const STEPS = 48;
const DAY = 24;
const LEVELS = [0.8, 0.95];
const SLOW_SERIES = 12;
const RESAMPLES = 1_000;
/** Peers in R and Python: how many seconds a series they take decides whether all series are done by default. */
const QUICK = { R: ['HoltWinters', 'hw'], python: ['ExponentialSmoothing', 'damped'] };
const SLOW = ['dshw', 'tbats'];
const NAMES: Record<string, string> = {
  naive: 'naive',
  snaive: 'seasonal naive',
  HoltWinters: 'R HoltWinters',
  hw: 'R forecast::hw',
  dshw: 'R forecast::dshw',
  tbats: 'R forecast::tbats',
  ExponentialSmoothing: 'statsmodels Holt-Winters',
  damped: 'statsmodels Holt-Winters, damped',
};

export interface ForecastBenchOptions {
  /** Folder that holds the M4 hourly series. */
  traces?: string;
  /** How many series the slow peers forecast, evenly spread. */
  slowSeries?: number | 'all';
}

interface Series {
  id: string;
  values: number[];
  actual: number[];
  scale: number;
  base: Errors;
}

interface Errors {
  percent: number;
  scaled: number;
}

interface Answer {
  mean: number[];
  /** Of 80 and of 95 %; absent where the peer has none. */
  bounds?: { lower: number[]; upper: number[] }[];
  seconds: number;
}

/** By series, then by method. */
type Answers = Map<string, Map<string, Answer>>;

/** The last 48 values of each M4 hourly series, forecast from those before by us and by everybody else. */
export async function benchBrainForecast(dist: string, options: ForecastBenchOptions): Promise<Row[]> {
  const all = await loadSeries(options.traces ?? process.env.SHOAL_TRACES);
  const { slowSeries = SLOW_SERIES } = options;
  const slow = slowSeries === 'all' ? all : spread(all, slowSeries);
  const answers: Answers = new Map(all.map(({ id }) => [id, new Map()]));
  for (const one of all) own(one, answers);
  const scripts = join(dist, '../scripts/peers');
  await ask('Rscript', [join(scripts, 'forecast.R')], QUICK.R, all, answers);
  // statsmodels of Debian belongs to Debian's own Python.
  await ask('/usr/bin/python3', [join(scripts, 'forecast.py')], QUICK.python, all, answers);
  await ask('Rscript', [join(scripts, 'forecast.R')], SLOW, slow, answers);

  const rows = ['naive', 'snaive', ...QUICK.R, ...QUICK.python].flatMap((peer) => rowsAgainst(peer, all, answers));
  rows.push(...SLOW.flatMap((peer) => rowsAgainst(peer, slow, answers)));
  for (const method of ['shoal', 'hw', 'tbats']) {
    for (const [at, level] of LEVELS.entries()) {
      const share = coverage(method, at, method === 'tbats' ? slow : all, answers);
      const who = method === 'shoal' ? '' : `${NAMES[method]}: `;
      rows.push(alone(`${who}values within the ${100 * level} % interval`, '%', 100 * share));
    }
  }
  return rows;
}

async function loadSeries(folder: string | undefined): Promise<Series[]> {
  if (folder === undefined || folder === '') {
    throw new Error(`which folder holds ${FILE}? Say it by --traces DIR or SHOAL_TRACES`);
  }
  const text = await readFile(join(folder, FILE), 'utf8');
  const lines = text.split('\n').filter((line) => line !== '');
  return lines.map((line) => {
    const [id = '', ...cells] = line.split(',');
    const every = cells.filter((cell) => cell !== '').map(Number);
    const values = every.slice(0, -STEPS);
    const actual = every.slice(-STEPS);
    const scale = naiveScale(values, DAY);
    return { id, values, actual, scale, base: errorsOf(actual, scale, naive2(values, STEPS, DAY)) };
  });
}

function errorsOf(actual: readonly number[], scale: number, mean: readonly number[]): Errors {
  return { percent: symmetricError(actual, mean), scaled: absoluteError(actual, mean) / scale };
}

/** Ours and the naive ones. */
function own({ id, values }: Series, answers: Answers): void {
  const of = answers.get(id);
  const start = performance.now();
  const { mean, intervals } = combine(values, STEPS, { levels: LEVELS });
  of?.set('shoal', { mean, bounds: intervals, seconds: (performance.now() - start) / 1_000 });
  const last = (length: number) =>
    Array.from({ length: STEPS }, (_, h) => values[values.length - length + (h % length)] as number);
  of?.set('naive', { mean: last(1), seconds: 0 });
  of?.set('snaive', { mean: last(DAY), seconds: 0 });
}

interface PeerLine {
  id: string;
  method: string;
  seconds: number;
  mean: (number | null)[];
  lower80?: number[] | null;
  upper80?: number[] | null;
  lower95?: number[] | null;
  upper95?: number[] | null;
}

/** Has a peer's script forecast the series; it reads them from a file and prints a line of JSON for each answer. */
async function ask(
  program: string,
  script: readonly string[],
  methods: readonly string[],
  series: readonly Series[],
  answers: Answers,
): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'shoal-bench-'));
  try {
    const file = join(folder, 'series.csv');
    await writeFile(file, `${series.map(({ id, values }) => [id, ...values].join(',')).join('\n')}\n`);
    const output = await outputOf(program, [...script, file, String(STEPS), ...methods]);
    for (const line of output.split('\n').filter((each) => each.startsWith('{'))) {
      const found = JSON.parse(line) as PeerLine;
      if (!found.mean.every((value) => value !== null && Number.isFinite(value))) continue;
      answers.get(found.id)?.set(found.method, answerOf(found));
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

function answerOf({ mean, seconds, lower80, upper80, lower95, upper95 }: PeerLine): Answer {
  const answer: Answer = { mean: mean as number[], seconds };
  if (!lower80 || !upper80 || !lower95 || !upper95) return answer;
  return {
    ...answer,
    bounds: [
      { lower: lower80, upper: upper80 },
      { lower: lower95, upper: upper95 },
    ],
  };
}

function outputOf(program: string, args: readonly string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    const chunks: Buffer[] = [];
    const complaints: Buffer[] = [];
    child.stdout.on('data', (chunk: Buffer) => chunks.push(chunk));
    child.stderr.on('data', (chunk: Buffer) => complaints.push(chunk));
    const remedy = 'the peers are installed by: apt-get install r-cran-forecast python3-statsmodels';
    child.on('error', (error) => reject(new Error(`cannot run ${program}: ${error.message}; ${remedy}`)));
    child.on('close', (code) => {
      if (code === 0) resolve(Buffer.concat(chunks).toString());
      else
        reject(new Error(`${program} ended with ${code}: ${Buffer.concat(complaints).toString().trim()}; ${remedy}`));
    });
  });
}

/** So many of the series, evenly spread over them. */
function spread(series: readonly Series[], count: number): Series[] {
  const number = Math.min(count, series.length);
  return Array.from({ length: number }, (_, i) => series[Math.floor(((i + 0.5) * series.length) / number)] as Series);
}

/** Ours next to the peer's, on the series that the peer answered. */
function rowsAgainst(peer: string, series: readonly Series[], answers: Answers): Row[] {
  const pairs = series.flatMap((one) => {
    const ours = answers.get(one.id)?.get('shoal');
    const theirs = answers.get(one.id)?.get(peer);
    if (ours === undefined || theirs === undefined) return [];
    const judge = (mean: readonly number[]) => errorsOf(one.actual, one.scale, mean);
    return [
      {
        ours: judge(ours.mean),
        theirs: judge(theirs.mean),
        base: one.base,
        took: [ours.seconds, theirs.seconds] as const,
      },
    ];
  });
  const measures = {
    sMAPE: (who: 'ours' | 'theirs') => (set: typeof pairs) => meanOf(set.map((pair) => pair[who].percent)),
    MASE: (who: 'ours' | 'theirs') => (set: typeof pairs) => meanOf(set.map((pair) => pair[who].scaled)),
    OWA: (who: 'ours' | 'theirs') => (set: typeof pairs) =>
      (meanOf(set.map((pair) => pair[who].percent)) / meanOf(set.map(({ base }) => base.percent)) +
        meanOf(set.map((pair) => pair[who].scaled)) / meanOf(set.map(({ base }) => base.scaled))) /
      2,
  };
  const named = `${NAMES[peer]}, ${pairs.length} series`;
  const rows = Object.entries(measures).map(([metric, of]): Row => {
    const ratio = (set: typeof pairs) => of('ours')(set) / of('theirs')(set);
    return {
      metric,
      unit: metric === 'sMAPE' ? '%' : '-',
      value: of('ours')(pairs),
      peer: named,
      peerValue: of('theirs')(pairs),
      ratio: ratio(pairs),
      spread: resampled(pairs, ratio),
    };
  });
  if (peer === 'naive' || peer === 'snaive') return rows;
  const [ours, theirs] = [0, 1].map((i) => meanOf(pairs.map(({ took }) => took[i] as number))) as [number, number];
  return [
    ...rows,
    { metric: 'time', unit: 's a series', value: ours, peer: named, peerValue: theirs, ratio: ours / theirs },
  ];
}

/** 5 and 95 % quantile of a figure over samples of the series drawn with replacement. */
function resampled<T>(items: readonly T[], figure: (set: T[]) => number): [number, number] {
  const random = randomFrom(1);
  const figures = Array.from({ length: RESAMPLES }, () =>
    figure(items.map(() => items[Math.floor(random() * items.length)] as T)),
  );
  return [quantile(figures, 0.05), quantile(figures, 0.95)];
}

function coverage(method: string, at: number, series: readonly Series[], answers: Answers): number {
  const within = series.flatMap(({ id, actual }) => {
    const bounds = answers.get(id)?.get(method)?.bounds?.[at];
    if (bounds === undefined) return [];
    return actual.map((y, h) => (y >= (bounds.lower[h] as number) && y <= (bounds.upper[h] as number) ? 1 : 0));
  });
  return meanOf(within);
}

function meanOf(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
