import { copyState, type Form, type Parameters, run, type State } from './holt-winters.js';
import { createKernel, type Kernel, reset as resetKernel, runKernel } from './kernel.js';
import { solve } from './linear.js';
import { type Bounds, minimise } from './optimise.js';
import { mean, startState } from './start.js';

/** A fitted model. Plain data. */
export interface Model {
  form: Form;
  parameters: Parameters;
  /** Before the first value. */
  initial: State;
  /** After the last value. */
  state: State;
  /** One-step errors; NaN at gaps. With multiplicative errors, as shares of the forecast. */
  errors: number[];
  /** Of the errors, corrected for the parameters that were fitted. */
  variance: number;
  /** Mean of the squared one-step errors, in the values' own unit. */
  meanSquare: number;
  /** Added to the values before the model sees them and taken off its forecasts. */
  offset: number;
  /** The values were never negative, so forecasts are not either. */
  nonNegative: boolean;
}

export interface FitOptions {
  /** Parameters that are given and not fitted. */
  fixed?: Partial<Pick<Parameters, 'alpha' | 'beta' | 'phi' | 'rho' | 'gammas'>>;
  /** Also fits the initial state, by least squares; for short seasons and short series worth its time. */
  estimateInitial?: boolean;
  /** Learns from errors beyond 2 robust standard deviations by their size only (Huber's loss), for data with outliers. */
  robust?: boolean;
  /** Maximum likelihood where errors are multiplicative; otherwise, and by default, least squares (the same if additive). */
  criterion?: 'squares' | 'likelihood';
  /** See offsetFor. */
  offset?: number;
  /** Bounds the work; runs over the values. */
  evaluationsMax?: number;
}

/** R's ets keeps within these too: a damping under 0.8 is hardly a trend, one over 0.98 hardly damped. */
const PHI = { lower: 0.8, upper: 0.98 };
const ALPHA_MIN = 1e-4;
const HUBER = 2;
const RHO_MAX = 0.98;
/** Starts of the search from which the best two are followed. */
const STARTS = [
  { alpha: 0.5, beta: 0.01, gamma: 0.05, phi: 0.97 },
  { alpha: 0.1, beta: 0.1, gamma: 0.2, phi: 0.97 },
  { alpha: 0.1, beta: 0.01, gamma: 0.01, phi: 0.9 },
  { alpha: 0.02, beta: 0.02, gamma: 0.2, phi: 0.97 },
  { alpha: 0.9, beta: 0.1, gamma: 0.01, phi: 0.9 },
  { alpha: 0.3, beta: 0.05, gamma: 0.4, phi: 0.85 },
];
const FOLLOWED = 2;

/** Why a form does not suit the values, or null when it does. */
export function refusal(values: readonly (number | null)[], form: Form, offset = 0): string | null {
  const known = values.filter((value) => value !== null);
  const longest = form.seasons.at(-1) ?? 0;
  if (form.seasons.some((length, i) => !Number.isInteger(length) || length <= (form.seasons[i - 1] ?? 1))) {
    return 'seasons must be whole numbers of at least 2, the shortest first';
  }
  if (form.seasons.length > 2) return 'at most two seasons';
  const least = Math.max(longest === 0 ? 3 : 2 * longest, 3);
  if (known.length < Math.max(least / 2, 3) || values.length < least) {
    return `too few values: ${values.length} with ${known.length} known, and ${least} are needed`;
  }
  if (!known.every((value) => Number.isFinite(value))) return 'values must be finite';
  if ((longest > 0 && form.seasonal === 'multiplicative') || form.errors === 'multiplicative') {
    const lowest = Math.min(...known) + offset;
    if (lowest <= 0) return 'a multiplicative model needs positive values; use an offset or an additive one';
  }
  return null;
}

/** What to add so that a multiplicative model can be used: nothing when all values are well above zero. */
export function offsetFor(values: readonly (number | null)[]): number {
  const known = values.filter((value) => value !== null);
  const lowest = known.reduce((low, value) => Math.min(low, value), Number.POSITIVE_INFINITY);
  const middle = mean(known.map(Math.abs));
  return lowest > 0.01 * middle ? 0 : 0.1 * middle - Math.min(0, lowest) + Number.MIN_VALUE;
}

/**
 * Fits smoothing parameters (and initial states, if asked) to values, null for gaps.
 * Throws RangeError with `refusal`'s reason when the form does not suit them.
 */
