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
const PLAIN = Float64Array.of(1, 1, 0.4, 0.15, 0.05, 0.015, 0.004);
const TRENDED = [
  { alpha: 0.5, beta: 0.2, phi: 0.9 },
  { alpha: 0.2, beta: 0.1, phi: 0.97 },
  { alpha: 0.05, beta: 0.05, phi: 0.99 },
];
/** Before anything is fitted. */
export const FITTED_AT_FIRST: Smoothing = { alpha: 0.3, beta: 0.05, phi: 0.95, rho: 0 };

/** The trended ones and the fitted one. */
const DAMPED = TRENDED.length + 1;
/** Members of the family. */
export const LEVELS = PLAIN.length + DAMPED;
const TRENDS_AT = LEVELS;
const ERROR_AT = LEVELS + DAMPED;
/** Length of the family's state: levels, trends, and the fitted one's last error. */
export const LEVELS_STATE = ERROR_AT + 1;

/** Of each damped one α, β, φ, and ρ of the last; plain numbers, since this is read for every series each step. */
const OWN = TRENDED.flatMap(({ alpha, beta, phi }) => [alpha, beta, phi]);
const RHO_AT = 3 * DAMPED;
/** Then what trends and the last error count for 1, 2, 4, … steps ahead: of each damped one φ + … + φ^h, then ρ^h. */
const MULTIPLES_AT = RHO_AT + 1;
const MULTIPLES = DAMPED + 1;

export type Constants = Float64Array;

export function constantsOf({ alpha, beta, phi, rho }: Smoothing, horizons: number): Constants {
  const damped = [...TRENDED.map((each) => each.phi), phi];
  const multiples = Array.from({ length: horizons }, (_, horizon) => [
    ...damped.map((each) => dampedSum(each, 2 ** horizon)),
    rho ** (2 ** horizon),
  ]);
  return Float64Array.from([...OWN, alpha, beta, phi, rho, ...multiples.flat()]);
}

/** The state of the family in `levels` stands from `at` on, here and below. */
export type Levels = Float64Array;

/**
 * Takes in a value, as it was and with its outlier bounded; `learnt` were learnt before it. The first ones count alike, so
 * that the slow members start well too.
 */
export function learnLevels(
  levels: Levels,
  at: number,
  raw: number,
  value: number,
  learnt: number,
  constants: Constants,
): void {
  const atLeast = 1 / (learnt + 1);
  levels[at] = raw;
  for (let i = 1; i < PLAIN.length; i++) {
    const level = levels[at + i] as number;
    const alpha = PLAIN[i] as number;
    levels[at + i] = level + Math.max(alpha, atLeast) * (value - level);
  }
  let error = 0;
  for (let i = 0; i < DAMPED; i++) {
    const alpha = constants[3 * i] as number;
    const level = at + PLAIN.length + i;
    const damped = (constants[3 * i + 2] as number) * (levels[level + DAMPED] as number);
    const base = (levels[level] as number) + damped;
    error = value - base;
    const change = Math.max(alpha, atLeast) * error;
    levels[level] = base + change;
    levels[level + DAMPED] = damped + (constants[3 * i + 1] as number) * change;
  }
  levels[at + ERROR_AT] = error;
  // The first value is no change.
  if (learnt === 0) levels.fill(0, at + TRENDS_AT, at + LEVELS_STATE);
}

/** Steps without a value: trends carry the levels on. */
export function holdLevels(levels: Levels, at: number, steps: number, constants: Constants): void {
  for (let i = 0; i < DAMPED; i++) {
    const phi = constants[3 * i + 2] as number;
    const level = at + PLAIN.length + i;
    const trend = levels[level + DAMPED] as number;
    levels[level] = (levels[level] as number) + dampedSum(phi, steps) * trend;
    levels[level + DAMPED] = phi ** steps * trend;
  }
  levels[at + ERROR_AT] = 0;
}

/** What trends and the last error count for so many steps ahead. */
export type Multiples = Float64Array;

export const noMultiples = (): Multiples => new Float64Array(MULTIPLES);

/** For 2^horizon steps ahead. */
export function multiplesAt(horizon: number, constants: Constants, out: Multiples): void {
  const at = MULTIPLES_AT + horizon * MULTIPLES;
  for (let i = 0; i < MULTIPLES; i++) out[i] = constants[at + i] as number;
}

/** From those of so many steps to those of one more; those of none are zeros. */
export function oneMore(multiples: Multiples, steps: number, constants: Constants): void {
  for (let i = 0; i < DAMPED; i++) {
    multiples[i] = (constants[3 * i + 2] as number) * (1 + (multiples[i] as number));
  }
  multiples[DAMPED] = (steps === 0 ? 1 : (multiples[DAMPED] as number)) * (constants[RHO_AT] as number);
}

/** φ + φ² + … + φ^h. */
export function dampedSum(phi: number, steps: number): number {
  return phi === 1 ? steps : (phi * (1 - phi ** steps)) / (1 - phi);
}

/** Writes what each member expects, times `factor` and plus `offset`, but nothing below zero, into `out` from `to` on. */
export function expectLevels(
  levels: Levels,
  at: number,
  multiples: Multiples,
  factor: number,
  offset: number,
  out: Float64Array,
  to: number,
): void {
  for (let i = 0; i < PLAIN.length; i++) {
    const value = (levels[at + i] as number) * factor + offset;
    out[to + i] = Math.max(value, 0);
  }
  for (let i = 0; i < DAMPED; i++) {
    const level = at + PLAIN.length + i;
    let base = (levels[level] as number) + (multiples[i] as number) * (levels[level + DAMPED] as number);
    if (i === DAMPED - 1) base += (multiples[DAMPED] as number) * (levels[at + ERROR_AT] as number);
    const value = base * factor + offset;
    out[to + PLAIN.length + i] = Math.max(value, 0);
  }
}

/** For people. */
export function levelName(member: number): string {
  if (member < 2) return 'last value';
  return member < PLAIN.length ? 'exponential smoothing' : 'damped Holt';
}
