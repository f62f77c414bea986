import { normalQuantile } from './random.js';

/**
 * What the forecasts of several candidates were worth, honestly: each is written down when it is made and compared once
 * its time has come, for horizons of 1, 2, 4, … steps. Of each horizon it knows the candidates' mean absolute errors, which
 * weigh them against each other, and the quantiles of the weighted forecast's error.
 *
 * Quantiles are tracked online, in units of the recent mean error of that horizon: a miss widens, a hit narrows, in the
 * ratio that leaves the promised share of misses whatever the errors are: Angelopoulos, Candès & Tibshirani, Conformal PID
 * control for time series prediction (NeurIPS 2023), the P part; Gibbs & Candès, Adaptive conformal inference (2021).
 *
 * Constant time: horizons up to 4 steps are looked at each step, of the longer ones exactly one, each a quarter of its own
 * length after the last time. Owned and changed in place.
 */
export interface TrackRecord {
  readonly candidates: number;
  /** 1, 2, 4, …: how many. */
  readonly horizons: number;
  /** Float32 halves the memory, and figures of errors need no more. */
  readonly numbers: Float32Array;
}

/** Quantiles of the error that are tracked, with their normal deviates. */
const SHARES = [0.025, 0.1, 0.9, 0.95, 0.975, 0.99];
const DEVIATES = [-1.959964, -1.281552, 1.281552, 1.644854, 1.959964, 2.326348];
/** Beyond what a normal error rarely exceeds, in standard deviations, by some tolerance. */
const EXTREME = 2.6;
/** Of a normal error: standard deviations in a mean absolute error. */
const MEAN_ABSOLUTE = 0.797885;
/** So many horizons are looked at each step. */
export const EACH_STEP = 3;
/** Forecasts of a longer horizon that are under way at a time. */
const PENDING = 4;
/** Of each horizon, in this order: comparisons made; the mean absolute error of the weighted forecast, relative; quantiles … */
const COUNT = 0;
const UNIT = 1;
const QUANTILES = 2;
/** … mean absolute errors of the candidates, their weights, and the pending forecasts. */
const ERRORS = QUANTILES + SHARES.length;

/** Errors are remembered for about so many comparisons. */
const ERROR_SHARE = 0.03;
/** The unit near at hand for fewer, so that calm after a disturbance is believed soon. */
const UNIT_SHARE = [0.05, 0.05, 0.05, 0.06];
const UNIT_SHARE_LONG = 0.03;
/**
 * How far one comparison moves a quantile q: this share of √(1 + q²) mean absolute errors. So far tails are reached in a few
 * dozen misses where comparisons are rare, as an hour ahead. It depends on nothing but q: a step that grew with the error at
 * hand would widen more than it narrows.
 */
const QUANTILE_STEP = 0.04;
/** An error counts as so many mean ones at most, so that one outlier neither settles the weights nor blows up intervals. */
const ERROR_MAX = 12;
/** Before so many comparisons a horizon goes by the one before it. */
const COMPARISONS_MIN = 6;
/** They are counted no further. */
const COUNT_MAX = 1e6;
/** What the error grows by from a horizon to its double as long as nothing is known: that of a random walk. */
const GROWTH = Math.SQRT2;

export function createTrackRecord(candidates: number, horizons: number): TrackRecord {
  const last = horizons - 1;
  const numbers = new Float32Array(offsetOf(candidates, last) + sizeOf(candidates, last));
  const record = { candidates, horizons, numbers };
  for (let horizon = 0; horizon < horizons; horizon++) {
    const at = offsetOf(candidates, horizon);
    for (let i = 0; i < SHARES.length; i++) numbers[at + QUANTILES + i] = (DEVIATES[i] as number) / MEAN_ABSOLUTE;
    numbers.fill(1 / candidates, at + ERRORS + candidates, at + ERRORS + 2 * candidates);
    numbers.fill(Number.NaN, at + ERRORS + 2 * candidates, at + sizeOf(candidates, horizon));
  }
  return record;
}

