import { type Ring, valueAt } from './history.js';
import { type Form, type Parameters, type State, step } from './holt-winters.js';
import { dampedSum } from './levels.js';

/**
 * A Holt-Winters model that goes on with a series, on the steps of one of its rings (slots): level, damped trend and one or
 * two seasons. What it says of the season also serves the tick: between the middles of two slots along a line. Owned and
 * changed in place. Where the next slot is the ring's `count`, its season stands at the model's phase.
 */
export interface SeasonalModel {
  /** Which of the history's rings it lives on. */
  readonly ring: number;
  readonly form: Form;
  readonly parameters: Parameters;
  readonly state: State;
  /** Of `parameters`; see multiplesOf. */
  readonly multiples: Float64Array;
  /** Mean absolute error of one slot, of what was learnt. */
  error: number;
  /** Outliers in a row, negative for those below; see cleaned. */
  outliers: number;
}

/** A factor is taken as this at least when divided by. */
const FACTOR_MIN = 0.02;
const ERROR_SHARE = 0.05;
const SLOTS_KEPT = 64;
/** A model whose level or trend has left this range has gone wild. */
const LEVEL_MAX = 1e18;

/** Errors beyond so many mean absolute ones (4 standard deviations) are taken for outliers … */
const OUTLIER = 5;
/** … unless this many follow each other on one side: then the level has shifted. */
const SHIFT_ROW = 2;

/**
 * What is learnt of a value: an outlier counts only as far as the bound, as in Gelper, Fried & Croux, J. Forecasting 29
 * (2010) 285. `row` are the outliers in a row until now, signed.
 */
export function cleaned(value: number, forecast: number, meanError: number, row: number): number {
  const bound = OUTLIER * meanError;
  const error = value - forecast;
  if (Math.abs(error) <= bound || nextRow(value, forecast, meanError, row) >= SHIFT_ROW) return value;
  return forecast + Math.sign(error) * bound;
}

/** Outliers in a row with this value, as a size. */
function nextRow(value: number, forecast: number, meanError: number, row: number): number {
  return Math.abs(rowAfter(value, forecast, meanError, row));
}

/** Outliers in a row after a value: positive above the forecast, negative below, 0 if it is none. */
export function rowAfter(value: number, forecast: number, meanError: number, row: number): number {
  const error = value - forecast;
  if (Math.abs(error) <= OUTLIER * meanError) return 0;
  return error > 0 ? Math.max(0, row) + 1 : Math.min(0, row) - 1;
}

/** A model that goes on from a state. */
export function seasonalModel(
  from: Pick<SeasonalModel, 'ring' | 'form' | 'parameters' | 'state' | 'error'>,
  outliers = 0,
): SeasonalModel {
  const { ring, form, parameters, state, error } = from;
  return { ring, form, parameters, state, multiples: multiplesOf(form, parameters), error, outliers };
}

/** What trend and last error count for 0, 1, 2, … slots ahead, in turns, since powers cost more than all the rest. */
function multiplesOf(form: Form, parameters: Parameters): Float64Array {
  const multiples = new Float64Array(2 * SLOTS_KEPT);
  for (let slots = 0; slots < SLOTS_KEPT; slots++) {
    multiples[2 * slots] = trendMultiple(form, parameters, slots);
    multiples[2 * slots + 1] = parameters.rho ** slots;
  }
  return multiples;
}

function trendMultiple({ trend }: Form, { phi }: Parameters, slots: number): number {
  return trend === 'none' ? 0 : dampedSum(trend === 'damped' ? phi : 1, slots);
}

/** Takes in the slot that its ring has just completed. Answers false when the model has gone wild and is to be dropped. */
export function learnSlot(model: SeasonalModel, value: number): boolean {
  const { form, parameters, state } = model;
  if (Number.isNaN(value)) {
    step(form, parameters, state, null);
  } else {
    const base = state.level + (form.trend === 'none' ? 0 : parameters.phi * state.trend);
    const season = seasonOfSlot(model, 0);
    const forecast = (form.seasonal === 'additive' ? base + season : base * season) + parameters.rho * state.error;
    const bound = Math.max(model.error, 0.002 * Math.abs(forecast));
    const learnt = cleaned(value, forecast, bound, model.outliers);
    model.outliers = rowAfter(value, forecast, bound, model.outliers);
    step(form, parameters, state, learnt);
    model.error += ERROR_SHARE * (Math.abs(learnt - forecast) - model.error);
  }
  return Math.abs(state.level) < LEVEL_MAX && Math.abs(state.trend) < LEVEL_MAX;
}

/** Offset or factor of the season at a tick, numbered from the beginning of the series. */
export function seasonAt(model: SeasonalModel, ring: Ring, tick: number): number {
  if (ring.ticks === 1) return seasonOfSlot(model, tick - ring.count);
  const place = (tick + 0.5) / ring.ticks - 0.5;
  const slot = Math.floor(place);
  const before = seasonOfSlot(model, slot - ring.count);
  return before + (place - slot) * (seasonOfSlot(model, slot + 1 - ring.count) - before);
}

/** A value of a tick without its season, and back. */
export function without(model: SeasonalModel, season: number, value: number): number {
  return model.form.seasonal === 'additive' ? value - season : value / Math.max(FACTOR_MIN, season);
}

export function withSeason(model: SeasonalModel, season: number, value: number): number {
  return model.form.seasonal === 'additive' ? value + season : value * Math.max(FACTOR_MIN, season);
}

/** What the model expects of a tick. */
export function expectTick(model: SeasonalModel, ring: Ring, tick: number, season: number): number {
  const { form, parameters, state, multiples } = model;
  const slots = Math.max(1, Math.floor(tick / ring.ticks) - ring.count + 1);
  const kept = slots < SLOTS_KEPT;
  const trend = kept ? (multiples[2 * slots] as number) : trendMultiple(form, parameters, slots);
  const correction = kept ? (multiples[2 * slots + 1] as number) : parameters.rho ** slots;
  return withSeason(model, season, state.level + trend * state.trend) + correction * state.error;
}

/** The value one season before a tick, or as many as it takes to be in the past; NaN if unknown. */
export function seasonAgo(model: SeasonalModel, ring: Ring, tick: number): number {
  const length = longest(model);
  const slot = Math.floor(tick / ring.ticks);
  const cycles = Math.max(1, Math.ceil((slot - ring.count + 1) / length));
  return valueAt(ring, slot - cycles * length);
}

export function longest(model: SeasonalModel): number {
  return model.form.seasons.at(-1) ?? 1;
}

/** For people: `multiplicative Holt-Winters, seasons 86400 s and 604800 s`. */
export function seasonalName({ form }: SeasonalModel, slotSeconds: number): string {
  const seasons = form.seasons.map((length) => `${length * slotSeconds} s`);
  return `${form.seasonal} Holt-Winters, season${seasons.length > 1 ? 's' : ''} ${seasons.join(' and ')}`;
}

/** Of the slot so many after the next one to come; negative for the past. */
function seasonOfSlot({ form, state }: SeasonalModel, ahead: number): number {
  const additive = form.seasonal === 'additive';
  let value = additive ? 0 : 1;
  for (let i = 0; i < state.seasons.length; i++) {
    const season = state.seasons[i] as number[];
    const { length } = season;
    let at = ((state.phases[i] as number) + ahead) % length;
    if (at < 0) at += length;
    value = additive ? value + (season[at] as number) : value * (season[at] as number);
  }
  return value;
}