export function fit(values: readonly (number | null)[], form: Form, options: FitOptions = {}): Model {
  const offset = options.offset ?? 0;
  const why = refusal(values, form, offset);
  if (why !== null) throw new RangeError(why);
  const shifted = offset === 0 ? values : values.map((value) => (value === null ? null : value + offset));
  // A scale of about 1 keeps squares finite and tolerances meaningful for any unit.
  const scale = mean(shifted.filter((value) => value !== null).map(Math.abs)) || 1;
  const scaled = shifted.map((value) => (value === null ? null : value / scale));

  let initial = startState(scaled, form);
  let parameters = search(scaled, form, initial, options, null);
  if (options.estimateInitial === true) {
    for (let round = 0; round < 2; round++) {
      const better = estimateInitial(form, parameters, initial, scaled);
      if (lossOf(form, parameters, better, scaled, options) >= lossOf(form, parameters, initial, scaled, options))
        break;
      initial = better;
      parameters = search(scaled, form, initial, options, parameters);
    }
  }
  const rescaled = scaleState(initial, form, scale);
  const known = values.filter((value) => value !== null);
  const free = freeOf(form, options.fixed ?? {}).length;
  const parts = assess(form, parameters, rescaled, shifted, free);
  return { form, parameters, initial: rescaled, ...parts, offset, nonNegative: known.every((value) => value >= 0) };
}

/** The model with given parameters and initial state, which are not fitted. */
export function given(values: readonly (number | null)[], form: Form, parameters: Parameters, initial: State): Model {
  const nonNegative = values.every((value) => value === null || value >= 0);
  return { form, parameters, initial, ...assess(form, parameters, initial, values, 0), offset: 0, nonNegative };
}

function assess(
  form: Form,
  parameters: Parameters,
  initial: State,
  values: readonly (number | null)[],
  free: number,
): Pick<Model, 'state' | 'errors' | 'variance' | 'meanSquare'> {
  const { state, errors: own, fitted } = run(form, parameters, initial, values);
  const relative = form.errors === 'multiplicative';
  const errors = relative ? own.map((error, i) => error / (fitted[i] as number)) : own;
  const count = own.reduce((sum, error) => sum + (Number.isNaN(error) ? 0 : 1), 0);
  const squares = (list: readonly number[]) =>
    list.reduce((sum, error) => sum + (Number.isNaN(error) ? 0 : error * error), 0);
  return {
    state,
    errors,
    variance: squares(errors) / Math.max(1, count - free),
    meanSquare: squares(own) / Math.max(1, count),
  };
}

/** Of the vector that is searched: which parameter each place stands for. ρ is not in it: see lossOf and rhoOf. */
type Place = 'alpha' | 'beta' | 'phi' | number;

function freeOf(form: Form, fixed: NonNullable<FitOptions['fixed']>): Place[] {
  const places: Place[] = [];
  if (fixed.alpha === undefined) places.push('alpha');
  if (form.trend !== 'none' && fixed.beta === undefined) places.push('beta');
  if (form.trend === 'damped' && fixed.phi === undefined) places.push('phi');
  if (fixed.gammas === undefined) for (const i of form.seasons.keys()) places.push(i);
  return places;
}

