import type { Predictor } from './explanation.js';
import { shareOver } from './last-known.js';

/**
 * Demand in the next tick, foretold by the one of several simple predictors that has lately erred least, and the margin
 * that covers its misses: a quantile of its errors, tracked online. The quantile of the errors in units of their usual
 * size goes up by a step after each miss and down by a little after each hit, so that misses come to the share aimed at
 * whatever their distribution (conformal quantile tracking: Angelopoulos, Candès & Tibshirani, Conformal PID Control for
 * Time Series Prediction, NeurIPS 2023; Gibbs & Candès, Adaptive Conformal Inference, NeurIPS 2021). Plain data, changed in
 * place.
 */
export interface NextDemand {
  last: number;
  level: number;
  trend: number;
  /** What each predictor said of the tick to come. */
  said: PerPredictor;
  /** Usual absolute error of each. */
  errors: PerPredictor;
  chosen: Predictor;
  margin: MarginTracker;
  /** Growth of the last tick when it went beyond all that was foretold; else 0. */
  burst: number;
  seen: number;
}

type PerPredictor = { [predictor in Predictor]: number };

/** How far what is foretold is off, and the quantile of that. */
export interface MarginTracker {
  /** Usual absolute error, as a share of what was foretold. */
  scale: number;
  /** The same in cores; negative before any error was seen. */
  cores: number;
  /** The quantile, in usual errors. */
  quantile: number;
}

export function newMargin(): MarginTracker {
  return { scale: 0.1, cores: -1, quantile: 2.5 };
}
export function newNext(): NextDemand {
  return {
    last: 0,
    level: 0,
    trend: 0,
    said: { level: 0, last: 0, trend: 0, forecast: 0 },
    errors: { level: 0, last: 0, trend: 0, forecast: 0 },
    chosen: 'last',
    margin: newMargin(),
    burst: 0,
    seen: 0,
  };
}

const PREDICTORS: Predictor[] = ['level', 'last', 'trend', 'forecast'];
const levelShare = shareOver(8);
const trendShare = shareOver(3);
/** Errors are judged over about so many ticks. */
const ERROR_TICKS = 60;
/** Another predictor takes over when it errs by so much less. */
const BETTER = 0.95;
const STEP_UP = 0.5;
const QUANTILE_MAX = 60;
const SCALE_TICKS = 60;
/** A fall is not taken to go on below this share: what nearly stops rarely ends at nothing. */
const FALL_MIN = 0.5;
/** A demand below this is noise in itself. Cores. */
const LITTLE_CPU = 0.01;

/** `spare`: cores that were ready beside the margin. The tracker given is changed and returned. */
export function trackMargin(
  tracker: MarginTracker,
  foretold: number,
  actual: number,
  level: number,
  spare = 0,
): MarginTracker {
  const most = Math.max(foretold, LITTLE_CPU);
  const error = Math.min(10, Math.max(-1, (actual - foretold) / most));
  const missed = error > marginShare(tracker, foretold) + spare / most;
  const step = missed ? STEP_UP * level : -STEP_UP * (1 - level);
  if (tracker.cores < 0) tracker.cores = tracker.scale * most;
  else tracker.cores += (Math.abs(error) * most - tracker.cores) / SCALE_TICKS;
  tracker.scale += (Math.abs(error) - tracker.scale) / SCALE_TICKS;
  tracker.quantile = Math.min(QUANTILE_MAX, Math.max(0, tracker.quantile + step));
  return tracker;
}

/**
 * What is added to what was foretold, as a share of it. Jumps from next to nothing are large shares of little, and those of
 * noise large amounts of much: an error is not taken to be usual beyond either measure.
 */
export function marginShare({ scale, cores, quantile }: MarginTracker, foretold: number): number {
  const share = cores < 0 ? scale : Math.min(scale, cores / Math.max(foretold, LITTLE_CPU));
  return share * quantile;
}

/** Takes in this tick's demand. `level`: the share of ticks that the margin shall cover. The model given is changed and returned. */
export function learnNext(model: NextDemand, demand: number, seconds: number, level: number): NextDemand {
  const { said, errors, margin } = model;
  const growth = demand - model.last;
  if (model.seen === 0) {
    model.level = demand;
  } else {
    // Name by name, since this is done for each component each second.
    errors.level += (Math.abs(demand - said.level) - errors.level) / ERROR_TICKS;
    errors.last += (Math.abs(demand - said.last) - errors.last) / ERROR_TICKS;
    errors.trend += (Math.abs(demand - said.trend) - errors.trend) / ERROR_TICKS;
    errors.forecast += (Math.abs(demand - said.forecast) - errors.forecast) / ERROR_TICKS;
    const foretold = foretoldBy(model);
    trackMargin(margin, foretold, demand, level, model.burst);
    const beyond = demand > foretold * (1 + marginShare(margin, foretold)) + LITTLE_CPU;
    model.burst = beyond && growth > 0 ? growth : 0;
    for (const each of PREDICTORS) if (by(each, errors) < BETTER * by(model.chosen, errors)) model.chosen = each;
    model.level += levelShare(seconds) * (demand - model.level);
    model.trend += trendShare(seconds) * (growth - model.trend);
  }
  model.last = demand;
  said.level = model.level;
  said.last = demand;
  said.trend = Math.max(FALL_MIN * demand, demand + model.trend);
  said.forecast = demand;
  model.seen = Math.min(1e9, model.seen + 1);
  return model;
}

/** What the chosen predictor said of the tick to come. */
export function foretoldBy({ said, chosen }: NextDemand): number {
  return by(chosen, said);
}

/** Name by name: a property whose name is only known at run time is looked up. */
function by(predictor: Predictor, of: PerPredictor): number {
  if (predictor === 'level') return of.level;
  if (predictor === 'last') return of.last;
  return predictor === 'trend' ? of.trend : of.forecast;
}

/** What a forecast from outside says of the next tick. */
export function noteForecast(model: NextDemand, nextCpu: number): NextDemand {
  model.said.forecast = nextCpu;
  return model;
}
