/**
 * A family of damped exponential smoothings that run side by side over one series, from the last value alone to means of
 * some hundred steps, three with a damped trend, and one whose constants were fitted to the series:
 *
 *   ŷ(h) = ℓ + (φ + … + φ^h)b + ρ^h·e,   ℓ ← ℓ + φb + αe,   b ← φb + αβe
 *
 * Source: Hyndman & Athanasopoulos, Forecasting: Principles and Practice (3rd ed.), sections 8.1 and 8.2 (β there β*); ρ as
 * in Taylor, J. Oper. Res. Soc. 54 (2003) 799. One of them fits each horizon; which one, the track record tells.
 */
export interface Smoothing {
  alpha: number;
  beta: number;
  phi: number;
  rho: number;
}

/** Spaced evenly in the logarithm of the time that they look back; the first one takes even outliers as they are, nearly. */
const PLAIN = [1, 1, 0.4, 0.15, 0.05, 0.015, 0.004];
const TRENDED = [
  { alpha: 0.5, beta: 0.2, phi: 0.9 },
  { alpha: 0.2, beta: 0.1, phi: 0.97 },
  { alpha: 0.05, beta: 0.05, phi: 0.99 },
];
/** Before anything is fitted. */
export const FITTED_AT_FIRST: Smoothing = { alpha: 0.3, beta: 0.05, phi: 0.95, rho: 0 };

/** The trended ones and the fitted one: so many damping sums. */
export const DAMPED = TRENDED.length + 1;
/** Members of the family. */
export const LEVELS = PLAIN.length + DAMPED;
/** Place of the fitted one in the family. */
export const FITTED = LEVELS - 1;
const TRENDS_AT = LEVELS;
const ERROR_AT = LEVELS + DAMPED;
/** Length of the family's state: levels, trends, and the fitted one's last error. */
export const LEVELS_STATE = ERROR_AT + 1;

/**
 * Takes in a value, as it was and with its outlier bounded; `learnt` were learnt before it. The first ones count alike, so
 * that the slow members start well too.
 */
export function learnLevels(state: Float64Array, raw: number, value: number, learnt: number, fitted: Smoothing): void {
  const atLeast = 1 / (learnt + 1);
  state[0] = raw;
  for (let i = 1; i < PLAIN.length; i++) {
    const level = state[i] as number;
    state[i] = level + Math.max(PLAIN[i] as number, atLeast) * (value - level);
  }
  for (let i = 0; i < DAMPED; i++) {
    const { alpha, beta, phi } = TRENDED[i] ?? fitted;
    const at = PLAIN.length + i;
    const damped = phi * (state[TRENDS_AT + i] as number);
    const base = (state[at] as number) + damped;
    const error = value - base;
    const change = Math.max(alpha, atLeast) * error;
    state[at] = base + change;
    // The first value is no change.
    state[TRENDS_AT + i] = learnt === 0 ? 0 : damped + beta * change;
    if (i === DAMPED - 1) state[ERROR_AT] = learnt === 0 ? 0 : error;
  }
}

/** A step without a value: trends carry the levels on. */
export function holdLevels(state: Float64Array, fitted: Smoothing): void {
  for (let i = 0; i < DAMPED; i++) {
    const damped = (TRENDED[i] ?? fitted).phi * (state[TRENDS_AT + i] as number);
    state[PLAIN.length + i] = (state[PLAIN.length + i] as number) + damped;
    state[TRENDS_AT + i] = damped;
  }
  state[ERROR_AT] = 0;
}

/** Of each damped one φ + … + φ^h, then ρ^h: what trends and the last error count for so many steps ahead. */
export const MULTIPLES = DAMPED + 1;

/** The multiples for 1, 2, 4, … steps, one after the other. */
export function multiplesByHorizon(horizons: number, fitted: Smoothing): Float64Array {
  const multiples = new Float64Array(horizons * MULTIPLES);
  for (let horizon = 0; horizon < horizons; horizon++) {
    const at = horizon * MULTIPLES;
    for (let i = 0; i < DAMPED; i++) multiples[at + i] = dampedSum((TRENDED[i] ?? fitted).phi, 2 ** horizon);
    multiples[at + DAMPED] = fitted.rho ** (2 ** horizon);
  }
  return multiples;
}

/** From the multiples of some steps to those of one more; from zeros for none. */
export function oneMore(multiples: Float64Array, steps: number, fitted: Smoothing): void {
  for (let i = 0; i < DAMPED; i++) {
    const { phi } = TRENDED[i] ?? fitted;
    multiples[i] = phi * (1 + (multiples[i] as number));
  }
  multiples[DAMPED] = steps === 0 ? fitted.rho : (multiples[DAMPED] as number) * fitted.rho;
}

/** φ + φ² + … + φ^h. */
export function dampedSum(phi: number, steps: number): number {
  return phi === 1 ? steps : (phi * (1 - phi ** steps)) / (1 - phi);
}

/** Writes what each member expects into `out` from `at` on; the multiples stand at `from`. */
export function expectLevels(
  state: Float64Array,
  multiples: Float64Array,
  from: number,
  out: Float64Array,
  at: number,
): void {
  for (let i = 0; i < PLAIN.length; i++) out[at + i] = state[i] as number;
  for (let i = 0; i < DAMPED; i++) {
    const j = PLAIN.length + i;
    out[at + j] = (state[j] as number) + (multiples[from + i] as number) * (state[TRENDS_AT + i] as number);
  }
  const last = at + FITTED;
  out[last] = (out[last] as number) + (multiples[from + DAMPED] as number) * (state[ERROR_AT] as number);
}

/** For people. */
export function levelName(member: number): string {
  if (member < 2) return 'last value';
  return member < PLAIN.length ? 'exponential smoothing' : 'damped Holt';
}
