/**
 * The benchmark "Naïve 2" of the M4 competition, against which OWA is measured: the last value, seasonally adjusted by
 * classical multiplicative decomposition if the autocorrelation at the season passes a 90 % test. As in the competition's
 * own Benchmarks and Evaluation.R.
 */
export function naive2(values: readonly number[], steps: number, season: number): number[] {
  const n = values.length;
  const factors = isSeasonal(values, season) ? seasonalFactors(values, season) : new Array<number>(season).fill(1);
  const last = (values[n - 1] as number) / (factors[(n - 1) % season] as number);
  return Array.from({ length: steps }, (_, h) => last * (factors[(n + h) % season] as number));
}

function isSeasonal(values: readonly number[], season: number): boolean {
  const n = values.length;
  if (n < 3 * season) return false;
  const mean = values.reduce((sum, value) => sum + value, 0) / n;
  const product = (lag: number): number => {
    let sum = 0;
    for (let i = lag; i < n; i++) sum += ((values[i] as number) - mean) * ((values[i - lag] as number) - mean);
    return sum;
  };
  const power = product(0);
  const correlation = Array.from({ length: season }, (_, i) => product(i + 1) / power);
  const before = correlation.slice(0, -1).reduce((sum, r) => sum + r * r, 0);
  return Math.abs(correlation.at(-1) ?? 0) > 1.645 * Math.sqrt((1 + 2 * before) / n);
}

/** By a centred moving average, 2 × season for an even one; of mean 1. */
function seasonalFactors(values: readonly number[], season: number): number[] {
  const half = Math.floor(season / 2);
  const sums = new Array<number>(season).fill(0);
  const counts = new Array<number>(season).fill(0);
  for (let i = half; i < values.length - half; i++) {
    const window = values.slice(i - half, i + half + 1);
    const ends = season % 2 === 0 ? ((window[0] as number) + (window.at(-1) as number)) / 2 : 0;
    const level = (window.reduce((sum, value) => sum + value, 0) - ends) / season;
    sums[i % season] = (sums[i % season] as number) + (values[i] as number) / level;
    counts[i % season] = (counts[i % season] as number) + 1;
  }
  const factors = sums.map((sum, place) => sum / (counts[place] as number));
  const mean = factors.reduce((sum, factor) => sum + factor, 0) / season;
  return factors.map((factor) => factor / mean);
}
