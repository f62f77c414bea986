import { laggedProducts } from './autocorrelation.js';

/** Finds the season of a series by autocorrelation. */
export interface Season {
  /** Length in steps. */
  steps: number;
  /** Autocorrelation at that lag, up to 1. */
  strength: number;
}

const STRENGTH_MIN = 0.4;
/** A shorter lag whose autocorrelation is this near to the best one wins: its multiples repeat it. */
const NEAR_BEST = 0.9;
const STEPS_MIN = 4;
const VALUES_MAX = 10_080;

/**
 * The season of the newest values, or null when there is none. Two whole cycles are needed. Gaps (null) are bridged
 * by a line.
 */
export function findSeason(values: (number | null)[], stepsMax = 2_016): Season | null {
  const series = detrend(bridge(values.slice(-VALUES_MAX)));
  const n = series.length;
  const lagMax = Math.min(stepsMax, Math.floor(n / 2));
  if (lagMax < STEPS_MIN) return null;
  const power = series.reduce((sum, x) => sum + x * x, 0) / n;
  // A constant leaves only rounding after detrending.
  const scale = values.reduce<number>((most, value) => Math.max(most, Math.abs(value ?? 0)), 0);
  if (!(power > (scale * 1e-9) ** 2)) return null;

  const correlation = Array.from(laggedProducts(series, lagMax), (sum, lag) => sum / (n - lag) / power);
  const peaks = findPeaks(correlation, lagMax, n);
  const best = Math.max(...peaks.map((peak) => peak.strength));
  return peaks.find((peak) => peak.strength >= NEAR_BEST * best) ?? null;
}

/** Hills above the significance bound, past the first fall below zero: nearness in time alone makes no season. */
function findPeaks(correlation: number[], lagMax: number, n: number): Season[] {
  const peaks: Season[] = [];
  let fallen = false;
  // 3/√n: what white noise passes about once in 700 lags.
  const bound = Math.max(STRENGTH_MIN, 3 / Math.sqrt(n));
  for (let lag = 1; lag <= lagMax; lag++) {
    const r = correlation[lag] ?? 0;
    if (r < 0) fallen = true;
    if (!fallen || lag < STEPS_MIN || r < bound) continue;
    const reach = Math.max(1, Math.floor(lag * 0.1));
    const around = correlation.slice(lag - reach, lag + reach + 1);
    if (r >= Math.max(...around)) peaks.push({ steps: lag, strength: Math.min(1, r) });
  }
  return peaks;
}

function bridge(values: (number | null)[]): number[] {
  const known = values.flatMap((value, at) => (value !== null && Number.isFinite(value) ? [{ value, at }] : []));
  const [first] = known;
  if (first === undefined) return [];
  const filled: number[] = [];
  let left = first;
  for (const right of known) {
    const gap = right.at - left.at;
    for (let i = 1; i <= gap; i++) filled.push(left.value + ((right.value - left.value) * i) / gap);
    if (gap === 0) filled.push(right.value);
    left = right;
  }
  return filled;
}

/** Takes the least-squares line off. */
function detrend(values: number[]): number[] {
  const n = values.length;
  const middle = (n - 1) / 2;
  const mean = values.reduce((sum, value) => sum + value, 0) / Math.max(1, n);
  let across = 0;
  let along = 0;
  for (const [i, value] of values.entries()) {
    across += (i - middle) * (value - mean);
    along += (i - middle) ** 2;
  }
  const slope = along === 0 ? 0 : across / along;
  return values.map((value, i) => value - mean - slope * (i - middle));
}
