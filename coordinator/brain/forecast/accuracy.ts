/**
 * Measures of the M4 competition (Makridakis, Spiliotis & Assimakopoulos, Int. J. Forecasting 36 (2020) 54).
 */

/** Symmetric mean absolute percentage error, 0 … 200 %; steps where both are 0 count as right. */
export function symmetricError(actual: readonly number[], forecast: readonly number[]): number {
  let sum = 0;
  for (const [i, y] of actual.entries()) {
    const size = Math.abs(y) + Math.abs(forecast[i] as number);
    if (size > 0) sum += (200 * Math.abs(y - (forecast[i] as number))) / size;
  }
  return sum / actual.length;
}

/** Mean absolute error. */
export function absoluteError(actual: readonly number[], forecast: readonly number[]): number {
  let sum = 0;
  for (const [i, y] of actual.entries()) sum += Math.abs(y - (forecast[i] as number));
  return sum / actual.length;
}

/** What MASE divides the absolute error by: the mean absolute difference to a season before, over the values known. */
export function naiveScale(values: readonly number[], season: number): number {
  let sum = 0;
  for (let i = season; i < values.length; i++) sum += Math.abs((values[i] as number) - (values[i - season] as number));
  return sum / (values.length - season);
}
