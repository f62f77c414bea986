/**
 * The forecast of a component's demand, one value each step, in constant time.
 *
 * Candidates: a family of damped smoothings (levels.ts) over the values as they are; for each season that is in use
 * (seasonal.ts) the same family over the values without that season, the seasonal model itself, and the value one season
 * ago. The forecast is their mean, weighted at each horizon by what they were worth there; so are its quantiles measured
 * (track-record.ts). Outliers are bounded before they are learnt from; what they do to the interval is not.
 *
 * What takes longer is asked for with `refitJob`, worked out anywhere by `runRefit`, and taken in by `applyRefit`: seasons
 * that nobody named, fitted constants, and whether a season is worth it. Without it a season that was named is used once
 * two cycles have been seen, with usual constants.
 *
 * A forecaster is owned by who holds it and changed in place.
 *
 *   const forecaster = createDemandForecaster({ seasonSeconds: 86_400 });
 *   observeDemand(forecaster, cores);
 *   const [next] = forecastDemand(forecaster, 5);
 */
import { factorAt, type KnownEvent } from './events.js';
import { createHistory, createRing, type History, newest, push, type Ring, tell, valueAt } from './history.js';
import {
  type Constants,
  constantsOf,
  expectLevels,
  FITTED_AT_FIRST,
  holdLevels,
  LEVELS,
  LEVELS_STATE,
  type Levels,
  learnLevels,
  levelName,
  multiplesAt,
  noMultiples,
  oneMore,
  type Smoothing,
} from './levels.js';
import { type RefitJob, type RefitResult, SEASON_STEPS_MAX, startSeasonal } from './refit.js';
import {
  cleaned,
  expectTick,
  factorOf,
  learnSlot,
  longest,
  offsetOf,
  rowAfter,
  type SeasonalModel,
  seasonAgo,
  seasonAt,
  seasonalModel,
  seasonalName,
  without,
} from './seasonal.js';
import {
  compare,
  comparisonsOf,
  createTrackRecord,
  EACH_STEP,
  errorOf,
  errorQuantiles,
  forecastFor,
  horizonDue,
  type QuantilePlace,
  quantilePlace,
  rearranged,
  type TrackRecord,
  TURNS,
  usualError,
  weighted,
  weightOf,
  writeDown,
  writtenDown,
} from './track-record.js';
import type { Forecast } from './types.js';

export interface DemandForecaster {
  readonly stepSeconds: number;
  /** As it was named; 0 if none was. */
  readonly seasonSeconds: number;
  /** The ring on which that season lives, and its length there. */
  readonly named: { readonly ring: number; readonly length: number } | null;
  /** Steps since the first value, which is the first of them; 0 before it. */
  ticks: number;
  /** Steps with a value. */
  known: number;
  /** Mean value of long. */
  typical: number;
  /** Outliers in a row, negative for those below. */
  outliers: number;
  /** A refit is due at this tick. */
  refitAt: number;
  fitted: Smoothing;
  /** Derived from `fitted`. */
  constants: Constants;
  readonly history: History;
  /** Without season first. */
  views: View[];
  /** Of the views, LEVELS_STATE numbers each. */
  levels: Levels;
  record: TrackRecord;
}

/** The family of levels over the values as they are, or without the season of a model. */
export interface View {
  readonly seasonal: SeasonalModel | null;
  /** Cycles in a row at whose end the season was of no help. */
  idleCycles: number;
}

export interface ForecastPoint {
  mean: number;
  lower: number;
  upper: number;
}

export interface DemandForecasterOptions {
  /** 0: no season is known. */
  seasonSeconds: number;
  /** From one value to the next; 1 unless told. */
  stepSeconds?: number;
}

export interface DemandForecastOptions {
  /** Events known at `nowMs`, the time of the last value. */
  events?: readonly KnownEvent[];
  nowMs?: number;
  /** `upper` is the quantile at this share, `lower` at 1 less it; 0.95 unless told. */
  share?: number;
}