/** The horizons whose turn it is at a step, smallest first: the three shortest, and one of the others in fair turns. */
export function horizonDue(record: TrackRecord, step: number, turn: number): number {
  if (turn < EACH_STEP) return turn < record.horizons ? turn : -1;
  // Trailing zeros of the step: each number of them comes half as often as the one before.
  const horizon = step === 0 ? record.horizons : 34 - Math.clz32(step & -step);
  return horizon < record.horizons ? horizon : -1;
}
export const TURNS = EACH_STEP + 1;

/** The steps before `end` whose forecasts are pending then; some of them may come more than once. */
export function lastDue({ horizons }: TrackRecord, end: number): number[] {
  const steps = Array.from({ length: PENDING }, (_, i) => end - 1 - i);
  for (let horizon = EACH_STEP; horizon < horizons; horizon++) {
    // The one of `horizonDue`, each a quarter of the horizon's length after the last.
    const every = 2 ** (horizon - 2);
    const last = end - 1 - ((((end - 1 - every / 2) % every) + every) % every);
    for (let i = 0; i < PENDING; i++) steps.push(last - i * every);
  }
  return steps;
}

/** Compares what was forecast for this step. */
export function compare(record: TrackRecord, horizon: number, step: number, value: number): void {
  const { candidates, numbers } = record;
  const at = offsetOf(candidates, horizon);
  const pending = pendingAt(candidates, horizon, step);
  const forecast = numbers[pending + candidates] as number;
  if (Number.isNaN(forecast)) return;
  const unit = numbers[pending + candidates + 1] as number;
  const scale = numbers[pending + candidates + 2] as number;
  const count = (numbers[at + COUNT] as number) + 1;
  numbers[at + COUNT] = Math.min(count, COUNT_MAX);

  const share = Math.max(ERROR_SHARE, 1 / count);
  const most = count > COMPARISONS_MIN ? ERROR_MAX * unit + 1e-3 * scale : Number.POSITIVE_INFINITY;
  const errors = at + ERRORS;
  let best = Number.POSITIVE_INFINITY;
  for (let k = 0; k < candidates; k++) {
    const size = Math.abs(value - (numbers[pending + k] as number));
    const known = numbers[errors + k] as number;
    // Not a number where the candidate is younger than the forecast.
    const error = Number.isNaN(size) ? known : known + share * (Math.min(size, most) - known);
    numbers[errors + k] = error;
    if (error < best) best = error;
  }
  weigh(record, horizon, best, 1e-6 * scale + Number.MIN_VALUE);

  const error = value - forecast;
  // Of a rise from near nothing the value is the measure, or it would count a hundredfold from then on.
  const relative = error === 0 ? 0 : Math.abs(error) / Math.max(scale, value + scale - Math.abs(forecast));
  const known = numbers[at + UNIT] as number;
  const bounded = count > COMPARISONS_MIN ? Math.min(relative, ERROR_MAX * known + 1e-3) : relative;
  numbers[at + UNIT] = known + Math.max(UNIT_SHARE[horizon] ?? UNIT_SHARE_LONG, 1 / count) * (bounded - known);
  for (let i = 0; i < SHARES.length; i++) {
    const place = at + QUANTILES + i;
    const quantile = numbers[place] as number;
    const above = error > quantile * unit ? 1 : 0;
    numbers[place] =
      quantile + QUANTILE_STEP * Math.sqrt(1 + quantile * quantile) * (above - 1 + (SHARES[i] as number));
  }
}

/** Writes down what the candidates expect at a horizon from this step. `typical` is the size that errors are relative to. */
export function writeDown(
  record: TrackRecord,
  horizon: number,
  step: number,
  expected: Float64Array,
  typical: number,
): void {
  const { candidates, numbers } = record;
  const pending = pendingAt(candidates, horizon, step);
  const forecast = weighted(record, horizon, expected);
  const scale = Math.abs(forecast) + typical;
  for (let k = 0; k < candidates; k++) numbers[pending + k] = expected[k] as number;
  numbers[pending + candidates] = forecast;
  numbers[pending + candidates + 1] = unitOf(record, horizon) * scale;
  numbers[pending + candidates + 2] = scale;
}

