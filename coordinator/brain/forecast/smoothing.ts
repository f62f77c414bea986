/** One Holt-Winters model of forecast.ts: its state and how it learns. Plain data, pure functions. */
export interface Constants {
  alpha: number;
  /** β*: the share of a change of level that the trend takes. */
  beta: number;
  gamma: number;
  /** Damping of the trend per step, 0 … 1. */
  phi: number;
}

export interface Model extends Constants {
  level: number;
  trend: number;
  /** Seasonal offsets, the next step's at `phase`; empty without season. */
  season: number[];
  phase: number;
  /** Running variance of the one-step error, of clipped errors. */
  variance: number;
  /** Errors learnt from so far. */
  learnt: number;
  /** Running mean absolute one-step error: the lower, the more trusted. */
  score: number;
  /** Clipped errors in a row, negative for errors below; see learn. */
  clipped: number;
}

/** Errors beyond this many standard deviations count as outliers. */
const CLIP = 3;
/** So many outliers in a row on one side are no outliers: the level has shifted. */
const SHIFT_ROW = 3;
/** Clipping starts once the variance rests on so many errors. */
const CLIP_AFTER = 12;
const VARIANCE_SHARE = 0.05;
const SCORE_SHARE = 0.03;

export function createModel(constants: Constants, first: number): Model {
  return { ...constants, level: first, trend: 0, season: [], phase: 0, variance: 0, learnt: 0, score: 0, clipped: 0 };
}

/** One step on; null holds level and trend. */
export function learn(model: Model, y: number | null): Model {
  const length = model.season.length;
  const phase = length === 0 ? 0 : (model.phase + 1) % length;
  if (y === null) return { ...model, phase };
  const { alpha, beta, gamma, phi } = model;
  const seasonal = model.season[model.phase] ?? 0;
  const damped = phi * model.trend;
  const raw = y - (model.level + damped + seasonal);

  const bound = CLIP * Math.sqrt(model.variance);
  const outlies = model.learnt >= CLIP_AFTER && Math.abs(raw) > bound;
  const clipped = outlies ? Math.sign(raw) * (1 + Math.max(0, model.clipped * Math.sign(raw))) : 0;
  // After a shift the error is learnt whole; otherwise a model with a tiny variance would never reach the new level.
  const error = outlies && Math.abs(clipped) < SHIFT_ROW ? Math.sign(raw) * bound : raw;

  const learnt = model.learnt + 1;
  const varianceShare = Math.max(VARIANCE_SHARE, 1 / learnt);
  const scoreShare = Math.max(SCORE_SHARE, 1 / learnt);
  return {
    ...model,
    level: model.level + damped + alpha * error,
    trend: damped + alpha * beta * error,
    season: length === 0 ? model.season : model.season.with(model.phase, seasonal + gamma * error),
    phase,
    variance: (1 - varianceShare) * model.variance + varianceShare * error * error,
    learnt,
    score: (1 - scoreShare) * model.score + scoreShare * Math.abs(raw),
    clipped,
  };
}

/**
 * The model with the season of two whole cycles: level and trend from the means of both, offsets as the mean of what
 * is left in each place of the season, then run over the same values once.
 */
export function startSeasonal(model: Model, values: number[]): Model {
  const length = values.length / 2;
  const first = mean(values.slice(0, length));
  const trend = (mean(values.slice(length)) - first) / length;
  const line = (i: number): number => first + trend * (i - (length - 1) / 2);
  const season = Array.from({ length }, (_, i) => {
    const offsets = [i, i + length].map((at) => (values[at] ?? 0) - line(at));
    return mean(offsets);
  });
  const { alpha, beta, gamma, phi } = model;
  let started: Model = { ...createModel({ alpha, beta, gamma, phi }, line(-1)), trend, season };
  for (const value of values) started = learn(started, value);
  return started;
}

function mean(values: number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / Math.max(1, values.length);
}