function search(
  values: readonly (number | null)[],
  form: Form,
  initial: State,
  options: FitOptions,
  from: Parameters | null,
): Parameters {
  const fixed = options.fixed ?? {};
  const places = freeOf(form, fixed);
  const bounds: Bounds = {
    lower: places.map((place) => (place === 'phi' ? PHI.lower : place === 'alpha' ? ALPHA_MIN : 0)),
    upper: places.map((place) => (place === 'phi' ? PHI.upper : 1)),
  };
  const base = { gamma: 0, ...STARTS[0], ...fixed };
  const errorsOf = errorsFrom(values, form, initial);
  const read = (at: readonly number[]): Parameters => {
    const parameters = {
      alpha: base.alpha ?? 0,
      beta: form.trend === 'none' ? 0 : (base.beta ?? 0),
      gammas: fixed.gammas?.slice() ?? form.seasons.map(() => 0),
      phi: form.trend === 'damped' ? (base.phi ?? 1) : 1,
      rho: fixed.rho ?? 0,
    };
    for (const [i, place] of places.entries()) {
      if (typeof place === 'number') parameters.gammas[place] = at[i] as number;
      else parameters[place] = at[i] as number;
    }
    return parameters;
  };
  const finish = (parameters: Parameters): Parameters =>
    form.correction === true && fixed.rho === undefined
      ? { ...parameters, rho: rhoOf(errorsOf({ ...parameters, rho: 0 })) }
      : parameters;
  const plain = options.criterion !== 'likelihood' || form.errors !== 'multiplicative';
  const loss = (at: readonly number[]): number => {
    const parameters = read(at);
    if (!plain) return lossOf(form, finish(parameters), initial, values, options);
    // States do not depend on ρ, so one run gives the errors with any.
    const errors = errorsOf(parameters);
    const fits = form.correction === true && fixed.rho === undefined;
    correct(errors, fits ? rhoOf(errors) : parameters.rho, initial.error);
    return options.robust === true ? huberLoss(errors) : squaresLoss(errors);
  };
  const starts = from === null ? STARTS.map(({ gamma, ...rest }) => ({ ...rest, gammas: [gamma, gamma] })) : [from];
  const vectors = starts.map((start) =>
    places.map((place) => (typeof place === 'number' ? (start.gammas[place] ?? 0) : start[place])),
  );
  const ranked = vectors.map((at) => ({ at, value: loss(at) })).toSorted((a, b) => a.value - b.value);
  const each = Math.floor((options.evaluationsMax ?? 500) / FOLLOWED);
  const minima = ranked.slice(0, FOLLOWED).map(({ at }) => minimise(loss, at, bounds, each));
  return finish(read(minima.reduce((best, one) => (one.value < best.value ? one : best)).at));
}

/**
 * One-step errors before correction for any parameters, NaN at gaps, in an array that is used again the next time. Fast where
 * it can be: a search asks for them some hundred times.
 */
function errorsFrom(
  values: readonly (number | null)[],
  form: Form,
  initial: State,
): (parameters: Parameters) => Float64Array {
  const errors = new Float64Array(values.length);
  if (form.seasonFrom === 'new-level') {
    return (parameters) => {
      errors.set(run(form, { ...parameters, rho: 0 }, initial, values).errors);
      return errors;
    };
  }
  const known = Float64Array.from(values, (value) => value ?? Number.NaN);
  let kernel: Kernel | null = null;
  return (parameters) => {
    if (kernel === null) kernel = createKernel(form, parameters, initial);
    else resetKernel(kernel, form, parameters, initial);
    runKernel(kernel, known, errors);
    return errors;
  };
}

/** Takes off the share ρ of the error before, in place; `first` is the one before the first. */
function correct(errors: Float64Array, rho: number, first: number): void {
  if (rho === 0) return;
  let before = first;
  for (let i = 0; i < errors.length; i++) {
    const error = errors[i] as number;
    errors[i] = error - rho * before;
    before = Number.isNaN(error) ? 0 : error;
  }
}

/** ρ of least squares for errors made without correction. States do not depend on ρ, so it need not be searched. */
function rhoOf(errors: Float64Array): number {
  let products = 0;
  let squares = 0;
  for (let i = 1; i < errors.length; i++) {
    const before = errors[i - 1] as number;
    const now = errors[i] as number;
    if (Number.isNaN(before) || Number.isNaN(now)) continue;
    products += before * now;
    squares += before * before;
  }
  return squares > 0 ? Math.max(-RHO_MAX, Math.min(RHO_MAX, products / squares)) : 0;
}

function lossOf(
  form: Form,
  parameters: Parameters,
  initial: State,
  values: readonly (number | null)[],
  options: FitOptions,
): number {
  const { errors, fitted } = run(form, parameters, initial, values);
  if (options.criterion === 'likelihood' && form.errors === 'multiplicative') return likelihoodLoss(errors, fitted);
  return options.robust === true ? huberLoss(Float64Array.from(errors)) : squaresLoss(errors);
}

function squaresLoss(errors: Iterable<number>): number {
  let sum = 0;
  let count = 0;
  for (const error of errors) {
    if (Number.isNaN(error)) continue;
    sum += error * error;
    count += 1;
  }
  return sum / Math.max(1, count);
}