/** What was written down at a step for one of the shortest horizons, as `weighted` said it. */
export function writtenDown({ candidates, numbers }: TrackRecord, horizon: number, step: number): number {
  return numbers[pendingAt(candidates, horizon, step) + candidates] as number;
}

/** The weighted mean of what the candidates expect at a horizon. */
export function weighted(record: TrackRecord, horizon: number, expected: Float64Array): number {
  const { candidates, numbers } = record;
  const at = offsetOf(candidates, experienced(record, horizon)) + ERRORS + candidates;
  let sum = 0;
  let weights = 0;
  for (let k = 0; k < candidates; k++) {
    const weight = numbers[at + k] as number;
    sum += weight * (expected[k] as number);
    weights += weight;
  }
  return sum / weights;
}

/** Mean absolute error of the weighted forecast at a horizon, relative; 0 before the first comparison. */
export function unitOf(record: TrackRecord, horizon: number): number {
  const from = experienced(record, horizon);
  const unit = record.numbers[offsetOf(record.candidates, from) + UNIT] as number;
  return from === horizon ? unit : unit * GROWTH ** (horizon - from);
}

/**
 * The relative error of one step that is nothing unusual: the mean one, or more where large errors are not rare, so that
 * a series that often jumps is not taken to be full of outliers.
 */
export function usualError({ candidates, numbers }: TrackRecord): number {
  const at = offsetOf(candidates, 0);
  const extreme = numbers[at + QUANTILES + SHARES.length - 1] as number;
  return (numbers[at + UNIT] as number) * Math.max(1, (extreme * MEAN_ABSOLUTE) / EXTREME);
}

/** A quantile of the error: between which of the tracked ones it lies, and how far from the lower to the upper. */
export interface QuantilePlace {
  above: number;
  between: number;
}

/** Of a share such as 0.95; those that are not tracked lie as those of a normal error. */
export function quantilePlace(share: number): QuantilePlace {
  const found = SHARES.findIndex((tracked) => tracked >= share - 1e-9);
  const above = found < 0 ? SHARES.length - 1 : Math.max(1, found);
  for (const [i, each] of [above - 1, above].entries()) {
    if (Math.abs((SHARES[each] as number) - share) < 1e-9) return { above, between: i };
  }
  const [from, to] = [DEVIATES[above - 1] as number, DEVIATES[above] as number];
  return { above, between: (normalQuantile(share) - from) / (to - from) };
}

/** Writes the quantiles of the error at a horizon, relative. */
export function errorQuantiles(
  record: TrackRecord,
  horizon: number,
  places: readonly QuantilePlace[],
  out: Float64Array,
): void {
  const { candidates, numbers } = record;
  const at = offsetOf(candidates, experienced(record, horizon)) + QUANTILES;
  const unit = unitOf(record, horizon);
  for (let i = 0; i < places.length; i++) {
    const { above, between } = places[i] as QuantilePlace;
    const low = numbers[at + above - 1] as number;
    const high = numbers[at + above] as number;
    out[i] = unit * (low + (high > low ? high - low : 0) * between);
  }
}

/** What was forecast one step before for a step that is now; NaN if nothing was. */
export function forecastFor(record: TrackRecord, step: number): number {
  // There is one place for all steps.
  return writtenDown(record, 0, step);
}

export function errorOf(record: TrackRecord, horizon: number, candidate: number): number {
  return record.numbers[offsetOf(record.candidates, horizon) + ERRORS + candidate] as number;
}

