import { combine } from '../../../coordinator/brain/forecast/index.js';
import { alone, type Row } from './rows.js';
import type { Trace } from './traces.js';

const HOUR_SECONDS = 3_600;
const DAY_SECONDS = 86_400;
/** Forecasts for each horizon, evenly over the second half of a trace. */
const ORIGINS = 8;
const PAST_DAYS = 21;
const LEVELS = [0.8, 0.95];

interface Sums {
  values: number;
  ours: number;
  naive: number;
  /** By the values a day and a week before. */
  day: number;
  week: number;
  within: number[];
}

/**
 * The offline combination on one trace: the next hour and the next day from some places of it, beside the last value and the
 * values a day and a week before.
 */
export function combinedRows(trace: Trace): Row[] {
  return [HOUR_SECONDS, DAY_SECONDS].flatMap((seconds) => {
    const cpu = process.cpuUsage();
    const sums = sumsOf(trace, Math.max(1, Math.round(seconds / trace.stepSeconds)));
    const cpuMs = process.cpuUsage(cpu).user / 1000 / ORIGINS;
    const name = `${trace.name}, combination, the next ${seconds / HOUR_SECONDS} h`;
    const against = (peer: string, theirs: number): Row => ({
      metric: `${name}, mean absolute error`,
      unit: 'demand',
      value: sums.ours / sums.values,
      peer,
      peerValue: theirs / sums.values,
      ratio: sums.ours / theirs,
    });
    return [
      against('naive', sums.naive),
      against('seasonal naive', sums.day),
      against('seasonal naive of a week', sums.week),
      ...LEVELS.map((level, k) =>
        alone(`${name}, within the ${100 * level} % interval`, '%', (100 * (sums.within[k] as number)) / sums.values),
      ),
      alone(`${name}, CPU time of one forecast`, 'ms', cpuMs),
    ];
  });
}

function sumsOf({ startSeconds, stepSeconds, values }: Trace, steps: number): Sums {
  const day = Math.round(DAY_SECONDS / stepSeconds);
  const sums: Sums = { values: 0, ours: 0, naive: 0, day: 0, week: 0, within: LEVELS.map(() => 0) };
  const first = Math.floor(values.length / 2);
  for (let i = 0; i < ORIGINS; i++) {
    const origin = first + Math.floor(((values.length - steps - first) * i) / (ORIGINS - 1));
    const from = Math.max(0, origin - PAST_DAYS * day);
    const past = values.slice(from, origin);
    const last = past.findLast((value) => value !== null) ?? 0;
    const { mean, intervals } = combine(past, steps, {
      levels: LEVELS,
      startSeconds: startSeconds + from * stepSeconds,
      stepSeconds,
    });
    for (let h = 0; h < steps; h++) {
      const actual = values[origin + h];
      const before = values[origin + h - day];
      if (typeof actual !== 'number' || typeof before !== 'number') continue;
      sums.values += 1;
      sums.ours += Math.abs(actual - (mean[h] as number));
      sums.naive += Math.abs(actual - last);
      sums.day += Math.abs(actual - before);
      sums.week += Math.abs(actual - (values[origin + h - 7 * day] ?? before));
      for (const [k, { lower, upper }] of intervals.entries()) {
        const isWithin = actual >= (lower[h] as number) && actual <= (upper[h] as number);
        sums.within[k] = (sums.within[k] as number) + (isWithin ? 1 : 0);
      }
    }
  }
  return sums;
}
