import type { Model } from './fit.js';
import { copyState, expected, type Form, project, step } from './holt-winters.js';
import { normalFrom, normalQuantile, randomFrom } from './random.js';
import type { Forecast, ForecastInterval } from './types.js';
import { varianceOf } from './variance.js';

export interface PredictOptions {
  /** Shares, such as 0.8 and 0.95. */
  levels?: readonly number[];
  /** Where no formula is known, this many futures are simulated. */
  paths?: number;
  /** Evenly spread in [0, 1). Without it, always the same numbers. */
  random?: () => number;
}

const PATHS = 1_000;
const SEED = 20_030_799;
/** From so many errors on, futures are made from the model's own errors, fewer make a normal distribution. */
const BOOTSTRAP_MIN = 40;

/** The next `steps` values; intervals by formula where one is known (variance.ts), otherwise simulated. */
export function predict(model: Model, steps: number, options: PredictOptions = {}): Forecast {
  const { form, parameters, state, offset } = model;
  const floor = model.nonNegative ? 0 : Number.NEGATIVE_INFINITY;
  const bound = (value: number): number => Math.max(floor, value - offset);
  const points = project(form, parameters, state, steps);
  const levels = options.levels ?? [];
  const variance = levels.length === 0 ? null : varianceOf(form, parameters, state, model.variance, steps);
  const intervals: ForecastInterval[] =
    variance === null
      ? simulated(model, steps, options, levels)
      : levels.map((level) => {
          const z = normalQuantile(0.5 + level / 2);
          const width = variance.map((each) => z * Math.sqrt(each));
          return {
            level,
            lower: points.map((point, i) => point - (width[i] as number)),
            upper: points.map((point, i) => point + (width[i] as number)),
          };
        });
  return {
    model: nameOf(form),
    mean: points.map(bound),
    intervals: intervals.map(({ level, lower, upper }) => ({
      level,
      lower: lower.map(bound),
      upper: upper.map(bound),
    })),
  };
}

/** For people: `damped multiplicative Holt-Winters, seasons 24 and 168, corrected`. */
export function nameOf(form: Form): string {
  const correction = form.correction === true ? ', corrected' : '';
  if (form.seasons.length === 0) {
    const names = { none: 'simple exponential smoothing', additive: 'Holt', damped: 'damped Holt' };
    return names[form.trend] + correction;
  }
  const trend = { none: 'level', additive: 'trend', damped: 'damped' }[form.trend];
  const seasons = `season${form.seasons.length > 1 ? 's' : ''} ${form.seasons.join(' and ')}`;
  return `${trend} ${form.seasonal} Holt-Winters, ${seasons}${correction}`;
}

/** Quantiles of many futures, each error drawn from the model's own ones. */
function simulated(
  model: Model,
  steps: number,
  options: PredictOptions,
  levels: readonly number[],
): ForecastInterval[] {
  if (levels.length === 0) return [];
  const { form, parameters } = model;
  const random = options.random ?? randomFrom(SEED);
  const known = model.errors.filter((error) => Number.isFinite(error));
  // Brings what was fitted to the size that is honest beyond the values fitted to.
  const square = known.reduce((sum, error) => sum + error * error, 0) / Math.max(1, known.length);
  const stretch = square > 0 ? Math.sqrt(model.variance / square) : 0;
  const deviation = Math.sqrt(model.variance);
  const draw =
    known.length >= BOOTSTRAP_MIN
      ? () => stretch * (known[Math.floor(random() * known.length)] as number)
      : () => deviation * normalFrom(random);
  const paths = options.paths ?? PATHS;
  const values = Array.from({ length: steps }, () => new Float64Array(paths));
  for (let path = 0; path < paths; path++) {
    const state = copyState(model.state);
    for (let h = 0; h < steps; h++) {
      const mean = expected(form, parameters, state);
      const y = form.errors === 'multiplicative' ? mean * (1 + draw()) : mean + draw();
      (values[h] as Float64Array)[path] = y;
      step(form, parameters, state, y);
    }
  }
  for (const each of values) each.sort();
  return levels.map((level) => ({
    level,
    lower: values.map((each) => quantile(each, 0.5 - level / 2)),
    upper: values.map((each) => quantile(each, 0.5 + level / 2)),
  }));
}

/** Of sorted values; between two of them in proportion. */
export function quantile(sorted: ArrayLike<number>, share: number): number {
  const at = Math.min(sorted.length - 1, Math.max(0, share * (sorted.length - 1)));
  const low = Math.floor(at);
  const below = sorted[low] ?? Number.NaN;
  return below + (at - low) * ((sorted[low + 1] ?? below) - below);
}
