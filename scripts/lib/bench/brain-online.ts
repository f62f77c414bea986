import {
  applyRefit,
  createDemandForecaster,
  type DemandForecaster,
  forecastDemand,
  forecastPath,
  loadDemandForecaster,
  observeDemand,
  refitJob,
  runRefit,
  saveDemandForecaster,
  skipDemand,
} from '../../../coordinator/brain/forecast/index.js';
import { randomFrom } from '../../../coordinator/brain/forecast/random.js';
import { quantile } from '../demo/recorder.js';
import { combinedRows } from './brain-combined.js';
import { alone, type Row } from './rows.js';
import { readTraces, type Trace } from './traces.js';

const SERIES = 10_000;
const STEPS = 200;
const WARM_STEPS = 50;
const SEASON_SECONDS = 60;
const AHEAD_SECONDS = 5;
const LONG_RUN_DAYS = 16;
const LONG_GAP_DAYS = 30;
const DAY_SECONDS = 86_400;
/** Of a trace, left to learn from before anything is counted. */
const LEARN_SHARE = 0.3;
/** Ahead in seconds, at least a step. */
const HORIZONS = [0, 300, 900, 3_600];
/** How far ahead the rule's rival is provisioned. */
const PROVISION_SECONDS = 300;
const RULE_DAYS = 7;

/**
 * The online forecaster: its speed and memory with many series, then on each trace its errors and coverage one step to
 * one hour ahead beside naive and seasonal naive, and what it would provision beside the maximum of the same time on the
 * last days plus a margin; and the offline combination on the same traces. It is told neither seasons nor anything else of the traces.
 */
export async function benchBrainOnline(folder = process.env.SHOAL_TRACES): Promise<Row[]> {
  const traces = readTraces(folder);
  const rows = speed();
  for (const trace of traces) rows.push(...accuracy(trace), ...combinedRows(trace));
  return rows;
}

function speed(): Row[] {
  const random = randomFrom(8);
  const aged = createDemandForecaster({ seasonSeconds: 0 });
  for (let second = 0; second < LONG_RUN_DAYS * DAY_SECONDS; second++) observeDemand(aged, 10 + random());
  return [
    ...speedOf(`${SERIES} series`, 0, WARM_STEPS),
    ...speedOf(`${SERIES} series with a season`, SEASON_SECONDS, 2 * SEASON_SECONDS + 5),
    alone(`${LONG_GAP_DAYS} days without values made up for, CPU time`, 'ms', gapMs(aged)),
    alone(`arrays of a series after ${LONG_RUN_DAYS} days of seconds`, 'KiB', arrayBytes(aged) / 1024),
    alone('the same, saved as text', 'KiB', saveDemandForecaster(aged).length / 1024),
  ];
}

/** Of one series. */
function gapMs(forecaster: DemandForecaster): number {
  const copy = loadDemandForecaster(saveDemandForecaster(forecaster));
  if (copy instanceof Error) throw copy;
  const cpu = process.cpuUsage();
  skipDemand(copy, LONG_GAP_DAYS * DAY_SECONDS);
  return process.cpuUsage(cpu).user / 1000;
}