/** Larger values are taken as this, smaller ones as 0; keeps sums finite and shares exact, also in single precision. */
const VALUE_MAX = 1e15;
const VALUE_MIN = 1e-12;
const STEPS_AHEAD_MAX = 100_000;
/** Steps of the rings beside the single tick, where they are at least twice the step before. */
const RING_SECONDS = [20, 300];
const RING_STEPS = 1_024;
/** Sixteen days in steps of 5 minutes, so that a week can be seen twice. */
const LAST_RING_STEPS = 4_608;
const HORIZON_SECONDS = 3_600;
const HORIZONS_MIN = 6;
/** Outliers are told from the rest once so many values are known. */
const CLEAN_AFTER = 12;
/** The member that takes outliers as they are bounds them only so many times farther out. */
const RAW_BOUND = 4;
/** Of the mean value: a smaller error is never an outlier. */
const CLEAN_MIN = 0.005;
const TYPICAL_SHARE = 0.002;
/** During an event that leaves less than this of demand, nothing can be learnt. */
const FACTOR_MIN = 0.01;
const REFIT_FIRST = 128;
const DAY_SECONDS = 86_400;
const STEP_SECONDS_MIN = 0.01;
/** Of a longer season nobody will see two cycles. */
const SEASON_SECONDS_MAX = 400 * DAY_SECONDS;
/** So many cycles without any help from a season, and it is dropped. */
const IDLE_CYCLES_MAX = 3;
const COMPARISONS_MIN = 16;
/** For the name, and for whether a season helps: more than the tick itself. */
const SHARE = 0.95;
/** Of the usual bounds. */
const PLACES = [quantilePlace(1 - SHARE), quantilePlace(SHARE)];
/** Bounds of one path, at most. */
const PLACES_MAX = 16;

export function createDemandForecaster({ seasonSeconds, stepSeconds = 1 }: DemandForecasterOptions): DemandForecaster {
  if (!(stepSeconds >= STEP_SECONDS_MIN && stepSeconds <= DAY_SECONDS)) {
    throw new RangeError(`stepSeconds must be from ${STEP_SECONDS_MIN} to ${DAY_SECONDS}, not ${stepSeconds}`);
  }
  const season = seasonSeconds > 0 && seasonSeconds <= SEASON_SECONDS_MAX ? seasonSeconds : 0;
  const rings = ringsFor(stepSeconds, season);
  const horizons = Math.max(HORIZONS_MIN, Math.ceil(Math.log2(HORIZON_SECONDS / stepSeconds)) + 1);
  return {
    stepSeconds,
    seasonSeconds: season,
    named: namedOn(rings, season / stepSeconds),
    ticks: 0,
    known: 0,
    typical: 0,
    outliers: 0,
    refitAt: REFIT_FIRST,
    fitted: FITTED_AT_FIRST,
    constants: constantsAtFirst(horizons),
    history: createHistory(rings),
    views: [newView(null)],
    levels: new Float64Array(LEVELS_STATE),
    record: createTrackRecord(LEVELS, horizons),
  };
}

/**
 * Takes in the value of one step. Null, or what is no number of at least 0, is a gap. `factor` is that of the known events
 * at the time: what they bring is not learnt. The forecaster given is changed and returned.
 */
export function observeDemand(forecaster: DemandForecaster, value: number | null, factor = 1): DemandForecaster {
  const plain = value === null || !Number.isFinite(value) || !(factor >= FACTOR_MIN) ? Number.NaN : value / factor;
  const y = plain < VALUE_MIN ? 0 : Math.min(VALUE_MAX, plain);
  // The series begins with its first value.
  if (forecaster.ticks === 0 && Number.isNaN(y)) return forecaster;
  const tick = forecaster.ticks;
  learn(forecaster, y, tick);
  forecaster.ticks = tick + 1;
  pass(forecaster, y);
  writeAll(forecaster, tick, TURNS);
  return forecaster;
}

/** Writes down what is expected at the first so many of the horizons that are due at a tick, the last one. */
function writeAll(forecaster: DemandForecaster, tick: number, turns: number): void {
  const { record, constants, typical } = forecaster;
  for (let turn = 0; turn < turns; turn++) {
    const horizon = horizonDue(record, tick, turn);
    if (horizon < 0) continue;
    multiplesAt(horizon, constants, multiples);
    expectAll(forecaster, tick + (1 << horizon));
    writeDown(record, horizon, tick, expected, typical);
  }
}

