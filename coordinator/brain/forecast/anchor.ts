import { areApart, type Origins } from './backtest.js';
import { errorsOf, type NearSums, nearSums, total } from './errors.js';

/** A forecast, and what it would have been at each origin. */
export interface Tried {
  points: readonly number[];
  trials: readonly (readonly number[])[];
}

/** Shares fall with this power of the error: near equals share, and one that is twice as bad hardly counts. */
const POWER = 6;
/** By this factor a simple forecast must be better to count as much: trials are few, and errors of luck among them. */
const HANDICAP = 1.1;

/**
 * The combination, drawn at each step towards those of the simple forecasts (as now, as a season ago) that its backtest
 * does not beat about that step, so that it is hardly ever worse than all of them. Each trial is drawn by the errors of
 * those apart from it. `shares`: of the combination, then of each simple one, the mean over the steps.
 */
export function anchored(
  combination: Tried,
  simple: readonly Tried[],
  known: readonly (number | null)[],
  origins: Origins,
  equal: number,
): Tried & { shares: number[] } {
  const all = [combination, ...simple];
  if (origins.counts.length === 0) return { ...combination, shares: all.map((_, i) => (i === 0 ? 1 : 0)) };
  const near = all.map(({ trials }) => errorsOf(trials, known, origins).map(nearSums));
  const sums = near.map((each) => total(each, origins.steps));
  const weights = weightsOf(sums, null, equal);
  const trials = origins.counts.map((_, at) => {
    const others = weightsOf(
      sums,
      near.map((each) =>
        total(
          each.filter((_, i) => !areApart(origins, i, at)),
          origins.steps,
        ),
      ),
      equal,
    );
    return mixed(
      all.map((each) => each.trials[at] as readonly number[]),
      others,
    );
  });
  const points = mixed(
    all.map((each) => each.points),
    weights,
  );
  return { points, trials, shares: weights.map((list) => list.reduce((sum, each) => sum + each, 0) / list.length) };
}

/** Of each forecast at each step, from the errors of all trials but, if given, some. They sum up to 1. */
function weightsOf(sums: readonly NearSums[], without: readonly NearSums[] | null, equal: number): Float64Array[] {
  const raw = sums.map((all, i) =>
    all.sums.map((sum, h) => {
      const number = (all.numbers[h] as number) - (without?.[i]?.numbers[h] ?? 0);
      // Nothing known about the step: the combination stands for itself.
      if (number === 0) return i === 0 ? 1 : 0;
      const error = Math.max(0, sum - (without?.[i]?.sums[h] ?? 0)) / number;
      return ((i === 0 ? 1 : HANDICAP) * error + Math.max(equal, Number.EPSILON)) ** -POWER;
    }),
  );
  const steps = raw[0]?.length ?? 0;
  const whole = Float64Array.from({ length: steps }, (_, h) => raw.reduce((sum, list) => sum + (list[h] as number), 0));
  return raw.map((list) => list.map((each, h) => each / (whole[h] as number)));
}

/** Beyond the last step that was tried its weights go on. */
function mixed(forecasts: readonly (readonly number[])[], weights: readonly Float64Array[]): number[] {
  const last = (weights[0]?.length ?? 1) - 1;
  return (forecasts[0] ?? []).map((_, h) =>
    forecasts.reduce((sum, points, i) => sum + (points[h] as number) * (weights[i]?.[Math.min(h, last)] as number), 0),
  );
}