/** Half of the steps ask for a forecast of all series as well. CPU time is that of this process, means. */
function speedOf(name: string, seasonSeconds: number, warmSteps: number): Row[] {
  const random = randomFrom(7);
  const before = process.memoryUsage();
  const all = Array.from({ length: SERIES }, () => createDemandForecaster({ seasonSeconds }));
  const phases = all.map(() => random());
  const [observed, withForecast] = [newTimes(), newTimes()];
  let highest = 0;
  for (let step = 0; step < warmSteps + STEPS; step++) {
    const values = phases.map((phase) => 10 + 3 * Math.sin(2 * Math.PI * (step / SEASON_SECONDS + phase)) + random());
    const asked = step % 2 === 1;
    const start = performance.now();
    const cpu = process.cpuUsage();
    for (let i = 0; i < SERIES; i++) {
      const forecaster = observeDemand(all[i] as DemandForecaster, values[i] as number);
      if (asked) for (const { upper } of forecastDemand(forecaster, AHEAD_SECONDS)) highest = Math.max(highest, upper);
    }
    if (step < warmSteps) continue;
    const times = asked ? withForecast : observed;
    times.wallMs.push(performance.now() - start);
    times.cpuMs += process.cpuUsage(cpu).user / 1000;
  }
  const inUse = all.every(({ views }) => views.length > 1);
  if (!(highest > 0) || inUse !== seasonSeconds > 0) throw new Error('not what was to be measured');
  const after = process.memoryUsage();
  const bytes = after.heapUsed + after.arrayBuffers - before.heapUsed - before.arrayBuffers;
  const rowsOf = (what: string, { wallMs, cpuMs }: Times) => [
    alone(`${name} ${what}, p50`, 'ms', quantile(wallMs, 0.5)),
    alone(`${name} ${what}, least`, 'ms', Math.min(...wallMs)),
    alone(`${name} ${what}, CPU time`, 'ms', cpuMs / wallMs.length),
  ];
  return [
    ...rowsOf('take in a value', observed),
    ...rowsOf(`take in a value and forecast ${AHEAD_SECONDS} steps`, withForecast),
    alone(`${name}, memory of one after ${warmSteps + STEPS} s`, 'KiB', bytes / SERIES / 1024),
  ];
}

interface Times {
  wallMs: number[];
  cpuMs: number;
}

const newTimes = (): Times => ({ wallMs: [], cpuMs: 0 });

function arrayBytes({ history, levels, record, constants }: DemandForecaster): number {
  const sum = [...history.rings.map(({ values }) => values), levels, record.numbers, constants];
  return sum.reduce((bytes, array) => bytes + array.byteLength, 0);
}

interface Seen {
  day: number;
  actual: number;
  mean: number;
  /** The last value, and the value a day before. */
  naive: number;
  seasonal: number;
  in80: boolean;
  in95: boolean;
  upper: number;
  /** At the same time on the last days; null while none is known. */
  most: number | null;
}

function accuracy({ name, stepSeconds, values }: Trace): Row[] {
  const steps = [...new Set(HORIZONS.map((seconds) => Math.max(1, Math.round(seconds / stepSeconds))))];
  const longest = steps.at(-1) as number;
  const day = Math.round(DAY_SECONDS / stepSeconds);
  const forecaster = createDemandForecaster({ seasonSeconds: 0, stepSeconds });
  const seen = steps.map((): Seen[] => []);
  let refits = 0;
  let refitMs = 0;
  let last = 0;
  // Every few steps, or the longest traces would take an hour.
  const every = Math.max(1, Math.round(180 / stepSeconds));
  for (const [i, value] of values.entries()) {
    observeDemand(forecaster, value);
    last = value ?? last;
    const job = refitJob(forecaster);
    if (job !== null) {
      const cpu = process.cpuUsage();
      applyRefit(forecaster, runRefit(job));
      refitMs += process.cpuUsage(cpu).user / 1000;
      refits += 1;
    }
    if (i < LEARN_SHARE * values.length || i % every > 0) continue;
    const { mean, intervals } = forecastPath(forecaster, longest * stepSeconds, [0.8, 0.95, 0.9]);
    for (const [j, ahead] of steps.entries()) {
      const actual = values[i + ahead];
      const seasonal = values[i + ahead - day];
      if (typeof actual !== 'number' || typeof seasonal !== 'number') continue;
      const at = ahead - 1;
      const within = (k: number) =>
        actual >= (intervals[k]?.lower[at] as number) && actual <= (intervals[k]?.upper[at] as number);
      const days = Array.from({ length: RULE_DAYS }, (_, k) => values[i + ahead - (k + 1) * day]);
      seen[j]?.push({
        day: Math.floor(i / day),
        actual,
        mean: mean[at] as number,
        naive: last,
        seasonal,
        in80: within(0),
        in95: within(1),
        upper: intervals[2]?.upper[at] as number,
        most: most(days),
      });
    }
  }
  const rows = steps.flatMap((ahead, j) => rowsOf(`${name}, ${spoken(ahead * stepSeconds)} ahead`, seen[j] as Seen[]));
  const provisioned = steps.findIndex((ahead) => ahead * stepSeconds >= PROVISION_SECONDS);
  rows.push(...provisioning(name, seen[Math.max(0, provisioned)] as Seen[]));
  rows.push(alone(`${name}, CPU time of one refit`, 'ms', refitMs / Math.max(1, refits)));
  return rows;
}

