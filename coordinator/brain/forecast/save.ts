import type { DemandForecaster, View } from './demand-forecast.js';
import { candidatesOf, createDemandForecaster } from './demand-forecast.js';
import { createHistory, type Ring, tell } from './history.js';
import type { Form, Parameters, State } from './holt-winters.js';
import { constantsOf, LEVELS_STATE, type Levels, type Smoothing } from './levels.js';
import { partsOf, type SeasonalModel, seasonalModel } from './seasonal.js';
import { createTrackRecord, type TrackRecord } from './track-record.js';

/**
 * A forecaster as text and back, so that what it has learned survives its process: JSON with the arrays in base64, numbers
 * exact. A forecaster that was loaded goes on as the one that was saved.
 */
const VERSION = 1;

export function saveDemandForecaster(forecaster: DemandForecaster): string {
  tell(forecaster.history);
  const { history, views, levels, record, constants: _constants, named: _named, ...rest } = forecaster;
  return JSON.stringify({
    version: VERSION,
    ...rest,
    history: history.rings.map((ring) => ({ ...ring, values: text(ring.values) })),
    views: views.map(({ seasonal, idleCycles }, v) => ({
      levels: text(levels.subarray(v * LEVELS_STATE, (v + 1) * LEVELS_STATE)),
      idleCycles,
      seasonal: seasonal === null ? null : savedSeasonal(seasonal, history.rings[seasonal.ring]?.count ?? 0),
    })),
    record: text(record.numbers),
  });
}

/** The error says what is wrong with the text; then a new forecaster is the remedy. */
export function loadDemandForecaster(saved: string): DemandForecaster | Error {
  try {
    return read(JSON.parse(saved));
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    return new Error(`not a saved forecaster (${why}): create a new one`, { cause });
  }
}

function read(saved: unknown): DemandForecaster {
  const from = fields(saved, 'forecaster');
  if (from.version !== VERSION) throw new RangeError(`version ${String(from.version)} and not ${VERSION}`);
  const stepSeconds = number(from, 'stepSeconds');
  const made = createDemandForecaster({ seasonSeconds: number(from, 'seasonSeconds'), stepSeconds });
  const rings = list(from, 'history');
  if (rings.length !== made.history.rings.length) throw new RangeError('other rings than the steps ask for');
  const history = made.history.rings.map((ring, i) => readRing(ring, fields(rings[i], 'ring')));
  const ticks = count(from, 'ticks');
  if (history.some((ring) => ring.count !== Math.floor(ticks / ring.ticks) || ring.passed !== ticks % ring.ticks))
    throw new RangeError('rings of another age');
  const parts = list(from, 'views').map((view) => fields(view, 'view'));
  if (parts.length < 1 || parts.length > 3) throw new RangeError(`${parts.length} views`);
  const views = parts.map((view, i) => readView(history, view, i === 0));
  const levels = new Float64Array(views.length * LEVELS_STATE);
  for (const [i, view] of parts.entries()) levels.set(readLevels(view), i * LEVELS_STATE);
  const fitted = readSmoothing(fields(from.fitted, 'fitted'));
  return {
    ...made,
    ticks,
    known: count(from, 'known'),
    typical: number(from, 'typical'),
    outliers: number(from, 'outliers'),
    refitAt: count(from, 'refitAt'),
    fitted,
    constants: constantsOf(fitted, made.record.horizons),
    history: createHistory(history),
    views,
    levels,
    record: readRecord(createTrackRecord(candidatesOf(views), made.record.horizons), string(from, 'record')),
  };
}

function readRing(made: Ring, from: Fields): Ring {
  const values = floats32(string(from, 'values'));
  const steps = count(from, 'count');
  if (number(from, 'ticks') !== made.ticks || values.length > made.stepsMax || values.length < 1)
    throw new RangeError('a ring of another size');
  if (steps > values.length && values.length < made.stepsMax) throw new RangeError('a ring that lost its values');
  return {
    ...made,
    values,
    count: steps,
    passed: count(from, 'passed'),
    known: count(from, 'known'),
    sum: number(from, 'sum'),
  };
}

function readLevels(from: Fields): Levels {
  const levels = floats64(string(from, 'levels'));
  if (levels.length !== LEVELS_STATE) throw new RangeError(`${levels.length} levels`);
  return levels;
}

function readView(history: readonly Ring[], from: Fields, first: boolean): View {
  if (first !== (from.seasonal === null)) throw new RangeError('the first view alone is without season');
  const seasonal = first ? null : readSeasonal(history, fields(from.seasonal, 'seasonal'));
  return { seasonal, idleCycles: count(from, 'idleCycles') };
}

