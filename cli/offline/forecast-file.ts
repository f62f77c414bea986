import { createReadStream } from 'node:fs';
import type { Member } from '../../coordinator/brain/forecast/index.js';
import { perSecond } from '../../coordinator/csv.js';
import { ShoalError } from '../../protocol/errors.js';
import { reasonOf } from '../client.js';
import { linesOf } from '../lines.js';
import { ProblemError, problemOfCode } from '../problem-error.js';
import { type Clock, createSeriesReader, type OfflineSeries } from './series-parse.js';

/** File name that stands for standard input. */
const STDIN = '-';
/** Of one row; UTF-16 units. A longer one is cut, and then named as bad. */
const ROW_MAX = 16 * 1024 * 1024;
const MS = 1_000;

/** How one series of a file goes on; the document of `shoal forecast --file --json`. */
export interface OfflineForecast {
  id: string;
  model: string;
  /** In steps, the shortest first. */
  seasons: readonly number[];
  /** Null when the file gives no times. */
  stepSeconds: number | null;
  /** Each method's share, and its mean absolute error in the backtest. */
  members: Member[];
  /** What the backtest rests on: forecasts of so many steps from so many moments; the combination's error in it. */
  backtest: { origins: number; steps: number; error: number | null };
  points: OfflinePoint[];
}

export interface OfflinePoint {
  /** 1 for the step after the last row. */
  step: number;
  /** As the file gives times: in seconds, in milliseconds, or as a date. */
  time?: number | string;
  mean: number;
  /** Levels in percent. */
  intervals: { level: number; lower: number; upper: number }[];
}

export interface OfflineOptions {
  /** Null: to be found. */
  seasons: readonly number[] | null;
  /** Shares. */
  levels: readonly number[];
  signal: AbortSignal;
}

/** Forecasts every series of the file. */
export async function forecastFile(file: string, steps: number, options: OfflineOptions): Promise<OfflineForecast[]> {
  const series = await readSeries(file);
  // Loaded here only, so that other commands start without it.
  const { combine } = await import('../../coordinator/brain/forecast/index.js');
  const { seasons, levels, signal } = options;
  return series.map(({ id, line, values, clock }) => {
    signal.throwIfAborted();
    try {
      const found = combine(values, steps, { levels, ...(seasons === null ? {} : { seasons }), ...clock });
      return {
        id,
        model: found.model,
        seasons: found.seasons,
        stepSeconds: clock?.stepSeconds ?? null,
        members: found.members,
        backtest: { origins: found.backtest.counts.length, steps: found.backtest.steps, error: found.error },
        points: found.mean.map((mean, h) => ({
          step: h + 1,
          ...(clock === undefined ? {} : { time: timeOf(clock, values.length + h) }),
          mean,
          intervals: found.intervals.map(({ level, lower, upper }) => ({
            level: Math.round(level * 1e8) / 1e6,
            lower: lower[h] ?? mean,
            upper: upper[h] ?? mean,
          })),
        })),
      };
    } catch (cause) {
      if (!(cause instanceof RangeError)) throw cause;
      const where = line === undefined ? nameOf(file) : `${nameOf(file)}:${line}: series ${id}`;
      throw new ShoalError('SHOAL_E_USAGE', `${where}: ${cause.message}`, { cause });
    }
  });
}

async function readSeries(file: string): Promise<OfflineSeries[]> {
  const reader = createSeriesReader();
  try {
    const stream = file === STDIN ? process.stdin : createReadStream(file);
    stream.setEncoding('utf8');
    for await (const line of linesOf(stream as AsyncIterable<string>, ROW_MAX)) {
      if (!reader.line(line)) break;
    }
  } catch (cause) {
    throw new ShoalError('SHOAL_E_USAGE', `cannot read ${file}: ${reasonOf(cause)}`, { cause });
  }
  const parsed = reader.end();
  if (parsed.ok) return parsed.series;
  const errors = parsed.faults.map((fault) => ({ ...fault, column: 1 }));
  const problem = problemOfCode('SHOAL_E_USAGE', 'the file has bad rows; nothing was forecast', errors);
  throw new ProblemError(problem, nameOf(file));
}

function nameOf(file: string): string {
  return file === STDIN ? '<stdin>' : file;
}

function timeOf(clock: Clock, index: number): number | string {
  const seconds = secondsOf(clock, index);
  const { timesIn } = clock;
  if (timesIn === 'dates') return new Date(Math.round(seconds * MS)).toISOString();
  // Without the last digits, which sums leave behind.
  return timesIn === 'seconds' ? Number(seconds.toPrecision(15)) : Math.round(seconds * perSecond(timesIn));
}

function secondsOf({ startSeconds, stepSeconds, stepMonths, atMonthEnd }: Clock, index: number): number {
  if (stepMonths === undefined) return startSeconds + index * stepSeconds;
  const date = new Date(startSeconds * MS);
  const month = date.getUTCMonth() + index * stepMonths;
  // Day 0 is the last of the month before.
  const ms = atMonthEnd === true ? date.setUTCMonth(month + 1, 0) : date.setUTCMonth(month);
  return ms / MS;
}