function most(values: readonly (number | null | undefined)[]): number | null {
  const known = values.filter((value) => typeof value === 'number');
  return known.length === 0 ? null : Math.max(...known);
}

function rowsOf(metric: string, seen: readonly Seen[]): Row[] {
  const share = (holds: (each: Seen) => boolean) => (100 * seen.filter(holds).length) / seen.length;
  return [
    against(`${metric}, mean absolute error`, 'naive', seen, (each) => each.naive),
    against(`${metric}, mean absolute error`, 'seasonal naive', seen, (each) => each.seasonal),
    alone(
      `${metric}, within the 80 % interval`,
      '%',
      share(({ in80 }) => in80),
    ),
    alone(
      `${metric}, within the 95 % interval`,
      '%',
      share(({ in95 }) => in95),
    ),
    alone(
      `${metric}, under the upper bound of 95 %`,
      '%',
      share(({ actual, upper }) => actual <= upper),
    ),
  ];
}

/** Mean absolute errors, with the spread of their ratio over the days. */
function against(metric: string, peer: string, seen: readonly Seen[], theirs: (each: Seen) => number): Row {
  const of = (list: readonly Seen[]) => {
    const sum = (forecast: (each: Seen) => number) =>
      list.reduce((all, each) => all + Math.abs(each.actual - forecast(each)), 0) / list.length;
    return { value: sum(({ mean }) => mean), peerValue: sum(theirs) };
  };
  const days = [...new Set(seen.map(({ day }) => day))].map((day) => seen.filter((each) => each.day === day));
  const ratios = days.map(of).flatMap(({ value, peerValue }) => (peerValue > 0 ? [value / peerValue] : []));
  const { value, peerValue } = of(seen);
  const spread: [number, number] = [quantile(ratios, 0.05), quantile(ratios, 0.95)];
  return { metric, unit: 'demand', value, peer, peerValue, ratio: value / peerValue, spread };
}

/** What the upper bound would provision beside the rule whose margin makes its cost, or its misses, equal: in hindsight. */
function provisioning(name: string, seen: readonly Seen[]): Row[] {
  const known = seen.filter((each) => each.most !== null);
  const demand = known.reduce((sum, { actual }) => sum + actual, 0);
  const judge = (provisioned: (each: Seen) => number) => {
    let [over, under] = [0, 0];
    for (const each of known) {
      const left = provisioned(each) - each.actual;
      if (left < 0) under += 1;
      else over += left;
    }
    return { over: (100 * over) / demand, under: (100 * under) / known.length };
  };
  const ours = judge(({ upper }) => upper);
  const rule = (margin: number) => judge((each) => (each.most as number) * margin);
  // Both figures change one way only with the margin.
  const marginWhere = (tooSmall: (margin: number) => boolean) => {
    let [low, high] = [0, 64];
    for (let i = 0; i < 60; i++) {
      const middle = (low + high) / 2;
      if (tooSmall(middle)) low = middle;
      else high = middle;
    }
    return high;
  };
  const sameCost = rule(marginWhere((margin) => rule(margin).over < ours.over));
  const sameMisses = rule(marginWhere((margin) => rule(margin).under > ours.under));
  const peer = `maximum of the same time on ${RULE_DAYS} days × margin`;
  const row = (metric: string, value: number, peerValue: number): Row => ({
    metric: `${name}, ${metric}`,
    unit: '%',
    value,
    peer,
    peerValue,
    ratio: value / peerValue,
  });
  return [
    row('steps provisioned for less than came, at equal cost', ours.under, sameCost.under),
    row('provisioned above what came, at equal misses', ours.over, sameMisses.over),
  ];
}

function spoken(seconds: number): string {
  return seconds < 3_600 ? `${seconds / 60} min` : `${seconds / 3_600} h`;
}
