/**
 * Online forecast of one series (demand per step) by additive Holt-Winters with damped trend and one season.
 *
 * Recursions in error-correction form, with one-step error ε:
 *   ℓ ← ℓ + φb + αε,  b ← φb + αβ*ε,  s ← s + γε,  ŷ(h) = ℓ + (φ + … + φ^h)b + s(h)
 * and variance of the h-step error σ²(1 + Σ_{j<h} c_j²) with c_j = α + αβ*(φ + … + φ^j) + γ·[j mod m = 0].
 * Source: Hyndman & Athanasopoulos, Forecasting: Principles and Practice (3rd ed.), sections 8.3, 8.4 and 8.7;
 * c_j as in Hyndman, Koehler, Ord & Snyder, Forecasting with Exponential Smoothing (2008), table 6.1.
 * Errors are clipped before they are learnt from, as in Gelper, Fried & Croux, J. Forecasting 29 (2010) 285.
 *
 * Several smoothing constants run side by side; the one with the lowest recent absolute error is asked. Before two
 * whole seasons have been seen the same models run without a season. All state is plain JSON data.
 *
 *   let state = createForecaster({ stepSeconds: 60, seasonSeconds: 86_400 });
 *   state = observe(state, cores);
 *   const [next] = forecast(state, 1);
 */
import { createModel, learn, type Model, startSeasonal } from './smoothing.js';

export interface ForecasterOptions {
  stepSeconds: number;
  /** Absent or 0: no season. Seasons of under 2 or over SEASON_STEPS_MAX steps are not used. */
  seasonSeconds?: number;
  /** Width of the interval in standard deviations; 1.645 makes `upper` the 95 % quantile of a normal error. */
  z?: number;
}

export interface ForecasterState {
  stepSeconds: number;
  /** Steps in a season; 0 = none. */
  seasonSteps: number;
  z: number;
  /** Steps seen, gaps included. */
  seen: number;
  /** Values of the first two seasons, until the season can be started. */
  warmup: number[];
  models: Model[];
}

export interface ForecastPoint {
  mean: number;
  lower: number;
  upper: number;
}

export const SEASON_STEPS_MAX = 2_016;
const STEPS_AHEAD_MAX = 10_000;
/** Larger values are taken as this; keeps squares and sums finite. */
const VALUE_MAX = 1e15;

export function createForecaster(options: ForecasterOptions): ForecasterState {
  const steps = Math.round((options.seasonSeconds ?? 0) / options.stepSeconds);
  return {
    stepSeconds: options.stepSeconds,
    seasonSteps: steps >= 2 && steps <= SEASON_STEPS_MAX ? steps : 0,
    z: options.z ?? 1.645,
    seen: 0,
    warmup: [],
    models: [],
  };
}

/** Takes in the value of one step; null or anything not finite is a gap: level and trend hold, time goes on. */
export function observe(state: ForecasterState, value: number | null): ForecasterState {
  const y = value === null || !Number.isFinite(value) ? null : Math.min(VALUE_MAX, Math.max(0, value));
  if (y === null && state.models.length === 0) return state; // Nothing seen yet: the series begins with its first value.
  const models = state.models.length === 0 ? createModels(y ?? 0) : state.models.map((model) => learn(model, y));
  const next: ForecasterState = { ...state, seen: state.seen + 1, models };
  if (state.seasonSteps === 0 || isSeasonal(state)) return next;

  const last = state.warmup.at(-1) ?? 0;
  next.warmup = [...state.warmup, y ?? last];
  if (next.warmup.length < 2 * state.seasonSteps) return next;
  next.models = models.map((model) => startSeasonal(model, next.warmup));
  next.warmup = [];
  return next;
}

/** The next `steps` steps, nearest first. Never NaN, never negative; zeros before the first value. */
export function forecast(state: ForecasterState, steps: number): ForecastPoint[] {
  const count = Math.min(STEPS_AHEAD_MAX, Math.max(0, Math.floor(Number.isFinite(steps) ? steps : 0)));
  const model = bestModel(state);
  if (model === undefined) return Array.from({ length: count }, () => ({ mean: 0, lower: 0, upper: 0 }));
  const { alpha, beta, gamma, phi } = model;
  const season = model.season.length;
  const points: ForecastPoint[] = [];
  let damping = 0; // φ + … + φ^h
  let power = 1;
  let spread = 1; // 1 + Σ c_j²
  for (let h = 1; h <= count; h++) {
    power *= phi;
    damping += power;
    const seasonal = season === 0 ? 0 : (model.season[(model.phase + h - 1) % season] ?? 0);
    const mean = bounded(model.level + damping * model.trend + seasonal);
    const width = state.z * Math.sqrt(model.variance * spread);
    points.push({ mean, lower: bounded(mean - width), upper: bounded(mean + width) });
    const c = alpha + alpha * beta * damping + (season > 0 && h % season === 0 ? gamma : 0);
    spread += c * c;
  }
  return points;
}

/** Whether the season is known and in use. */
export function isSeasonal(state: ForecasterState): boolean {
  return (state.models[0]?.season.length ?? 0) > 0;
}

/** For people: which model answers now. */
export function modelName(state: ForecasterState): string {
  const model = bestModel(state);
  if (model === undefined) return 'none yet';
  const season = model.season.length * state.stepSeconds;
  return season > 0 ? `damped Holt-Winters, season ${season} s` : 'damped Holt';
}

function bounded(value: number): number {
  return Math.min(VALUE_MAX, Math.max(0, value));
}

function createModels(first: number): Model[] {
  return CONSTANTS.map((constants) => createModel(constants, first));
}

function bestModel(state: ForecasterState): Model | undefined {
  let best: Model | undefined;
  for (const model of state.models) if (best === undefined || model.score < best.score) best = model;
  return best;
}

/** From calm to quick. */
const CONSTANTS = [
  { alpha: 0.05, beta: 0.05, gamma: 0.1, phi: 0.98 },
  { alpha: 0.2, beta: 0.05, gamma: 0.1, phi: 0.98 },
  { alpha: 0.2, beta: 0.1, gamma: 0.3, phi: 0.95 },
  { alpha: 0.5, beta: 0.1, gamma: 0.1, phi: 0.95 },
  { alpha: 0.8, beta: 0.2, gamma: 0.1, phi: 0.9 },
];