/**
 * The steps that begin within the next `seconds`, nearest first. Zeros before the first value. `points`: those of an
 * earlier forecast that nobody needs any more, to be written over.
 */
export function forecastDemand(
  forecaster: DemandForecaster,
  seconds: number,
  options: DemandForecastOptions = {},
  points: ForecastPoint[] = [],
): ForecastPoint[] {
  const { share } = options;
  let count = 0;
  const places = share === undefined || share === SHARE ? PLACES : [quantilePlace(1 - share), quantilePlace(share)];
  walk(forecaster, stepsIn(forecaster, seconds), places, (mean, errors, ahead) => {
    const by = factorAhead(forecaster, options, ahead);
    let point = points[count];
    if (point === undefined) {
      point = { mean: 0, lower: 0, upper: 0 };
      points.push(point);
    }
    count += 1;
    point.mean = bounded(by * mean);
    point.lower = bounded(by * lowerOf(mean, errors[0] as number));
    point.upper = bounded(by * upperOf(mean, errors[1] as number));
  });
  points.length = count;
  return points;
}

/** The same by columns, with an interval for each level, such as 0.8 and 0.95. */
export function forecastPath(
  forecaster: DemandForecaster,
  seconds: number,
  levels: readonly number[],
  options: DemandForecastOptions = {},
): Forecast {
  const path: Forecast = { model: demandModelName(forecaster), mean: [], intervals: [] };
  path.intervals = levels.map((level) => ({ level, lower: [], upper: [] }));
  const places = levels.flatMap((level) => [quantilePlace(0.5 - level / 2), quantilePlace(0.5 + level / 2)]);
  walk(forecaster, stepsIn(forecaster, seconds), places, (mean, errors, ahead) => {
    const by = factorAhead(forecaster, options, ahead);
    path.mean.push(bounded(by * mean));
    for (const [i, { lower, upper }] of path.intervals.entries()) {
      lower.push(bounded(by * lowerOf(mean, errors[2 * i] as number)));
      upper.push(bounded(by * upperOf(mean, errors[2 * i + 1] as number)));
    }
  });
  return path;
}

/** Bounds never change sides. */
function lowerOf(mean: number, error: number): number {
  return error < 0 ? mean + error : mean;
}

function upperOf(mean: number, error: number): number {
  return error > 0 ? mean + error : mean;
}

/** For people: which model weighs most now, over all horizons. */
export function demandModelName({ ticks, views, record, history, stepSeconds }: DemandForecaster): string {
  if (ticks === 0) return 'none yet';
  let best = { weight: -1, name: '' };
  for (const [v, { seasonal }] of views.entries()) {
    const from = candidateAt(v);
    const until = candidateAt(v + 1);
    let weight = 0;
    let member = { weight: -1, index: 0 };
    for (let k = from; k < until; k++) {
      let own = 0;
      for (let horizon = 0; horizon < record.horizons; horizon++) {
        if (comparisonsOf(record, horizon) > 0) own += weightOf(record, horizon, k);
      }
      weight += own;
      if (own > member.weight) member = { weight: own, index: k - from };
    }
    if (weight <= best.weight) continue;
    const slotSeconds = (history.rings[seasonal?.ring ?? 0] as Ring).ticks * stepSeconds;
    best = { weight, name: seasonal === null ? levelName(member.index) : seasonalName(seasonal, slotSeconds) };
  }
  return best.name;
}

/** What is to be worked out beside the tick, or null when nothing is due. Asking puts off the next time. */
export function refitJob(forecaster: DemandForecaster): RefitJob | null {
  if (forecaster.ticks < forecaster.refitAt) return null;
  const { ticks, history, stepSeconds, seasonSeconds } = forecaster;
  // At 128 steps, at 256, 512 … and then each day.
  forecaster.refitAt = ticks + Math.min(ticks, Math.max(RING_STEPS, Math.round(DAY_SECONDS / stepSeconds)));
  const rings = history.rings.map((ring) => ({ ticks: ring.ticks, count: ring.count, values: newest(ring) }));
  return { tick: ticks, mark: markAt(forecaster, ticks), seasonTicks: seasonSeconds / stepSeconds, rings };
}

