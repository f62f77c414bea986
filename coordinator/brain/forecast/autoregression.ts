import { solve } from './linear.js';

/** y ← constant + Σ coefficient × the value so many steps before. Plain data. */
export interface Autoregression {
  lags: readonly number[];
  coefficients: readonly number[];
  constant: number;
}

/** Share of the variance that pulls coefficients to 0: settles lags that repeat each other. */
const RIDGE = 1e-4;
/** So many values to learn from for each coefficient, at least. */
const ROWS_PER_LAG = 4;

/**
 * Lags that tell of the next value, the most telling first: the last ones, and those about a whole season ago.
 * A sparse form of the seasonal autoregression of Box & Jenkins, whose product of factors has the same lags.
 */
export function lagsOf(seasons: readonly number[]): number[] {
  const around = seasons.flatMap((length) => [length, length + 1, length - 1]);
  const [shortest] = seasons;
  return [...new Set([1, ...around, 2, 3, ...(shortest === undefined ? [] : [2 * shortest])])].filter((lag) => lag > 0);
}

/** Those of the lags that so many values can teach. */
export function affordableLags(lags: readonly number[], count: number): number[] {
  const kept: number[] = [];
  for (const lag of lags) {
    if (count - Math.max(lag, ...kept) >= ROWS_PER_LAG * (kept.length + 1)) kept.push(lag);
  }
  return kept;
}

/** Least squares; with a half-life, in steps, what is older counts less. */
export function fitAutoregression(
  values: readonly number[],
  lags: readonly number[],
  halfLife = Number.POSITIVE_INFINITY,
): Autoregression {
  const count = lags.length;
  const from = Math.max(0, ...lags);
  const fade = 2 ** (-1 / halfLife);
  // A row: the values at the lags, then the value that they tell of; each less its mean so far.
  const row = new Float64Array(count + 1);
  const means = new Float64Array(count + 1);
  const products = Array.from({ length: count + 1 }, () => new Float64Array(count + 1));
  let total = 0;
  let weight = fade ** Math.max(0, values.length - 1 - from);
  for (let t = from; t < values.length; t++) {
    // Running means and products about them (Welford, Technometrics 4 (1962) 419), exact also far from zero.
    for (let i = 0; i <= count; i++) {
      const value = values[i < count ? t - (lags[i] as number) : t] as number;
      row[i] = value - (means[i] as number);
    }
    total += weight;
    const share = weight / total;
    for (let i = 0; i <= count; i++) {
      const line = products[i] as Float64Array;
      const scaled = weight * (1 - share) * (row[i] as number);
      for (let j = 0; j <= i; j++) line[j] = (line[j] as number) + scaled * (row[j] as number);
    }
    for (let i = 0; i <= count; i++) means[i] = (means[i] as number) + share * (row[i] as number);
    weight /= fade;
  }
  const told = products[count] as Float64Array;
  const pull = RIDGE * (told[count] as number) + Number.MIN_VALUE;
  const matrix = products.slice(0, count).map((line, i) => {
    const left = Array.from(line.subarray(0, count));
    left[i] = (left[i] as number) + pull;
    return left;
  });
  const coefficients =
    (told[count] as number) > 0 ? solve(matrix, Array.from(told.subarray(0, count))) : lags.map(() => 0);
  const constant = coefficients.reduce((sum, c, i) => sum - c * (means[i] as number), means[count] as number);
  return { lags, coefficients, constant };
}

/** The next `steps` values, each kept within `bounds` so that an unstable fit cannot run away. */
export function continueAutoregression(
  { lags, coefficients, constant }: Autoregression,
  values: readonly number[],
  steps: number,
  bounds: readonly [number, number] = [Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY],
): number[] {
  const all = values.slice();
  for (let h = 0; h < steps; h++) {
    let sum = constant;
    for (let i = 0; i < lags.length; i++) {
      sum += (coefficients[i] as number) * (all[all.length - (lags[i] as number)] ?? 0);
    }
    all.push(Math.min(bounds[1], Math.max(bounds[0], sum)));
  }
  return all.slice(values.length);
}
