import type { Predictor } from './explanation.js';

/**
 * Demand in the next tick, foretold by the one of several simple predictors that has lately erred least, and the margin
 * that covers its misses: a quantile of its errors, tracked online. The quantile of the errors in units of their usual
 * size goes up by a step after each miss and down by a little after each hit, so that misses come to the share aimed at
 * whatever their distribution (conformal quantile tracking: Angelopoulos, Candès & Tibshirani, Conformal PID Control for
 * Time Series Prediction, NeurIPS 2023; Gibbs & Candès, Adaptive Conformal Inference, NeurIPS 2021). Plain data.
 */
export interface NextDemand {
  last: number;
  level: number;
  trend: number;
  /** What each predictor said of the tick to come. */
  said: { [predictor in Predictor]: number };
  /** Usual absolute error of each. */
  errors: { [predictor in Predictor]: number };
  chosen: Predictor;
  margin: MarginTracker;
  /** Growth of the last tick when it went beyond all that was foretold; else 0. */
  burst: number;
  seen: number;
}

/** Errors are shares of what was foretold. */
export interface MarginTracker {
  /** Usual absolute error. */
  scale: number;
  /** The quantile, in usual errors. */
  quantile: number;
}

export const NEW_MARGIN: MarginTracker = { scale: 0.1, quantile: 2.5 };
export const NEW_NEXT: NextDemand = {
  last: 0,
  level: 0,
  trend: 0,
  said: { level: 0, last: 0, trend: 0, forecast: 0 },
  errors: { level: 0, last: 0, trend: 0, forecast: 0 },
  chosen: 'last',
  margin: NEW_MARGIN,
  burst: 0,
  seen: 0,
};

const PREDICTORS: Predictor[] = ['level', 'last', 'trend', 'forecast'];
const LEVEL_SECONDS = 8;
const TREND_SECONDS = 3;
/** Errors are judged over about so many ticks. */
const ERROR_TICKS = 60;
/** Another predictor takes over when it errs by so much less. */
const BETTER = 0.95;
const STEP_UP = 0.5;
const QUANTILE_MAX = 60;
const SCALE_TICKS = 60;
/** A demand below this is noise in itself. Cores. */
const LITTLE_CPU = 0.01;

export function trackMargin(tracker: MarginTracker, foretold: number, actual: number, level: number): MarginTracker {
  const error = (actual - foretold) / Math.max(foretold, LITTLE_CPU);
  const bounded = Math.min(10, Math.max(-1, error));
  const missed = bounded > tracker.quantile * tracker.scale;
  const step = missed ? STEP_UP * level : -STEP_UP * (1 - level);
  return {
    scale: tracker.scale + (Math.abs(bounded) - tracker.scale) / SCALE_TICKS,
    quantile: Math.min(QUANTILE_MAX, Math.max(0, tracker.quantile + step)),
  };
}

export function marginShare({ scale, quantile }: MarginTracker): number {
  return scale * quantile;
}

/** Takes in this tick's demand. `level`: the share of ticks that the margin shall cover. */
export function learnNext(model: NextDemand, demand: number, seconds: number, level: number): NextDemand {
  if (model.seen === 0) {
    const said = { level: demand, last: demand, trend: demand, forecast: demand };
    return { ...NEW_NEXT, last: demand, level: demand, said, seen: 1 };
  }
  const errors = { ...model.errors };
  for (const each of PREDICTORS) errors[each] += (Math.abs(demand - model.said[each]) - errors[each]) / ERROR_TICKS;
  const foretold = model.said[model.chosen];
  const margin = trackMargin(model.margin, foretold, demand, level);
  const growth = demand - model.last;
  const beyond = demand > foretold * (1 + marginShare(model.margin)) + LITTLE_CPU;
  let chosen = model.chosen;
  for (const each of PREDICTORS) if (errors[each] < BETTER * errors[chosen]) chosen = each;
  const near = model.level + (1 - Math.exp(-seconds / LEVEL_SECONDS)) * (demand - model.level);
  const trend = model.trend + (1 - Math.exp(-seconds / TREND_SECONDS)) * (growth - model.trend);
  return {
    last: demand,
    level: near,
    trend,
    said: { level: near, last: demand, trend: Math.max(0, demand + trend), forecast: demand },
    errors,
    chosen,
    margin,
    burst: beyond && growth > 0 ? growth : 0,
    seen: Math.min(1e9, model.seen + 1),
  };
}

/** What a forecast from outside says of the next tick. */
export function noteForecast(model: NextDemand, nextCpu: number): NextDemand {
  return { ...model, said: { ...model.said, forecast: nextCpu } };
}
