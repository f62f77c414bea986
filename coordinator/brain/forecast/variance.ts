import { type Form, type Parameters, project, type State } from './holt-winters.js';

/** With longer seasons the exact variance of class 3 takes too long; futures are then simulated. Steps. */
const CLASS_3_SEASON_MAX = 60;

/**
 * Variance of the value of each of the next `steps` steps, or null where no formula is known. `variance` is that of the
 * one-step errors, relative ones when errors are multiplicative.
 * Source: Hyndman, Koehler, Ord & Snyder, Forecasting with Exponential Smoothing (2008), chapter 6: class 1 (additive
 * errors and seasons, here with two of them as well), class 2 (multiplicative errors), class 3 (both multiplicative).
 */
export function varianceOf(
  form: Form,
  parameters: Parameters,
  state: State,
  variance: number,
  steps: number,
): number[] | null {
  if (parameters.rho !== 0) return null;
  const additive = form.seasons.length === 0 || form.seasonal === 'additive';
  if (additive) {
    const c = responses(form, parameters, steps);
    if (form.errors !== 'multiplicative') return class1(c, variance);
    return class2(c, project(form, parameters, state, steps), variance);
  }
  const [length = 0] = form.seasons;
  const fromNew = form.seasonFrom === 'new-level';
  if (form.errors !== 'multiplicative' || form.seasons.length > 1 || length > CLASS_3_SEASON_MAX || fromNew)
    return null;
  return class3(form, parameters, state, variance, steps);
}

/** c_j: what an error of 1 does to the forecast j steps later, j = 1, 2, …, steps − 1. */
function responses(form: Form, { alpha, beta, gammas, phi }: Parameters, steps: number): number[] {
  const share = form.seasonFrom === 'new-level' ? 1 - alpha : 1;
  const damping = form.trend === 'damped' ? phi : 1;
  let power = 1;
  let sum = 0;
  return Array.from({ length: Math.max(0, steps - 1) }, (_, i) => {
    power *= damping;
    sum += power;
    const trend = form.trend === 'none' ? 0 : alpha * beta * sum;
    const due = form.seasons.map((length, k) => ((i + 1) % length === 0 ? share * (gammas[k] as number) : 0));
    return alpha + trend + due.reduce((all, each) => all + each, 0);
  });
}

function class1(c: readonly number[], variance: number): number[] {
  let sum = 1;
  const later = c.map((each) => {
    sum += each * each;
    return variance * sum;
  });
  return [variance, ...later];
}

function class2(c: readonly number[], means: readonly number[], variance: number): number[] {
  const theta: number[] = [];
  return means.map((mean, h) => {
    let sum = 0;
    for (let j = 1; j <= h; j++) sum += (c[j - 1] as number) ** 2 * (theta[h - j] as number);
    theta.push(mean * mean + variance * sum);
    return (1 + variance) * (theta[h] as number) - mean * mean;
  });
}

/**
 * The state is the outer product M of (level, trend) and the factors; both move by M ← (F1 + G1ε)·M·(F2 + G2ε)ᵀ with the
 * same error ε, of which mean and covariance of M follow (section 6.4.3 of the book). F2 turns the factors by one place
 * and G2 has one entry, so that both are applied as such and no matrix of that size is ever multiplied.
 */
