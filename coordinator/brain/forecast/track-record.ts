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
/** How far one comparison moves a quantile, in mean absolute errors. */
const QUANTILE_STEP = 0.06;
/** An error counts as so many mean ones at most, so that one outlier neither settles the weights nor blows up intervals. */
const ERROR_MAX = 12;
/** Before so many comparisons a horizon goes by the one before it. */
const COMPARISONS_MIN = 6;
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
  if (turn < 3) return turn < record.horizons ? turn : -1;
  // Trailing zeros of the step: each number of them comes half as often as the one before.
  const horizon = step === 0 ? record.horizons : 34 - Math.clz32(step & -step);
  return horizon < record.horizons ? horizon : -1;
}
export const TURNS = 4;

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
  numbers[at + COUNT] = Math.min(count, 1e6);

  const share = Math.max(ERROR_SHARE, 1 / count);
  const most = count > COMPARISONS_MIN ? ERROR_MAX * unit + 1e-3 * scale : Number.POSITIVE_INFINITY;
  let best = Number.POSITIVE_INFINITY;
  for (let k = 0; k < candidates; k++) {
    const size = Math.min(Math.abs(value - (numbers[pending + k] as number)), most);
    const place = at + ERRORS + k;
    const known = numbers[place] as number;
    // Not a number where the candidate is younger than the forecast.
    const error = Number.isNaN(size) ? known : known + share * (size - known);
    numbers[place] = error;
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
    numbers[place] = quantile + QUANTILE_STEP * (above - 1 + (SHARES[i] as number));
  }
}

/** Writes down what the candidates expect at a horizon from this step. `scale` is the size that errors are relative to. */
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
  // They are 1 but for rounding, which would make a constant uncertain.
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

/** The quantile of the error at a horizon, relative, at a share such as 0.95; between the tracked ones as a normal one. */
export function errorQuantile(record: TrackRecord, horizon: number, share: number, deviate: number): number {
  const at = offsetOf(record.candidates, experienced(record, horizon)) + QUANTILES;
  let i = SHARES.findIndex((tracked) => tracked >= share - 1e-9);
  i = i < 0 ? SHARES.length - 1 : Math.max(1, i);
  const [low, high] = [record.numbers[at + i - 1] as number, record.numbers[at + i] as number];
  const [from, to] = [DEVIATES[i - 1] as number, DEVIATES[i] as number];
  return unitOf(record, horizon) * (low + ((Math.max(low, high) - low) * (deviate - from)) / (to - from));
}

/** The last value taken off as an outlier is judged by this: the forecast of one step made for `step`; NaN if none was. */
export function forecastFor(record: TrackRecord, step: number): number {
  return record.numbers[pendingAt(record.candidates, 0, step) + record.candidates] as number;
}

export function errorOf(record: TrackRecord, horizon: number, candidate: number): number {
  return record.numbers[offsetOf(record.candidates, horizon) + ERRORS + candidate] as number;
}

export function weightOf(record: TrackRecord, horizon: number, candidate: number): number {
  const { candidates, numbers } = record;
  return numbers[offsetOf(candidates, horizon) + ERRORS + candidates + candidate] as number;
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
    for (let slot = 0; slot < Math.min(PENDING, 2 ** horizon); slot++) {
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

/** Weights by the sixth power of the inverse errors: near equals share, who is twice as bad has a sixty-fourth. */
function weigh({ candidates, numbers }: TrackRecord, horizon: number, best: number, floor: number): void {
  const at = offsetOf(candidates, horizon) + ERRORS;
  let sum = 0;
  for (let k = 0; k < candidates; k++) {
    const ratio = (best + floor) / ((numbers[at + k] as number) + floor);
    const square = ratio * ratio;
    const weight = square * square * square;
    numbers[at + candidates + k] = weight;
    sum += weight;
  }
  for (let k = 0; k < candidates; k++) {
    numbers[at + candidates + k] = (numbers[at + candidates + k] as number) / sum;
  }
}

/** The longest horizon up to this one that has been compared often enough. */
function experienced(record: TrackRecord, horizon: number): number {
  let from = horizon;
  while (from > 0 && comparisonsOf(record, from) < COMPARISONS_MIN) from -= 1;
  return from;
}

function pendingAt(candidates: number, horizon: number, step: number): number {
  const every = horizon < 3 ? 1 : 2 ** (horizon - 2);
  const slots = horizon < 3 ? 2 ** horizon : PENDING;
  const slot = Math.floor(step / every) % slots;
  return offsetOf(candidates, horizon) + ERRORS + 2 * candidates + slot * (candidates + 3);
}

function sizeOf(candidates: number, horizon: number): number {
  return ERRORS + 2 * candidates + Math.min(PENDING, 2 ** horizon) * (candidates + 3);
}

/** Sizes of the horizons before it, added up: those with one, two, and then four pending forecasts. */
function offsetOf(candidates: number, horizon: number): number {
  const pending = horizon < 3 ? 2 ** horizon - 1 : 3 + PENDING * (horizon - 2);
  return horizon * (ERRORS + 2 * candidates) + pending * (candidates + 3);
}