/** Takes in what was worked out; answers false when it belongs to another forecaster or is too old. */
export function applyRefit(forecaster: DemandForecaster, result: RefitResult): boolean {
  if (result.tick > forecaster.ticks || !Object.is(markAt(forecaster, result.tick), result.mark)) return false;
  const models: { model: SeasonalModel; gains: readonly number[] }[] = [];
  for (const fitted of result.seasonal) {
    const ring = forecaster.history.rings[fitted.ring];
    if (ring === undefined || ring.count - fitted.count > ring.values.length) return false;
    const model = seasonalModel(fitted, fitted.count);
    let tame = true;
    // What has come since.
    for (let slot = fitted.count; slot < ring.count && tame; slot++) tame = learnSlot(model, valueAt(ring, slot), slot);
    if (tame) models.push({ model, gains: fitted.gains });
  }
  if (result.fitted !== null) {
    forecaster.fitted = result.fitted;
    forecaster.constants = constantsOf(result.fitted, forecaster.record.horizons);
  }
  setModels(forecaster, models);
  // What the new ones expect counts from now on.
  writeAll(forecaster, forecaster.ticks - 1, EACH_STEP);
  return true;
}

/** Shared by all that nothing has been fitted for. */
const atFirst = new Map<number, Constants>();

function constantsAtFirst(horizons: number): Constants {
  let constants = atFirst.get(horizons);
  if (constants === undefined) {
    constants = constantsOf(FITTED_AT_FIRST, horizons);
    atFirst.set(horizons, constants);
  }
  return constants;
}

function ringsFor(stepSeconds: number, seasonSeconds: number): Ring[] {
  const season = seasonSeconds / stepSeconds;
  const own = season > SEASON_STEPS_MAX ? dividing(season) : 1;
  const ticks = [1];
  for (const each of [...RING_SECONDS.map((seconds) => Math.round(seconds / stepSeconds)), own].toSorted(
    (a, b) => a - b,
  )) {
    const last = ticks.at(-1) as number;
    // The step that divides the season has precedence over one that happens to be near.
    const near = each !== own && own > 1 && each > own / 2 && each < 2 * own;
    if (each >= 2 * last && !near) ticks.push(each);
  }
  return ticks.map((each, i) => {
    const steps = i === ticks.length - 1 ? LAST_RING_STEPS : RING_STEPS;
    return createRing(each, Math.max(steps, each === own && season > 0 ? 4 * Math.round(season / own) : 0));
  });
}

function namedOn(rings: readonly Ring[], season: number): DemandForecaster['named'] {
  const step = season > SEASON_STEPS_MAX ? dividing(season) : 1;
  const ring = rings.findIndex(({ ticks }) => ticks === step);
  const length = Math.round(season / step);
  return ring >= 0 && length >= 2 ? { ring, length } : null;
}

/** The step that cuts a long season into at most SEASON_STEPS_MAX equal ones with the least left over. */
function dividing(season: number): number {
  const least = Math.ceil(season / SEASON_STEPS_MAX);
  let best = least;
  const left = (step: number) => Math.abs(season - Math.round(season / step) * step);
  for (let step = least; step <= 2 * least; step++) if (left(step) < left(best)) best = step;
  return best;
}

