/**
 * Holt-Winters exponential smoothing: level, trend (none, additive, damped), none to two seasons (additive or
 * multiplicative), and a correction for the last error. With the error e = y − ŷ of the forecast before correction:
 *
 *   additive:        ŷ = ℓ + φb + Σs          ℓ ← ℓ + φb + αe,               s ← s + γe
 *   multiplicative:  ŷ = (ℓ + φb)·Πs          ℓ ← ℓ + φb + α(y/Πs − ℓ − φb),  s ← s + γ(y/((ℓ + φb)·Πs′) − s)
 *   both:            b ← φb + β(ℓ_new − ℓ − φb); forecast + ρ·e of the step before     (s′: the other season)
 *
 * Sources: Winters, Management Science 6 (1960) 324; Hyndman & Athanasopoulos, Forecasting: Principles and Practice
 * (3rd ed.), ch. 8 (this form, with β there called β*); two seasons and ρ: Taylor, J. Oper. Res. Soc. 54 (2003) 799.
 *
 * Winters and Taylor let the season learn from the level that has just been updated, as R's HoltWinters and dshw do
 * (`seasonFrom: 'new-level'`), and statsmodels' ETSModel as well, with γ/(1 − α) for γ; R's ets and hw, statsmodels'
 * ExponentialSmoothing and fpp3 from the one before (`'old-level'`, the default). For an additive season both are one
 * model: γ of 'new-level' equals γ(1 − α) of 'old-level'.
 *
 *   const model = fit(values, { trend: 'damped', seasonal: 'additive', seasons: [24, 168], correction: true });
 *   const { mean, intervals } = predict(model, 48, { levels: [0.8, 0.95] });
 */
export type Trend = 'none' | 'additive' | 'damped';

export interface Form {
  trend: Trend;
  /** How the seasons act; without seasons of no effect. */
  seasonal: 'additive' | 'multiplicative';
  /** Lengths in steps, each at least 2, the shortest first; none to two. */
  seasons: readonly number[];
  /** Whether the share ρ of the last error is added to the forecast of the next step, ρ² to the one after, … */
  correction?: boolean;
  seasonFrom?: 'old-level' | 'new-level';
  /** Whether errors grow with the forecast; only the likelihood and the intervals ask. Default: additive. */
  errors?: 'additive' | 'multiplicative';
}

/** Shares, 0 … 1, except ρ, which may be negative. */
export interface Parameters {
  alpha: number;
  /** The share of a change of level that the trend takes; ets calls αβ beta. */
  beta: number;
  /** One for each season. */
  gammas: readonly number[];
  /** Damping of the trend per step; 1 = none. */
  phi: number;
  rho: number;
}

/** What a model knows after some steps. Plain data, changed in place by `step`. */
export interface State {
  level: number;
  trend: number;
  /** The next step's offset or factor of each season stands at its phase. */
  seasons: number[][];
  phases: number[];
  /** Error of the last step before correction; 0 after a gap. */
  error: number;
}

/** Below this a level or factor is taken as this when divided by. */
const TINY = 1e-12;

export function copyState(state: State): State {
  return { ...state, seasons: state.seasons.map((season) => season.slice()), phases: state.phases.slice() };
}

/** The forecast of the next step, correction included. */
export function expected(form: Form, parameters: Parameters, state: State): number {
  return compose(form, level(form, parameters, state), state) + parameters.rho * state.error;
}

/**
 * Takes in the value of one step, in constant time; changes `state`, which the caller owns. Null is a gap: the trend
 * carries the level on, seasons hold. Returns the error of the corrected forecast, NaN for a gap.
 */
