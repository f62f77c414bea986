import type { Form, State } from './holt-winters.js';

/** Whole cycles of a season that its start rests on, at most. */
const CYCLES_MAX = 5;
/** A smaller factor says nothing and would make what is divided by it huge. */
const FACTOR_MIN = 0.01;

/**
 * Initial level, trend and seasons from the first values: seasons as the mean of what a centred moving average leaves
 * in each place of the first cycles, normalised; level and trend by a line through the first seasonally adjusted ones.
 * Source: Hyndman, Koehler, Ord & Snyder, Forecasting with Exponential Smoothing (2008), section 2.6.1; the second
 * season, from what the first one leaves. Gaps are bridged. Needs two whole cycles of the longest season.
 */
export function startState(values: readonly (number | null)[], form: Form): State {
  const longest = form.seasons.at(-1) ?? 1;
  const head = bridge(values.slice(0, Math.max(10, CYCLES_MAX * longest)));
  const additive = form.seasonal === 'additive';
  let adjusted = head;
  const seasons: number[][] = [];
  for (const length of form.seasons) {
    const smooth = trendOf(adjusted, longest);
    const left = adjusted.map((y, i) => {
      const base = smooth[i] as number;
      return additive ? y - base : y / (Math.abs(base) < 1e-12 ? 1e-12 : base);
    });
    const season = normalised(placeMeans(left, length), additive);
    seasons.push(season);
    adjusted = adjusted.map((y, i) => {
      const at = season[i % length] as number;
      return additive ? y - at : y / at;
    });
  }
  const count = Math.min(Math.max(10, 2 * longest), adjusted.length);
  const first = adjusted.slice(0, count);
  const { level, slope } = form.trend === 'none' ? { level: mean(first), slope: 0 } : line(first);
  return { level, trend: slope, seasons, phases: seasons.map(() => 0), error: 0 };
}

/** Fills gaps by lines between their ends; beyond the first and last value by those. All gaps: zeros. */
export function bridge(values: readonly (number | null)[]): number[] {
  const filled = values.map((value) => value ?? 0);
  let left = -1;
  for (let i = 0; i < values.length; i++) {
    const right = values[i];
    if (right === null || right === undefined) continue;
    const from = left < 0 ? right : (filled[left] as number);
    for (let j = left + 1; j < i; j++) filled[j] = from + ((right - from) * (j - left)) / (i - left);
    left = i;
  }
  if (left >= 0) filled.fill(filled[left] as number, left + 1);
  return filled;
}

/** Centred moving average over one cycle (2 × m for an even m); the ends are continued by its outermost slope. */
function trendOf(values: readonly number[], length: number): number[] {
  const n = values.length;
  const half = Math.floor(length / 2);
  const smooth: number[] = new Array(n).fill(0);
  const even = length % 2 === 0;
  let sum = 0;
  const last = n - 1 - half;
  if (last - half < 2) {
    const { level, slope } = line(values);
    return smooth.map((_, i) => level + slope * (i + 1));
  }
  for (let i = 0; i < Math.min(n, 2 * half + 1); i++) sum += values[i] as number;
  for (let i = half; i <= last; i++) {
    if (i > half) sum += (values[i + half] as number) - (values[i - half - 1] as number);
    const ends = even ? ((values[i - half] as number) + (values[i + half] as number)) / 2 : 0;
    smooth[i] = (sum - ends) / length;
  }
  const slope = ((smooth[last] as number) - (smooth[half] as number)) / (last - half);
  for (let i = 0; i < half; i++) smooth[i] = (smooth[half] as number) - slope * (half - i);
  for (let i = last + 1; i < n; i++) smooth[i] = (smooth[last] as number) + slope * (i - last);
  return smooth;
}

function placeMeans(values: readonly number[], length: number): number[] {
  const whole = Math.max(length, values.length - (values.length % length));
  return Array.from({ length }, (_, place) => {
    const each: number[] = [];
    for (let i = place; i < Math.min(whole, values.length); i += length) each.push(values[i] as number);
    return mean(each);
  });
}

function normalised(season: readonly number[], additive: boolean): number[] {
  const middle = mean(season);
  if (additive) return season.map((offset) => offset - middle);
  return season.map((factor) => Math.max(FACTOR_MIN, middle > 0 ? factor / middle : 1));
}

/** Least-squares line through the values at 1, 2, …: its value at 0 and its slope. */
export function line(values: readonly number[]): { level: number; slope: number } {
  const n = values.length;
  const middle = (n + 1) / 2;
  const height = mean(values);
  let across = 0;
  let along = 0;
  for (let i = 0; i < n; i++) {
    across += (i + 1 - middle) * ((values[i] as number) - height);
    along += (i + 1 - middle) ** 2;
  }
  const slope = along === 0 ? 0 : across / along;
  return { level: height - slope * middle, slope };
}

export function mean(values: readonly number[]): number {
  let sum = 0;
  for (const value of values) sum += value;
  return sum / Math.max(1, values.length);
}