/** Compares and learns the value of a tick, before time goes on. */
function learn(forecaster: DemandForecaster, y: number, tick: number): void {
  const { record, views, levels, history, constants } = forecaster;
  if (Number.isNaN(y)) {
    for (let v = 0; v < views.length; v++) holdLevels(levels, v * LEVELS_STATE, 1, constants);
    return;
  }
  const forecast = forecastFor(record, tick);
  let learnt = y;
  let nearly = y;
  if (forecaster.known >= CLEAN_AFTER && !Number.isNaN(forecast)) {
    const usual = Math.max(usualError(record), CLEAN_MIN) * (Math.abs(forecast) + forecaster.typical);
    learnt = cleaned(y, forecast, usual, forecaster.outliers);
    nearly = cleaned(y, forecast, RAW_BOUND * usual, forecaster.outliers);
    forecaster.outliers = rowAfter(y, forecast, usual, forecaster.outliers);
  }
  for (let turn = 0; turn < TURNS; turn++) {
    const horizon = horizonDue(record, tick, turn);
    if (horizon >= 0) compare(record, horizon, tick, y);
  }
  for (let v = 0; v < views.length; v++) {
    const { seasonal } = views[v] as View;
    const season = seasonal === null ? 0 : seasonAt(seasonal, history.rings[seasonal.ring] as Ring, tick);
    const raw = plainValue(seasonal, season, nearly);
    const value = learnt === nearly ? raw : plainValue(seasonal, season, learnt);
    learnLevels(levels, v * LEVELS_STATE, raw, value, forecaster.known, constants);
  }
  forecaster.known += 1;
  forecaster.typical += Math.max(TYPICAL_SHARE, 1 / forecaster.known) * (y - forecaster.typical);
}

/** Time goes on by a tick: the rings, and the seasonal models on them. */
function pass(forecaster: DemandForecaster, y: number): void {
  const { history } = forecaster;
  const { rings } = history;
  const told = push(history, y);
  if (told) tell(history);
  let wild = false;
  for (let index = 0; index < (told ? rings.length : 1); index++) {
    const ring = rings[index] as Ring;
    if (ring.passed === 0 && passSlot(forecaster, ring, index)) wild = true;
  }
  if (!wild) return;
  const kept = forecaster.views.filter(({ idleCycles }) => idleCycles < IDLE_CYCLES_MAX);
  setModels(
    forecaster,
    kept.flatMap(({ seasonal }) => (seasonal === null ? [] : [{ model: seasonal, gains: [] }])),
  );
}

/** A ring has completed a slot. Answers whether the seasonal model on it is to be dropped, and marks it. */
function passSlot(forecaster: DemandForecaster, ring: Ring, index: number): boolean {
  const { views } = forecaster;
  const slot = ring.count - 1;
  for (let v = 1; v < views.length; v++) {
    const view = views[v] as View;
    if (view.seasonal?.ring !== index) continue;
    const value = valueAt(ring, slot);
    // A gap says nothing about the worth of a season.
    if (learnSlot(view.seasonal, value, slot) && (Number.isNaN(value) || !isIdle(forecaster, v, ring))) return false;
    view.idleCycles = IDLE_CYCLES_MAX;
    return true;
  }
  startNamed(forecaster, ring, index);
  return false;
}

/** At the end of a cycle: whether the season has been of no help, over all horizons, for some cycles. */
function isIdle({ record, views }: DemandForecaster, v: number, ring: Ring): boolean {
  const view = views[v] as View;
  if (ring.count % longest(view.seasonal as SeasonalModel) !== 0) return false;
  const from = candidateAt(v);
  const best = (at: number, count: number, horizon: number): number => {
    let least = Number.POSITIVE_INFINITY;
    for (let k = at; k < at + count; k++) least = Math.min(least, errorOf(record, horizon, k));
    return least;
  };
  let excess = 0;
  for (let horizon = 0; horizon < record.horizons; horizon++) {
    if (comparisonsOf(record, horizon) < COMPARISONS_MIN) continue;
    const plain = best(0, LEVELS, horizon);
    if (plain > 0) excess += best(from, LEVELS + 2, horizon) / plain - 1;
  }
  const helps = excess < 0;
  view.idleCycles = helps ? 0 : view.idleCycles + 1;
  return view.idleCycles >= IDLE_CYCLES_MAX;
}

/** A season that was named is used as soon as two cycles of it have been seen. */
function startNamed(forecaster: DemandForecaster, ring: Ring, index: number): void {
  const { named } = forecaster;
  if (index !== named?.ring || ring.count !== 2 * named.length) return;
  const { length } = named;
  const started = startSeasonal({ ticks: ring.ticks, count: ring.count, values: newest(ring) }, index, length);
  if (started === null) return;
  const others = forecaster.views.flatMap(({ seasonal }) =>
    seasonal === null ? [] : [{ model: seasonal, gains: [] }],
  );
  setModels(forecaster, [...others, { model: seasonalModel(started, ring.count), gains: started.gains }]);
}