export function step(form: Form, parameters: Parameters, state: State, y: number | null): number {
  const base = level(form, parameters, state);
  const { seasons, phases } = state;
  const { alpha, beta, gammas } = parameters;
  const forecast = compose(form, base, state);
  let change = 0;
  let corrected = Number.NaN;
  if (y !== null) {
    const error = y - forecast;
    corrected = error - parameters.rho * state.error;
    change = form.seasonal === 'additive' ? alpha * error : alpha * (y / nonZero(factor(state)) - base);
    learnSeasons(form, gammas, state, y, error, base + change, alpha);
    state.error = error;
  } else {
    state.error = 0;
  }
  const damped = base - state.level;
  state.level = base + change;
  // Written so that a model without trend keeps exactly 0.
  state.trend = form.trend === 'none' ? 0 : damped + beta * change;
  for (let i = 0; i < seasons.length; i++) {
    const next = (phases[i] as number) + 1;
    phases[i] = next === (seasons[i] as number[]).length ? 0 : next;
  }
  return corrected;
}

export interface Run {
  /** One-step forecasts, correction included. */
  fitted: number[];
  /** NaN at gaps. */
  errors: number[];
  /** After the last value. */
  state: State;
}

/** Runs the model over values from an initial state, which is left as it was. */
export function run(form: Form, parameters: Parameters, initial: State, values: readonly (number | null)[]): Run {
  const state = copyState(initial);
  const fitted: number[] = [];
  const errors: number[] = [];
  for (const value of values) {
    fitted.push(expected(form, parameters, state));
    errors.push(step(form, parameters, state, value));
  }
  return { fitted, errors, state };
}

/** The next `steps` values, nearest first, as the model expects them; unbounded. */
export function project(form: Form, parameters: Parameters, state: State, steps: number): number[] {
  const points: number[] = [];
  let power = 1;
  let damping = 0;
  let correction = state.error;
  for (let h = 0; h < steps; h++) {
    power *= form.trend === 'damped' ? parameters.phi : 1;
    damping += power;
    correction *= parameters.rho;
    const base = state.level + (form.trend === 'none' ? 0 : damping * state.trend);
    points.push(compose(form, base, state, h) + correction);
  }
  return points;
}

/** Level of the next step, without season. */
function level(form: Form, parameters: Parameters, state: State): number {
  if (form.trend === 'none') return state.level;
  return state.level + (form.trend === 'damped' ? parameters.phi * state.trend : state.trend);
}

/** Puts the seasons `ahead` steps after the next one onto a level. */
function compose(form: Form, base: number, { seasons, phases }: State, ahead = 0): number {
  let value = base;
  for (let i = 0; i < seasons.length; i++) {
    const season = seasons[i] as number[];
    const at = season[((phases[i] as number) + ahead) % season.length] as number;
    value = form.seasonal === 'additive' ? value + at : value * at;
  }
  return value;
}

/** Product of the factors of the next step. */
function factor({ seasons, phases }: State): number {
  let product = 1;
  for (let i = 0; i < seasons.length; i++) product *= (seasons[i] as number[])[phases[i] as number] as number;
  return product;
}

function learnSeasons(
  form: Form,
  gammas: readonly number[],
  state: State,
  y: number,
  error: number,
  updated: number,
  alpha: number,
): void {
  const { seasons, phases } = state;
  const fromNew = form.seasonFrom === 'new-level';
  if (form.seasonal === 'additive') {
    const left = fromNew ? (1 - alpha) * error : error;
    for (let i = 0; i < seasons.length; i++) {
      const season = seasons[i] as number[];
      const at = phases[i] as number;
      season[at] = (season[at] as number) + (gammas[i] as number) * left;
    }
    return;
  }
  const all = factor(state);
  const base = fromNew ? updated : (y - error) / nonZero(all);
  for (let i = 0; i < seasons.length; i++) {
    const season = seasons[i] as number[];
    const old = season[phases[i] as number] as number;
    const others = seasons.length === 1 ? 1 : all / nonZero(old);
    season[phases[i] as number] = old + (gammas[i] as number) * (y / nonZero(base * others) - old);
  }
}

function nonZero(value: number): number {
  return Math.abs(value) < TINY ? TINY : value;
}