/** Twice the negative log-likelihood, less a constant, over n: Hyndman et al. (2008), eq. 5.3. */
function likelihoodLoss(errors: readonly number[], fitted: readonly number[]): number {
  let squares = 0;
  let logs = 0;
  let count = 0;
  for (let i = 0; i < errors.length; i++) {
    const error = errors[i] as number;
    if (Number.isNaN(error)) continue;
    const forecast = fitted[i] as number;
    squares += (error / forecast) ** 2;
    logs += Math.log(Math.abs(forecast));
    count += 1;
  }
  return Math.log(Math.max(squares, Number.MIN_VALUE)) + (2 * logs) / Math.max(1, count);
}

/** Mean of Huber's ρ with the scale from the median absolute error; changes `errors`. */
function huberLoss(errors: Float64Array): number {
  let count = 0;
  for (let i = 0; i < errors.length; i++) {
    const error = errors[i] as number;
    if (!Number.isNaN(error)) errors[count++] = Math.abs(error);
  }
  const sizes = errors.subarray(0, count);
  const bend = HUBER * 1.4826 * (count === 0 ? 0 : select(sizes, Math.floor(count / 2)));
  let sum = 0;
  for (let i = 0; i < count; i++) {
    const size = sizes[i] as number;
    sum += size <= bend ? size * size : bend * (2 * size - bend);
  }
  // τ-scale: the robust mean square times the scale, so that shrinking the scale alone wins nothing.
  return sum / Math.max(1, count);
}

/** The value of a rank from 0, which is put there: FIND of Hoare, Commun. ACM 4 (1961) 321. Rearranges `values`. */
function select(values: Float64Array, rank: number): number {
  let [from, to] = [0, values.length - 1];
  while (from < to) {
    const middle = values[rank] as number;
    let [i, j] = [from, to];
    while (i <= j) {
      while ((values[i] as number) < middle) i += 1;
      while (middle < (values[j] as number)) j -= 1;
      if (i > j) break;
      const left = values[i] as number;
      values[i++] = values[j] as number;
      values[j--] = left;
    }
    if (j < rank) from = i;
    if (rank < i) to = j;
  }
  return values[rank] as number;
}

/**
 * Initial state of least squares for given parameters by a Gauss-Newton step: errors are linear in it when additive,
 * nearly so when multiplicative. Pulled lightly towards the state given, which settles what the values leave open.
 */
function estimateInitial(
  form: Form,
  parameters: Parameters,
  initial: State,
  values: readonly (number | null)[],
): State {
  const base = run(form, parameters, initial, values).errors;
  const count = 1 + (form.trend === 'none' ? 0 : 1) + form.seasons.reduce((sum, length) => sum + length, 0);
  const columns: number[][] = [];
  const delta = 1e-4;
  for (let i = 0; i < count; i++) {
    const moved = run(form, parameters, nudge(form, initial, i, delta), values).errors;
    columns.push(moved.map((error, t) => (Number.isNaN(error) ? 0 : (error - (base[t] as number)) / delta)));
  }
  const known = base.map((error) => (Number.isNaN(error) ? 0 : error));
  const dot = (a: readonly number[], b: readonly number[]): number => {
    let sum = 0;
    for (let t = 0; t < a.length; t++) sum += (a[t] as number) * (b[t] as number);
    return sum;
  };
  const matrix = columns.map((a, i) => columns.map((b, j) => (j > i ? 0 : dot(a, b))));
  for (let i = 0; i < count; i++) (matrix[i] as number[])[i] = ((matrix[i] as number[])[i] as number) * 1.0001 + 0.05;
  const change = solve(
    matrix,
    columns.map((column) => -dot(column, known)),
  );
  return change.reduce((state, by, i) => nudge(form, state, i, by), initial);
}

/** The state with its i-th number changed: level, trend if there is one, then the seasons. */
function nudge(form: Form, state: State, index: number, by: number): State {
  const next = copyState(state);
  let i = index;
  if (i === 0) next.level += by;
  i -= 1;
  if (form.trend !== 'none') {
    if (i === 0) next.trend += by;
    i -= 1;
  }
  for (const season of next.seasons) {
    if (i >= 0 && i < season.length) season[i] = (season[i] as number) + by;
    i -= season.length;
  }
  return next;
}

function scaleState(state: State, form: Form, by: number): State {
  const seasons =
    form.seasonal === 'additive' ? state.seasons.map((season) => season.map((s) => s * by)) : state.seasons;
  return { ...state, level: state.level * by, trend: state.trend * by, seasons, error: state.error * by };
}