/** Replaces the seasonal models. Views of a ring that had one keep their record; new ones begin with the gains given. */
function setModels(
  forecaster: DemandForecaster,
  models: readonly { model: SeasonalModel; gains: readonly number[] }[],
): void {
  const { views, record, history, levels } = forecaster;
  const next = [views[0] as View];
  const places = Array.from({ length: LEVELS }, (_, k) => k);
  const gains: (readonly number[])[] = [];
  for (const { model, gains: own } of models) {
    const at = views.findIndex(({ seasonal }) => seasonal?.ring === model.ring);
    const old = at < 0 ? undefined : (views[at] as View);
    for (let k = 0; k < LEVELS + 2; k++) places.push(at < 0 ? -1 : candidateAt(at) + k);
    gains.push(own);
    next.push(old?.seasonal === model ? old : newView(model));
  }
  forecaster.record = rearranged(record, places, (horizon, k) => {
    const v = Math.floor((k - LEVELS) / (LEVELS + 2));
    const ring = history.rings[(models[v] as { model: SeasonalModel }).model.ring] as Ring;
    let best = Number.POSITIVE_INFINITY;
    for (let i = 0; i < LEVELS; i++) best = Math.min(best, errorOf(record, horizon, i));
    return best * gainAt(gains[v] ?? [], 2 ** horizon / ring.ticks);
  });
  forecaster.views = next;
  forecaster.levels = new Float64Array(next.length * LEVELS_STATE);
  for (const [v, view] of next.entries()) {
    const old = views.indexOf(view) * LEVELS_STATE;
    if (old < 0) replay(forecaster, v);
    else forecaster.levels.set(levels.subarray(old, old + LEVELS_STATE), v * LEVELS_STATE);
  }
}

/** Within a step a season helps less and less; beyond what was tried, as at the last that was. */
function gainAt(gains: readonly number[], steps: number): number {
  const at = Math.min(gains.length - 1, Math.max(0, Math.round(Math.log2(Math.max(1, steps)))));
  const gain = Math.min(1.3, Math.max(0.3, gains[at] ?? 1));
  return steps < 1 ? 1 + (gain - 1) * steps : gain;
}

/** Gives a new view the levels that it would have. */
function replay({ history, views, levels, constants, ticks }: DemandForecaster, v: number): void {
  const { seasonal } = views[v] as View;
  const ring = history.rings[0] as Ring;
  const at = v * LEVELS_STATE;
  let learnt = 0;
  for (let tick = Math.max(0, ticks - ring.values.length); tick < ticks; tick++) {
    const value = valueAt(ring, tick);
    if (Number.isNaN(value)) holdLevels(levels, at, 1, constants);
    else {
      const season = seasonal === null ? 0 : seasonAt(seasonal, history.rings[seasonal.ring] as Ring, tick);
      const plain = plainValue(seasonal, season, value);
      learnLevels(levels, at, plain, plain, learnt++, constants);
    }
  }
}

function newView(seasonal: SeasonalModel | null): View {
  return { seasonal, idleCycles: 0 };
}

/** A value as a view sees it. */
function plainValue(seasonal: SeasonalModel | null, season: number, value: number): number {
  return seasonal === null ? value : without(seasonal, season, value);
}

/** How many candidates views hold in all. */
export function candidatesOf(views: readonly View[]): number {
  return candidateAt(views.length);
}

/** Place of the first candidate of a view. */
function candidateAt(view: number): number {
  return view === 0 ? 0 : LEVELS + (view - 1) * (LEVELS + 2);
}

/** What each candidate expects, and for how far ahead; used again and again, since this runs for every series each step. */
const expected = new Float64Array(3 * LEVELS + 4);
const multiples = noMultiples();

