import { type Ring, valueAt } from './history.js';
import type { Form, Parameters, State } from './holt-winters.js';
import {
  createKernel,
  ERROR,
  holdKernel,
  type Kernel,
  LEVEL,
  OWN as MEAN_ERROR,
  PHI,
  RHO,
  seasonOf,
  stateOf,
  stepKernel,
  TREND,
} from './kernel.js';
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
  /** The model's state, and the mean absolute error of one slot, of what was learnt. */
  readonly kernel: Kernel;
  /** The places of slot 0 in the seasons. */
  readonly firstFrom: number;
  readonly secondFrom: number;
  /** What trend and last error count for some slots ahead; see multiplesOf. */
  readonly multiples: Float64Array;
  /** Outliers in a row, negative for those below; see cleaned. */
  outliers: number;
}

/** All there is to a model; the state's phases are those of the next slot. */
export interface SeasonalParts {
  ring: number;
  form: Form;
  parameters: Parameters;
  state: State;
  error: number;
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

/** A model that goes on from a state; the next slot has the number given. */
export function seasonalModel(from: SeasonalParts, nextSlot: number, outliers = 0): SeasonalModel {
  const { ring, form, parameters, state, error } = from;
  const kernel = createKernel(form, parameters, state);
  kernel.numbers[MEAN_ERROR] = error;
  return {
    ring,
    form,
    parameters,
    kernel,
    firstFrom: remainder((state.phases[0] ?? 0) - nextSlot, kernel.first),
    secondFrom: remainder((state.phases[1] ?? 0) - nextSlot, kernel.second),
    multiples: multiplesOf(form, parameters),
    outliers,
  };
}

/** The way back. */
export function partsOf(model: SeasonalModel, nextSlot: number): SeasonalParts {
  const { ring, form, parameters, kernel, firstFrom, secondFrom } = model;
  const phases = [remainder(nextSlot + firstFrom, kernel.first), remainder(nextSlot + secondFrom, kernel.second)];
  const state = stateOf(kernel, form.seasons.length, phases);
  return { ring, form, parameters, state, error: kernel.numbers[MEAN_ERROR] as number };
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

/** Takes in a slot that its ring has just completed. Answers false when the model has gone wild and is to be dropped. */
export function learnSlot(model: SeasonalModel, value: number, slot: number): boolean {
  const { kernel, firstFrom, secondFrom } = model;
  const { numbers } = kernel;
  const i = remainder(slot + firstFrom, kernel.first);
  const j = kernel.second === 1 ? 0 : remainder(slot + secondFrom, kernel.second);
  if (Number.isNaN(value)) {
    stepKernel(kernel, i, j, value);
  } else {
    const base = (numbers[LEVEL] as number) + (numbers[PHI] as number) * (numbers[TREND] as number);
    const season = seasonOf(kernel, i, j);
    const correction = (numbers[RHO] as number) * (numbers[ERROR] as number);
    const forecast = (kernel.additive ? base + season : base * season) + correction;
    const meanError = numbers[MEAN_ERROR] as number;
    const bound = Math.max(meanError, 0.002 * Math.abs(forecast));
    const learnt = cleaned(value, forecast, bound, model.outliers);
    model.outliers = rowAfter(value, forecast, bound, model.outliers);
    stepKernel(kernel, i, j, learnt);
    numbers[MEAN_ERROR] = meanError + ERROR_SHARE * (Math.abs(learnt - forecast) - meanError);
  }
  return Math.abs(numbers[LEVEL] as number) < LEVEL_MAX && Math.abs(numbers[TREND] as number) < LEVEL_MAX;
}

/** So many slots of which nothing is known. */
export function holdSlots({ kernel }: SeasonalModel, slots: number): void {
  holdKernel(kernel, slots);
}

/** Offset or factor of the season at a tick, numbered from the beginning of the series. */
export function seasonAt(model: SeasonalModel, { ticks }: Ring, tick: number): number {
  if (ticks === 1) return seasonOfSlot(model, tick);
  const place = (tick + 0.5) / ticks - 0.5;
  const slot = Math.floor(place);
  const before = seasonOfSlot(model, slot);
  return before + (place - slot) * (seasonOfSlot(model, slot + 1) - before);
}

/** A value of a tick without its season; the other way it is times `factorOf` plus `offsetOf`. */
export function without({ kernel }: SeasonalModel, season: number, value: number): number {
  return kernel.additive ? value - season : value / Math.max(FACTOR_MIN, season);
}

export function factorOf({ kernel }: SeasonalModel, season: number): number {
  return kernel.additive ? 1 : Math.max(FACTOR_MIN, season);
}

export function offsetOf({ kernel }: SeasonalModel, season: number): number {
  return kernel.additive ? season : 0;
}

/** What the model expects of a tick, of whose season `factor` and `offset` are. */
export function expectTick(model: SeasonalModel, ring: Ring, tick: number, factor: number, offset: number): number {
  const { numbers } = model.kernel;
  const slots = Math.max(1, slotOf(ring, tick) - ring.count + 1);
  const kept = slots < SLOTS_KEPT;
  const trend = kept ? (model.multiples[2 * slots] as number) : trendMultiple(model.form, model.parameters, slots);
  const correction = kept ? (model.multiples[2 * slots + 1] as number) : model.parameters.rho ** slots;
  const level = (numbers[LEVEL] as number) + trend * (numbers[TREND] as number);
  return level * factor + offset + correction * (numbers[ERROR] as number);
}

/** The value one season before a tick, or as many as it takes to be in the past; NaN if unknown. */
export function seasonAgo(model: SeasonalModel, ring: Ring, tick: number): number {
  const length = longest(model);
  const slot = slotOf(ring, tick);
  const cycles = slot < ring.count + length ? 1 : Math.ceil((slot - ring.count + 1) / length);
  return valueAt(ring, slot - cycles * length);
}

export function longest({ kernel }: SeasonalModel): number {
  return kernel.second === 1 ? kernel.first : kernel.second;
}

/** For people: `multiplicative Holt-Winters, seasons 86400 s and 604800 s`. */
export function seasonalName({ form }: SeasonalModel, slotSeconds: number): string {
  const seasons = form.seasons.map((length) => `${length * slotSeconds} s`);
  return `${form.seasonal} Holt-Winters, season${seasons.length > 1 ? 's' : ''} ${seasons.join(' and ')}`;
}

/** Of a slot, numbered from the beginning of the series. */
function seasonOfSlot({ kernel, firstFrom, secondFrom }: SeasonalModel, slot: number): number {
  const j = kernel.second === 1 ? 0 : remainder(slot + secondFrom, kernel.second);
  return seasonOf(kernel, remainder(slot + firstFrom, kernel.first), j);
}

function slotOf({ ticks }: Ring, tick: number): number {
  return ticks === 1 ? tick : Math.floor(tick / ticks);
}

/** Never negative; of whole numbers. */
function remainder(of: number, by: number): number {
  const left = of % by;
  return left < 0 ? left + by : left;
}
