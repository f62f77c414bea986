import type { Origins } from './backtest.js';

/** Absolute errors of one trial, step by step; null where no value is known. */
export type TrialErrors = readonly (number | null)[];

/** Errors of so many steps before and after tell how large those of a step are, at least and as a share of the step. */
const NEAR_MIN = 2;
const NEAR_SHARE = 0.25;

/** Absolute errors of the forecasts from each origin, `known` being what came. */
export function errorsOf(
  trials: readonly (readonly number[])[],
  known: readonly (number | null)[],
  { counts }: Origins,
): TrialErrors[] {
  return trials.map((points, at) =>
    points.map((point, h) => {
      const value = known[(counts[at] as number) + h];
      return value === null || value === undefined ? null : Math.abs(value - point);
    }),
  );
}

/** Sums of errors about each step, and how many there are. */
export interface NearSums {
  sums: Float64Array;
  numbers: Float64Array;
}

/** The farther the step, the more steps beside it. */
export function nearSums(errors: TrialErrors): NearSums {
  const steps = errors.length;
  const upTo = new Float64Array(steps + 1);
  const countUpTo = new Float64Array(steps + 1);
  for (const [h, error] of errors.entries()) {
    upTo[h + 1] = (upTo[h] as number) + (error ?? 0);
    countUpTo[h + 1] = (countUpTo[h] as number) + (error === null ? 0 : 1);
  }
  const within = (totals: Float64Array) =>
    Float64Array.from({ length: steps }, (_, h) => {
      const reach = Math.max(NEAR_MIN, Math.round(NEAR_SHARE * h));
      return (totals[Math.min(steps, h + reach + 1)] as number) - (totals[Math.max(0, h - reach)] as number);
    });
  return { sums: within(upTo), numbers: within(countUpTo) };
}

/** Of several trials together. */
export function total(parts: readonly NearSums[], steps: number): NearSums {
  const all = { sums: new Float64Array(steps), numbers: new Float64Array(steps) };
  for (const { sums, numbers } of parts) {
    for (let h = 0; h < steps; h++) {
      all.sums[h] = (all.sums[h] as number) + (sums[h] as number);
      all.numbers[h] = (all.numbers[h] as number) + (numbers[h] as number);
    }
  }
  return all;
}

/** Mean of all known errors of a trial; null when there are none. */
export function meanError(errors: TrialErrors): number | null {
  let sum = 0;
  let count = 0;
  for (const error of errors) {
    if (error === null) continue;
    sum += error;
    count += 1;
  }
  return count > 0 ? sum / count : null;
}