/** As a share of all of them. */
export function weightOf(record: TrackRecord, horizon: number, candidate: number): number {
  const { candidates, numbers } = record;
  const at = offsetOf(candidates, horizon) + ERRORS + candidates;
  let sum = 0;
  for (let k = 0; k < candidates; k++) sum += numbers[at + k] as number;
  return (numbers[at + candidate] as number) / sum;
}

export function comparisonsOf(record: TrackRecord, horizon: number): number {
  return record.numbers[offsetOf(record.candidates, horizon) + COUNT] as number;
}

/**
 * A record for other candidates: `places` says where each of them was in the old one, -1 if it is new; `errorOfNew`
 * gives a new one's error at a horizon, as expected.
 */
export function rearranged(
  old: TrackRecord,
  places: readonly number[],
  errorOfNew: (horizon: number, candidate: number) => number,
): TrackRecord {
  const record = createTrackRecord(places.length, old.horizons);
  const [from, to] = [old.numbers, record.numbers];
  for (let horizon = 0; horizon < old.horizons; horizon++) {
    const at = offsetOf(old.candidates, horizon);
    const here = offsetOf(record.candidates, horizon);
    to.set(from.subarray(at, at + ERRORS), here);
    let best = Number.POSITIVE_INFINITY;
    for (const [k, place] of places.entries()) {
      const error = place < 0 ? errorOfNew(horizon, k) : errorOf(old, horizon, place);
      to[here + ERRORS + k] = error;
      if (error < best) best = error;
    }
    if (comparisonsOf(old, horizon) > 0) weigh(record, horizon, best, 1e-6 * best + Number.MIN_VALUE);
    const [stride, strideOld] = [places.length + 3, old.candidates + 3];
    for (let slot = 0; slot < slotsOf(horizon); slot++) {
      const pending = here + ERRORS + 2 * places.length + slot * stride;
      const pendingOld = at + ERRORS + 2 * old.candidates + slot * strideOld;
      for (const [k, place] of places.entries()) {
        to[pending + k] = place < 0 ? Number.NaN : (from[pendingOld + place] as number);
      }
      for (let i = 0; i < 3; i++) to[pending + places.length + i] = from[pendingOld + old.candidates + i] as number;
    }
  }
  return record;
}

/**
 * Weights by the sixth power of the inverse errors, the best one's being about 1: near equals share, who is twice as bad has
 * a sixty-fourth.
 */
function weigh({ candidates, numbers }: TrackRecord, horizon: number, best: number, floor: number): void {
  const at = offsetOf(candidates, horizon) + ERRORS;
  const least = best + floor;
  for (let k = at; k < at + candidates; k++) {
    const ratio = least / ((numbers[k] as number) + floor);
    const square = ratio * ratio;
    numbers[k + candidates] = square * square * square;
  }
}

/** The longest horizon up to this one that has been compared often enough. */
function experienced({ candidates, numbers }: TrackRecord, horizon: number): number {
  let from = horizon;
  while (from > 0 && (numbers[offsetOf(candidates, from) + COUNT] as number) < COMPARISONS_MIN) from -= 1;
  return from;
}

function pendingAt(candidates: number, horizon: number, step: number): number {
  // The longer ones come at every so many steps, which turns their slots once each length.
  const slot = (step >>> Math.max(0, horizon - 2)) & (slotsOf(horizon) - 1);
  return offsetOf(candidates, horizon) + ERRORS + 2 * candidates + slot * (candidates + 3);
}

/** Pending forecasts of a horizon. */
function slotsOf(horizon: number): number {
  return horizon < 2 ? 1 << horizon : PENDING;
}

function sizeOf(candidates: number, horizon: number): number {
  return ERRORS + 2 * candidates + slotsOf(horizon) * (candidates + 3);
}

/** Sizes of the horizons before it, added up: those with one, two, and then four pending forecasts. */
function offsetOf(candidates: number, horizon: number): number {
  const pending = horizon < 2 ? horizon : 3 + PENDING * (horizon - 2);
  return horizon * (ERRORS + 2 * candidates) + pending * (candidates + 3);
}
