import type { Origins } from './backtest.js';
import { errorsOf, meanError, nearSums, type TrialErrors, total } from './errors.js';
import { quantile } from './predict.js';
import { normalQuantile, studentQuantile } from './random.js';
import type { ForecastInterval } from './types.js';

/** Errors below this say nothing: values are in units of the largest. */
const SIZE_MIN = 1e-12;
/** A trial so many horizons ago says half as much of how large errors are now. */
const RECENT_HALF_LIFE = 3;

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
  origins: Origins,
  levels: readonly number[],
  floor: number,
): Calibrated {
  const errors = errorsOf(trials, known, origins);
  const all = errors.flat().filter((error) => error !== null);
  const widths =
    all.length === 0
      ? wander(known, levels, mean.length)
      : measured(errors, known.length, origins, levels, mean.length);
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
  errors: readonly TrialErrors[],
  count: number,
  { counts, steps }: Origins,
  levels: readonly number[],
  ahead: number,
): number[][] {
  const { sums, numbers } = total(errors.map(nearSums), steps);
  const sizes = sums.map((sum, h) => Math.max(SIZE_MIN, sum / Math.max(1, numbers[h] as number)));
  const measures = errors.map((trial) =>
    trial.map((error, h) => (error === null ? null : error / (sizes[h] as number))),
  );
  const ratios = measures
    .flat()
    .filter((ratio) => ratio !== null)
    .sort((a, b) => a - b);
  const last = sizes.at(-1) ?? 0;
  const stretches = counts.reduce(
    (sum, at, i) => sum + (i === 0 ? 1 : Math.min(1, (at - (counts[i - 1] ?? 0)) / steps)),
    0,
  );
  const lately = grown(
    measures,
    counts.map((at) => (count - steps - at) / steps),
  );
  return levels.map((level) => {
    const share = Math.min(1, (level * (ratios.length + 1)) / ratios.length);
    // Steps of one trial err together, so that only trials that do not overlap count as known errors: few of them leave the
    // size of errors in doubt as they do in Student's t.
    const doubt = studentQuantile(0.5 + level / 2, 1 + stretches) / normalQuantile(0.5 + level / 2);
    const factor = doubt * lately * quantile(ratios, share);
    // Beyond what was tried, errors grow as a random walk's.
    return Array.from({ length: ahead }, (_, h) => factor * (sizes[h] ?? last * Math.sqrt((h + 1) / steps)));
  });
}

/** By which factor errors have lately been larger than over all trials; at least 1. `ages` of the trials in horizons. */
function grown(measures: readonly TrialErrors[], ages: readonly number[]): number {
  let sum = 0;
  let weights = 0;
  for (const [at, trial] of measures.entries()) {
    const size = meanError(trial);
    if (size === null) continue;
    const weight = 0.5 ** ((ages[at] as number) / RECENT_HALF_LIFE);
    sum += weight * size;
    weights += weight;
  }
  return weights > 0 ? Math.max(1, sum / weights) : 1;
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
