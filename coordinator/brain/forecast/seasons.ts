import { laggedProducts } from './autocorrelation.js';
import { DAY_SECONDS, WEEK_DAYS } from './calendar.js';
import { quantile } from './predict.js';
import { fitProfile, movingMean } from './profile.js';
import { bridge, mean } from './start.js';

/** Values of the newest part that is looked at. */
const VALUES_MAX = 20_000;
/** The usual range leaves out this share of the values at either end. */
const CLIP_SHARE = 0.02;
/** A season is looked for up to this share of the values: three whole cycles are there. */
const SHARE_MAX = 1 / 3;
const STEPS_MIN = 3;
/** Autocorrelation that makes a season, besides being beyond chance. */
const STRENGTH_MIN = 0.3;
/** The second season acts on what the first leaves, which is mostly noise. */
const SECOND_MIN = 0.1;
/** A shorter lag this near to the best one is the season; the best one is its multiple. */
const NEAR_BEST = 0.85;
/** Nor need a day be quite the best: what clocks say is no accident. */
const NEAR_DAY = 0.9;
/** A hill reaches so far to either side of its top, as a share of the lag. */
const HILL_SHARE = 0.02;
/** A long season is so many short ones, at most. */
const MULTIPLE_MAX = 32;
/** Below this share of the variance nothing is left that could have a season. */
const LEFT_MIN = 1e-3;

export interface SeasonHints {
  /** Seconds of a step, when known: days and weeks are then looked at first. */
  stepSeconds?: number;
}

/**
 * Lengths of none to two seasons, in steps, the shortest first, found by autocorrelation: the first in what slow
 * changes leave, the second, a multiple of it, in what the first leaves. What is likely at all is seven of them, as of
 * days in a week; other multiples must stand out. They are proposals: the backtest weighs what models of
 * them are worth.
 */
export function proposeSeasons(values: readonly (number | null)[], hints: SeasonHints = {}): number[] {
  const series = clipped(bridge(values.slice(-VALUES_MAX)));
  const lagMax = Math.floor(series.length * SHARE_MAX);
  if (lagMax < STEPS_MIN || !varies(series)) return [];
  const first = firstSeason(series, lagMax, hints);
  if (first === null) return [];
  const second = secondSeason(series, first, lagMax);
  return second === null ? [first] : [first, second];
}

function firstSeason(series: readonly number[], lagMax: number, { stepSeconds }: SeasonHints): number | null {
  const detrended = withoutSlow(series, lagMax);
  const correlation = autocorrelation(detrended, lagMax);
  const bound = Math.max(STRENGTH_MIN, 3 / Math.sqrt(series.length));
  const peaks: { lag: number; r: number }[] = [];
  let fallen = false;
  for (let lag = 1; lag < lagMax; lag++) {
    const r = correlation[lag] as number;
    // Nearness in time alone makes no season: it must first be unlike.
    if (r < 0.5 * bound) fallen = true;
    if (!fallen || lag < STEPS_MIN || r < bound) continue;
    if (r >= (correlation[lag - 1] as number) && r >= (correlation[lag + 1] as number)) peaks.push({ lag, r });
  }
  const best = Math.max(...peaks.map(({ r }) => r));
  const found = peaks.find(({ r }) => r >= NEAR_BEST * best)?.lag;
  if (found === undefined) return null;
  // Long lags have fewer pairs, which moves the top of a broad hill: it is where the pairs that there are agree most.
  const agreement = (lag: number): number => ((correlation[lag] as number) * series.length) / (series.length - lag);
  const around = { from: Math.floor(found * (1 - HILL_SHARE)), to: Math.ceil(found * (1 + HILL_SHARE)) };
  let top = found;
  for (let lag = around.from; lag <= Math.min(lagMax, around.to); lag++) if (agreement(lag) > agreement(top)) top = lag;
  const day = stepSeconds === undefined ? 0 : DAY_SECONDS / stepSeconds;
  const isDay =
    Number.isInteger(day) && day >= STEPS_MIN && day < lagMax && agreement(day) >= NEAR_DAY * agreement(top);
  return isDay ? day : top;
}

function secondSeason(series: readonly number[], first: number, lagMax: number): number | null {
  const multipleMax = Math.min(MULTIPLE_MAX, Math.floor(lagMax / first));
  if (multipleMax < 2) return null;
  const offsets = fitProfile(series, first, first, (i) => i % first);
  const left = withoutSlow(
    series.map((value, i) => value - (offsets[i % first] as number)),
    lagMax,
  );
  if (power(left) < LEFT_MIN * power(series)) return null;
  const correlation = autocorrelation(left, (multipleMax + 1) * first);
  const bound = Math.max(SECOND_MIN, 2 / Math.sqrt(series.length));
  const at = (multiple: number): number => correlation[multiple * first] as number;
  const likely = Array.from({ length: multipleMax - 1 }, (_, i) => i + 2).filter((multiple) => at(multiple) >= bound);
  if (likely.includes(WEEK_DAYS)) return WEEK_DAYS * first;
  // Hills only: a slow fall of the correlation is no season.
  const hills = likely.filter((multiple) => at(multiple) > Math.max(at(multiple - 1), at(multiple + 1), STRENGTH_MIN));
  const best = Math.max(...hills.map(at));
  const chosen = hills.find((multiple) => at(multiple) >= NEAR_BEST * best);
  return chosen === undefined ? null : chosen * first;
}

/** The values less a moving mean over `width`. */
function withoutSlow(values: readonly number[], width: number): number[] {
  const level = movingMean(values, width);
  return values.map((value, i) => value - (level[i] as number));
}

/** Up to and with `lagMax`; the few pairs of long lags count as few, so that of two as likely the shorter one wins. */
function autocorrelation(values: readonly number[], lagMax: number): number[] {
  const n = values.length;
  const middle = mean(values);
  const whole = power(values);
  const centred = values.map((value) => value - middle);
  return Array.from(laggedProducts(centred, lagMax), (sum) => (whole > 0 ? sum / n / whole : 0));
}

/** Values far beyond the usual range are cut to it: one alone would hide every season. */
function clipped(values: readonly number[]): number[] {
  const sorted = values.toSorted((a, b) => a - b);
  const [low, high] = [quantile(sorted, CLIP_SHARE), quantile(sorted, 1 - CLIP_SHARE)];
  const reach = high - low;
  return values.map((value) => Math.min(high + reach, Math.max(low - reach, value)));
}

/** Variance. */
function power(values: readonly number[]): number {
  const middle = mean(values);
  return values.reduce((sum, value) => sum + (value - middle) ** 2, 0) / Math.max(1, values.length);
}

function varies(values: readonly number[]): boolean {
  const size = values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  const middle = mean(values);
  return values.some((value) => Math.abs(value - middle) > 1e-9 * size);
}