function class3(form: Form, parameters: Parameters, state: State, variance: number, steps: number): number[] {
  const season = state.seasons[0] as number[];
  const phase = state.phases[0] as number;
  const m = season.length;
  const width = form.trend === 'none' ? 1 : 2;
  const size = m * width;
  const { alpha, beta } = parameters;
  const gamma = parameters.gammas[0] as number;
  const phi = form.trend === 'damped' ? parameters.phi : 1;
  // M by columns: entry (trend place i, factor place k) at k·width + i. The factor of the next step is the last one.
  const turn = (x: Float64Array): Float64Array => {
    const y = new Float64Array(size);
    for (let k = 0; k < m; k++) y.set(x.subarray(k * width, (k + 1) * width), ((k + 1) % m) * width);
    return y;
  };
  const due = (x: Float64Array): Float64Array => {
    const y = new Float64Array(size);
    for (let i = 0; i < width; i++) y[i] = gamma * (x[(m - 1) * width + i] as number);
    return y;
  };
  const carry = (x: Float64Array): Float64Array => {
    if (width === 1) return x;
    const y = new Float64Array(size);
    for (let k = 0; k < size; k += 2) {
      y[k] = (x[k] as number) + phi * (x[k + 1] as number);
      y[k + 1] = phi * (x[k + 1] as number);
    }
    return y;
  };
  const learn = (x: Float64Array): Float64Array => {
    const y = new Float64Array(size);
    for (let k = 0; k < size; k += width) {
      const sum = (x[k] as number) + (width === 1 ? 0 : phi * (x[k + 1] as number));
      y[k] = alpha * sum;
      if (width === 2) y[k + 1] = alpha * beta * sum;
    }
    return y;
  };
  const plus = (...all: { by: number; x: Float64Array }[]): Float64Array => {
    const sum = new Float64Array(size);
    for (const { by, x } of all) for (let i = 0; i < size; i++) sum[i] = (sum[i] as number) + by * (x[i] as number);
    return sum;
  };
  const forward = (x: Float64Array) => turn(carry(x));
  const twice = (x: Float64Array) => due(learn(x));
  const once = (x: Float64Array) => plus({ by: 1, x: due(carry(x)) }, { by: 1, x: turn(learn(x)) });

  let centre: Float64Array = new Float64Array(size);
  for (let k = 0; k < m; k++) {
    const s = season[(phase + m - 1 - k) % m] as number;
    centre[k * width] = state.level * s;
    if (width === 2) centre[k * width + 1] = state.trend * s;
  }
  let spread: Float64Array[] = Array.from({ length: size }, () => new Float64Array(size));
  const at = (m - 1) * width;
  // The forecast is the level carried on times the factor that is due.
  const weights = width === 1 ? [1] : [1, phi];
  return Array.from({ length: steps }, () => {
    const mean = weights.reduce((sum, w, i) => sum + w * (centre[at + i] as number), 0);
    let own = 0;
    for (const [i, a] of weights.entries()) {
      for (const [j, b] of weights.entries()) own += a * b * ((spread[at + i] as Float64Array)[at + j] as number);
    }
    const now = (1 + variance) * own + variance * mean * mean;
    const square = spread.map((row, i) => row.map((v, j) => v + (centre[i] as number) * (centre[j] as number)));
    const third = spread.map((row, i) => row.map((v, j) => 3 * v + 2 * (centre[i] as number) * (centre[j] as number)));
    const a = both(forward, forward, spread);
    const b = both(forward, twice, spread);
    const c = both(once, once, square);
    const d = both(twice, twice, third);
    spread = a.map((row, i) =>
      row.map((v, j) => {
        const cross = ((b[i] as Float64Array)[j] as number) + ((b[j] as Float64Array)[i] as number);
        const rest = cross + ((c[i] as Float64Array)[j] as number);
        return v + variance * (rest + variance * ((d[i] as Float64Array)[j] as number));
      }),
    );
    centre = plus({ by: 1, x: forward(centre) }, { by: variance, x: twice(centre) });
    return now;
  });
}

type Operator = (x: Float64Array) => Float64Array;

/** L·V·Rᵀ for linear operators L and R. */
function both(left: Operator, right: Operator, matrix: readonly Float64Array[]): Float64Array[] {
  const rows = matrix.map(right);
  return transpose(transpose(rows).map(left));
}

function transpose(matrix: readonly Float64Array[]): Float64Array[] {
  const n = matrix.length;
  return Array.from({ length: n }, (_, i) => Float64Array.from(matrix, (row) => row[i] as number));
}
