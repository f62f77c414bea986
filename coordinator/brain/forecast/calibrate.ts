import type { Origins } from './backtest.js';
import { quantile } from './predict.js';
import { normalQuantile } from './random.js';
import type { ForecastInterval } from './types.js';

/** Errors of so many steps before and after tell how large those of a step are, at least and as a share of the step. */
const NEAR_MIN = 2;
const NEAR_SHARE = 0.25;

/** Errors below this say nothing: values are in units of the largest. */
const SIZE_MIN = 1e-12;

export interface Calibrated {
  intervals: ForecastInterval[];
  /** Mean absolute error of the trials; null without any. */
  error: number | null;
}

/**
 * Intervals about `mean` as wide as the errors of past trials ask: each step's error is measured by the usual size of errors
 * about that step, and the share `level` of all measured errors, with the correction for finitely many, is covered. Split
 * conformal prediction: Lei, G'Sell, Rinaldo, Tibshirani & Wasserman, J. Am. Stat. Assoc. 113 (2018) 1094. `trials` are
 * forecasts from each origin, `known` what came. Without trials, those of a random walk.
 */
export function calibrate(
  mean: readonly number[],
  trials: readonly (readonly number[])[],
  known: readonly (number | null)[],
  { counts, steps }: Origins,
  levels: readonly number[],
  floor: number,
): Calibrated {
  const errors = trials.map((points, at) =>
    points.map((point, h) => {
      const value = known[(counts[at] as number) + h];
      return value === null || value === undefined ? null : Math.abs(value - point);
    }),
  );
  const all = errors.flat().filter((error) => error !== null);
  const widths =
    all.length === 0 ? wander(known, levels, mean.length) : measured(errors, { counts, steps }, levels, mean.length);
  return {
    error: all.length === 0 ? null : all.reduce((sum, error) => sum + error, 0) / all.length,
    intervals: levels.map((level, i) => ({
      level,
      lower: mean.map((point, h) => Math.max(floor, point - ((widths[i] as number[])[h] as number))),
      upper: mean.map((point, h) => Math.max(floor, point + ((widths[i] as number[])[h] as number))),
    })),
  };
}

function measured(
  errors: readonly (readonly (number | null)[])[],
  { counts, steps }: Origins,
  levels: readonly number[],
  ahead: number,
): number[][] {
  const stretches = 1 + ((counts.at(-1) ?? 0) - (counts[0] ?? 0)) / steps;
  const sizes = Array.from({ length: steps }, (_, h) => usualSize(errors, h));
  const ratios = errors
    .flatMap((trial) => trial.map((error, h) => (error === null ? null : error / (sizes[h] as number))))
    .filter((ratio) => ratio !== null)
    .sort((a, b) => a - b);
  const last = sizes.at(-1) ?? 0;
  // The size of errors is itself known from few stretches that do not overlap, n of them: what is to come differs from their
  // mean by √(1 + 1/n) as much as a stretch from the true one.
  const unknown = Math.sqrt(1 + 1 / stretches);
  return levels.map((level) => {
    const share = Math.min(1, (level * (ratios.length + 1)) / ratios.length);
    const factor = unknown * quantile(ratios, share);
    // Beyond what was tried, errors grow as a random walk's.
    return Array.from({ length: ahead }, (_, h) => factor * (sizes[h] ?? last * Math.sqrt((h + 1) / steps)));
  });
}

/** Mean absolute error about the step `h`, never 0. */
function usualSize(errors: readonly (readonly (number | null)[])[], h: number): number {
  const reach = Math.max(NEAR_MIN, Math.round(NEAR_SHARE * h));
  let sum = 0;
  let count = 0;
  for (const trial of errors) {
    for (const error of trial.slice(Math.max(0, h - reach), h + reach + 1)) {
      if (error === null) continue;
      sum += error;
      count += 1;
    }
  }
  return Math.max(SIZE_MIN, sum / Math.max(1, count));
}

/** Half the width of a random walk's intervals, by its steps' size. */
function wander(known: readonly (number | null)[], levels: readonly number[], ahead: number): number[][] {
  const values = known.filter((value) => value !== null);
  let squares = 0;
  for (let i = 1; i < values.length; i++) squares += ((values[i] as number) - (values[i - 1] as number)) ** 2;
  const deviation = Math.sqrt(squares / Math.max(1, values.length - 1));
  return levels.map((level) => {
    const z = normalQuantile(0.5 + level / 2);
    return Array.from({ length: ahead }, (_, h) => z * deviation * Math.sqrt(h + 1));
  });
}
