/** Says to which place of a cycle the value `index` steps after the first belongs: 0 … places − 1. */
export type PlaceOf = (index: number) => number;

/** So many cycles ago a value counts half. */
const HALF_LIFE_CYCLES = 4;

/**
 * The mean course of a cycle about a level that moves slowly: one offset for each place, 0 where no value falls on it.
 * The level is a moving mean over the cycle; the newer cycles count more.
 */
export function fitProfile(values: readonly number[], cycle: number, places: number, placeOf: PlaceOf): number[] {
  const n = values.length;
  const level = movingMean(values, cycle);
  const sums = new Float64Array(places);
  const weights = new Float64Array(places);
  const fade = 2 ** (-1 / (HALF_LIFE_CYCLES * cycle));
  let weight = 1;
  for (let i = n - 1; i >= 0; i--) {
    const place = placeOf(i);
    sums[place] = (sums[place] as number) + weight * ((values[i] as number) - (level[i] as number));
    weights[place] = (weights[place] as number) + weight;
    weight *= fade;
  }
  return Array.from(sums, (sum, place) => ((weights[place] as number) > 0 ? sum / (weights[place] as number) : 0));
}

/** Centred mean over `width` steps; within half of it from an end, that of the outermost ones. */
export function movingMean(values: readonly number[], width: number): number[] {
  const n = values.length;
  const span = Math.max(1, Math.min(n, width));
  const means: number[] = [];
  let sum = 0;
  for (let i = 0; i < Math.min(span, n); i++) sum += values[i] as number;
  let first = 0;
  for (let i = 0; i < n; i++) {
    const wanted = Math.max(0, Math.min(i - Math.floor(span / 2), n - span));
    for (; first < wanted; first++) sum += (values[first + span] as number) - (values[first] as number);
    means.push(sum / span);
  }
  return means;
}