function readSeasonal(history: readonly Ring[], from: Fields): SeasonalModel {
  const ring = count(from, 'ring');
  const slots = history[ring]?.count;
  if (slots === undefined) throw new RangeError(`no ring ${ring}`);
  const form = readForm(fields(from.form, 'form'));
  const constants = fields(from.parameters, 'parameters');
  const gammas = list(constants, 'gammas').map((gamma) => finite(gamma, 'gamma'));
  const parameters: Parameters = { ...readSmoothing(constants), gammas };
  const state = readState(fields(from.state, 'state'));
  const fits = form.seasons.every((length, i) => {
    const phase = state.phases[i] ?? -1;
    return state.seasons[i]?.length === length && Number.isInteger(phase) && phase >= 0 && phase < length;
  });
  if (!fits || gammas.length !== form.seasons.length || state.seasons.length !== form.seasons.length)
    throw new RangeError('seasons of another length than the form says');
  const error = number(from, 'error');
  return seasonalModel({ ring, form, parameters, state, error }, slots, number(from, 'outliers'));
}

function readForm(from: Fields): Form {
  const { trend, seasonal, correction } = from;
  if (trend !== 'none' && trend !== 'additive' && trend !== 'damped') throw new RangeError('an unknown trend');
  if (seasonal !== 'additive' && seasonal !== 'multiplicative') throw new RangeError('an unknown kind of season');
  const seasons = list(from, 'seasons').map((length) => finite(length, 'season'));
  if (seasons.length < 1 || seasons.length > 2) throw new RangeError(`${seasons.length} seasons`);
  return { trend, seasonal, seasons, ...(correction === true && { correction }) };
}

function savedSeasonal(model: SeasonalModel, nextSlot: number): object {
  const { state, ...rest } = partsOf(model, nextSlot);
  const seasons = state.seasons.map((season) => text(Float64Array.from(season)));
  return { ...rest, state: { ...state, seasons }, outliers: model.outliers };
}

function readState(from: Fields): State {
  const seasons = list(from, 'seasons').map((season) => Array.from(floats64(asString(season, 'season'))));
  const phases = list(from, 'phases').map((phase) => finite(phase, 'phase'));
  return { level: number(from, 'level'), trend: number(from, 'trend'), error: number(from, 'error'), seasons, phases };
}

function readSmoothing(from: Fields): Smoothing {
  const smoothing = {
    alpha: number(from, 'alpha'),
    beta: number(from, 'beta'),
    phi: number(from, 'phi'),
    rho: number(from, 'rho'),
  };
  const shares = [smoothing.alpha, smoothing.beta, smoothing.phi, Math.abs(smoothing.rho)];
  if (shares.some((share) => share < 0 || share > 1)) throw new RangeError('constants out of range');
  return smoothing;
}

function readRecord(made: TrackRecord, saved: string): TrackRecord {
  // NaN is a forecast that was not made; nothing is ever infinite.
  const numbers = floats32(saved);
  if (numbers.length !== made.numbers.length) throw new RangeError('a track record of other candidates');
  if (numbers.some((value) => Math.abs(value) === Number.POSITIVE_INFINITY)) throw new RangeError('infinite errors');
  return { ...made, numbers };
}

type Fields = Record<string, unknown>;

function fields(value: unknown, name: string): Fields {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new TypeError(`${name} is no object`);
  return value as Fields;
}

function list(from: Fields, name: string): unknown[] {
  const value = from[name];
  if (!Array.isArray(value)) throw new TypeError(`${name} is no list`);
  return value;
}

function finite(value: unknown, name: string): number {
  if (typeof value !== 'number' || !Number.isFinite(value)) throw new TypeError(`${name} is no number`);
  return value;
}

function number(from: Fields, name: string): number {
  return finite(from[name], name);
}

function count(from: Fields, name: string): number {
  const value = number(from, name);
  if (!Number.isInteger(value) || value < 0) throw new RangeError(`${name} is no count`);
  return value;
}

function asString(value: unknown, name: string): string {
  if (typeof value !== 'string') throw new TypeError(`${name} is no text`);
  return value;
}

function string(from: Fields, name: string): string {
  return asString(from[name], name);
}

/** As the machine holds them, which on all that Node runs on is the lowest byte first. */
function text(values: Float32Array | Float64Array): string {
  return Buffer.from(values.buffer, values.byteOffset, values.byteLength).toString('base64');
}

function floats32(saved: string): Float32Array {
  const bytes = Uint8Array.from(Buffer.from(saved, 'base64'));
  if (bytes.length % 4 > 0) throw new RangeError('an array that was cut');
  return new Float32Array(bytes.buffer);
}

function floats64(saved: string): Float64Array {
  const bytes = Uint8Array.from(Buffer.from(saved, 'base64'));
  if (bytes.length % 8 > 0) throw new RangeError('an array that was cut');
  const values = new Float64Array(bytes.buffer);
  if (!values.every(Number.isFinite)) throw new RangeError('an array with values that are no numbers');
  return values;
}