/** Fills `expected` for a tick that is still to come; `multiples` are those of its distance. */
function expectAll({ views, levels, history }: DemandForecaster, tick: number): void {
  expectLevels(levels, 0, multiples, 1, 0, expected, 0);
  let to = LEVELS;
  for (let v = 1; v < views.length; v++) {
    const seasonal = (views[v] as View).seasonal as SeasonalModel;
    const ring = history.rings[seasonal.ring] as Ring;
    const season = seasonAt(seasonal, ring, tick);
    const factor = factorOf(seasonal, season);
    const offset = offsetOf(seasonal, season);
    expectLevels(levels, v * LEVELS_STATE, multiples, factor, offset, expected, to);
    const own = expectTick(seasonal, ring, tick, factor, offset);
    const ago = seasonAgo(seasonal, ring, tick);
    expected[to + LEVELS] = Math.max(own, 0);
    expected[to + LEVELS + 1] = Number.isNaN(ago) ? (expected[to + LEVELS] as number) : ago;
    to += LEVELS + 2;
  }
}

/** `errors`: their quantiles at the places asked for; good until it returns. */
type Visit = (mean: number, errors: Float64Array, ahead: number) => void;

/** Used again and again, as above: of the horizons around a step, and of the step. */
const lowErrors = new Float64Array(PLACES_MAX);
const highErrors = new Float64Array(PLACES_MAX);
const errors = new Float64Array(PLACES_MAX);

/** Calls `visit` for each of the next steps with the mean and the quantiles of its error. */
function walk(forecaster: DemandForecaster, steps: number, places: readonly QuantilePlace[], visit: Visit): void {
  if (places.length > PLACES_MAX) throw new RangeError(`at most ${PLACES_MAX} bounds`);
  const { record, ticks, typical, constants } = forecaster;
  const last = record.horizons - 1;
  multiples.fill(0);
  let above = 0;
  errorQuantiles(record, 0, places, highErrors);
  lowErrors.set(highErrors);
  for (let ahead = 1; ahead <= steps; ahead++) {
    if (ticks === 0) {
      visit(0, errors.fill(0), ahead);
      continue;
    }
    while (above < last && 1 << above < ahead) {
      above += 1;
      lowErrors.set(highErrors);
      errorQuantiles(record, above, places, highErrors);
    }
    // Beyond the last horizon it goes on as between the last two, whose difference stays.
    const between = ahead === 1 << above ? 1 : Math.min(1, Math.log2(ahead) - above + 1);
    oneMore(multiples, ahead - 1, constants);
    const mean = expectedIn(forecaster, ahead, above);
    const scale = Math.abs(mean) + typical;
    for (let i = 0; i < places.length; i++) {
      const from = lowErrors[i] as number;
      errors[i] = scale * (from + between * ((highErrors[i] as number) - from));
    }
    visit(mean, errors, ahead);
  }
}

/** Of the step so many ahead, with the weights of a horizon; `multiples` are those of its distance. */
function expectedIn(forecaster: DemandForecaster, ahead: number, horizon: number): number {
  const { record, ticks } = forecaster;
  if (horizon < EACH_STEP && ahead === 1 << horizon) return writtenDown(record, horizon, ticks - 1);
  expectAll(forecaster, ticks - 1 + ahead);
  return weighted(record, horizon, expected);
}

function stepsIn({ stepSeconds }: DemandForecaster, seconds: number): number {
  const steps = Math.ceil(seconds / stepSeconds);
  return Number.isFinite(steps) ? Math.min(STEPS_AHEAD_MAX, Math.max(0, steps)) : 0;
}

function factorAhead(
  { stepSeconds }: DemandForecaster,
  { events, nowMs }: DemandForecastOptions,
  ahead: number,
): number {
  return events === undefined || nowMs === undefined ? 1 : factorAt(events, nowMs + ahead * stepSeconds * 1000);
}

/** Something that another forecaster is most unlikely to share: what the newest values were. */
function markAt({ history }: DemandForecaster, tick: number): number {
  const ring = history.rings[0] as Ring;
  let mark = 0;
  for (let i = 1; i <= 8; i++) {
    const value = valueAt(ring, tick - i);
    mark = mark * 0.7 + (Number.isNaN(value) ? 0 : value);
  }
  // Forgotten already: never equal.
  return tick <= 0 || ring.count - tick + 8 > ring.values.length ? -tick - 1 : mark;
}

function bounded(value: number): number {
  return Math.min(VALUE_MAX, Math.max(0, value));
}
