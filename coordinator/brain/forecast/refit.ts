import { fit, offsetFor, refusal } from './fit.js';
import { type Form, type Parameters, project, run, type State, step } from './holt-winters.js';
import type { Smoothing } from './levels.js';
import { findSeason } from './season.js';
import { startState } from './start.js';

/**
 * What a forecaster asks to have worked out beside the tick: constants fitted to its past, the seasons that are in it, and
 * which of them are worth it by an honest backtest. Plain data that can go to another thread; runRefit is pure.
 */
export interface RefitJob {
  /** Of the forecaster when it asked; they say whether the answer still belongs to it. */
  tick: number;
  mark: number;
  /** 0: no season is known, so it is looked for. */
  seasonTicks: number;
  rings: RefitRing[];
}

/** Of one step length, NaN for gaps. */
export interface RefitRing {
  ticks: number;
  /** Steps completed by then; the last of `values` is the newest of them. */
  count: number;
  values: Float32Array;
}

export interface RefitResult {
  tick: number;
  mark: number;
  /** Of a single tick; null when there is too little to fit. */
  fitted: Smoothing | null;
  /** At most one on single ticks and one on longer steps. */
  seasonal: FittedSeasonal[];
}

export interface FittedSeasonal {
  /** Which ring, and how many steps of it the state has seen. */
  ring: number;
  count: number;
  form: Form;
  parameters: Parameters;
  state: State;
  /** Mean absolute error of one step. */
  error: number;
  /** Errors in a backtest 1, 2, 4, … steps ahead as shares of those of the best model without season. */
  gains: number[];
}

/** A season of more steps than this lives on longer steps. */
export const SEASON_STEPS_MAX = 300;
/** Days in a week: a second season that is tried wherever a first one is found. */
const WEEK = 7;
/** A season must be so much better at some horizon to be worth its room. */
const GAIN_MIN = 0.95;
const EVALUATIONS_MAX = 60;
const TICKS_FITTED = 512;
const VALUES_MIN = 40;
/** Values held out for the backtest, at most, and how far ahead it looks. */
const HELD_OUT_MAX = 600;
const AHEAD_MAX = 16;
/** Constants of a seasonal model before any were fitted. */
const AT_FIRST = { alpha: 0.3, beta: 0.02, phi: 0.9, rho: 0 };
const GAMMAS_AT_FIRST = [0.2, 0.1];
/** Two cycles do not tell offsets from factors unless the difference is great; offsets are safer. */
const FACTORS_WIN = 0.8;
/** Trusted a little more than none as long as there was no backtest. */
const GAIN_AT_FIRST = 0.9;

type Values = readonly (number | null)[];

export function runRefit(job: RefitJob): RefitResult {
  const [ticks, ...longer] = job.rings.map((ring, index) => bestSeasonal(job, ring, index));
  const long = longer.filter((each) => each !== null && each !== undefined).toSorted((a, b) => worth(a) - worth(b))[0];
  const seasonal = [ticks, long].filter((each) => each !== null && each !== undefined);
  const [first] = job.rings;
  const fitted = first === undefined ? null : fitTicks(first.values);
  return { tick: job.tick, mark: job.mark, fitted, seasonal };
}

/** A seasonal model made of two whole cycles, with usual constants: additive, or multiplicative if that fits them far better. */
export function startSeasonal(ring: RefitRing, index: number, length: number): FittedSeasonal | null {
  const values = gapsOf(ring.values);
  let best: FittedSeasonal | null = null;
  for (const seasonal of ['additive', 'multiplicative'] as const) {
    const form: Form = { trend: 'damped', seasonal, seasons: [length] };
    if (!suits(values, form)) continue;
    const parameters = { ...AT_FIRST, gammas: GAMMAS_AT_FIRST.slice(0, 1) };
    const model = modelOf(ring, index, form, parameters, values, [GAIN_AT_FIRST]);
    if (best === null || model.error < FACTORS_WIN * best.error) best = model;
  }
  return best;
}

function bestSeasonal(job: RefitJob, ring: RefitRing, index: number): FittedSeasonal | null {
  const length = lengthOn(job, ring, index);
  if (length === null) return null;
  const values = gapsOf(ring.values);
  const lengths = [[length], ...(values.length >= 2.5 * WEEK * length ? [[length, WEEK * length]] : [])];
  const horizons = horizonsFor(length);
  const plainFrom = new Map<number, number[]>();
  let best: { form: Form; parameters: Parameters; gains: number[] } | null = null;
  for (const seasons of lengths) {
    const longest = seasons.at(-1) ?? length;
    const heldOut = Math.min(
      HELD_OUT_MAX,
      Math.max(length, Math.floor(values.length / 4)),
      values.length - 2 * longest,
    );
    if (heldOut < Math.min(length / 2, VALUES_MIN)) continue;
    const split = values.length - heldOut;
    const plain = plainFrom.get(split) ?? plainErrors(values, split, horizons);
    plainFrom.set(split, plain);
    for (const seasonal of ['additive', 'multiplicative'] as const) {
      const form: Form = { trend: 'damped', seasonal, seasons, correction: true };
      const head = values.slice(0, split);
      if (!suits(head, form) || !suits(values, form)) continue;
      const { parameters, state } = fit(head, form, {
        robust: true,
        evaluationsMax: EVALUATIONS_MAX,
      });
      const errors = backtest(form, parameters, state, values.slice(split), horizons);
      const gains = errors.map((error, i) => share(error, plain[i] as number));
      if (best === null || mean(gains) < mean(best.gains)) best = { form, parameters, gains };
    }
  }
  // A season that was named stays in use until there is enough to judge it by.
  if (best === null) return job.seasonTicks > 0 ? startSeasonal(ring, index, length) : null;
  if (Math.min(...best.gains) > GAIN_MIN) return null;
  return modelOf(ring, index, best.form, best.parameters, values, best.gains);
}

/** The season to try on a ring, in its steps: the one that is known, or one that the values show; null if none. */
function lengthOn(job: RefitJob, ring: RefitRing, index: number): number | null {
  const finer = job.rings[index - 1];
  // What is shorter lives on the finer ring.
  const least = finer === undefined ? 4 : Math.floor((SEASON_STEPS_MAX * finer.ticks) / ring.ticks) + 1;
  const known = Math.round(job.seasonTicks / ring.ticks);
  const isKnown = known >= Math.max(2, finer === undefined ? 2 : least) && known <= SEASON_STEPS_MAX;
  if (isKnown) return ring.values.length >= 2 * known ? known : null;
  const found = findSeason(gapsOf(ring.values), SEASON_STEPS_MAX);
  return found !== null && found.steps >= least ? found.steps : null;
}

function horizonsFor(length: number): number[] {
  const horizons: number[] = [];
  for (let h = 1; h <= Math.min(AHEAD_MAX, Math.max(1, length / 2)); h *= 2) horizons.push(h);
  return horizons;
}

/** Of the better of the last value and a damped trend without season, at each horizon. */
function plainErrors(values: Values, split: number, horizons: readonly number[]): number[] {
  const form: Form = { trend: 'damped', seasonal: 'additive', seasons: [], correction: true };
  const head = values.slice(0, split);
  const naive: Parameters = { alpha: 1, beta: 0, gammas: [], phi: 1, rho: 0 };
  const last = head.findLast((value) => value !== null) ?? 0;
  const atLast: State = { level: last, trend: 0, seasons: [], phases: [], error: 0 };
  const of = [backtest({ ...form, trend: 'none' }, naive, atLast, values.slice(split), horizons)];
  if (refusal(head, form) === null) {
    const { parameters, state } = fit(head, form, { robust: true, evaluationsMax: EVALUATIONS_MAX });
    of.push(backtest(form, parameters, state, values.slice(split), horizons));
  }
  return horizons.map((_, i) => Math.min(...of.map((errors) => errors[i] as number)));
}

/** Mean absolute errors at horizons, forecasting from each of the values with only what came before; changes `state`. */
function backtest(
  form: Form,
  parameters: Parameters,
  state: State,
  values: Values,
  horizons: readonly number[],
): number[] {
  const sums = horizons.map(() => 0);
  const counts = horizons.map(() => 0);
  const ahead = horizons.at(-1) ?? 1;
  for (const [i, value] of values.entries()) {
    const points = project(form, parameters, state, ahead);
    for (const [j, h] of horizons.entries()) {
      const actual = values[i + h - 1];
      if (actual === null || actual === undefined) continue;
      sums[j] = (sums[j] as number) + Math.abs(actual - Math.max(0, points[h - 1] as number));
      counts[j] = (counts[j] as number) + 1;
    }
    step(form, parameters, state, value);
  }
  return sums.map((sum, i) => sum / Math.max(1, counts[i] as number));
}

/** The model after all values, from a fresh start. */
function modelOf(
  { count }: RefitRing,
  ring: number,
  form: Form,
  parameters: Parameters,
  values: Values,
  gains: number[],
): FittedSeasonal {
  const { state, errors } = run(form, parameters, startState(values, form), values);
  const sizes = errors.filter((error) => !Number.isNaN(error)).map(Math.abs);
  return { ring, count, form, parameters, state, error: mean(sizes), gains };
}

function fitTicks(ring: Float32Array): Smoothing | null {
  const values = gapsOf(ring.subarray(-TICKS_FITTED));
  const form: Form = { trend: 'damped', seasonal: 'additive', seasons: [], correction: true };
  const known = values.filter((value) => value !== null);
  if (known.length < VALUES_MIN || refusal(values, form) !== null) return null;
  const { alpha, beta, phi, rho } = fit(values, form, { robust: true, evaluationsMax: EVALUATIONS_MAX }).parameters;
  return { alpha, beta, phi, rho };
}

function suits(values: Values, form: Form): boolean {
  if (refusal(values, form) !== null) return false;
  return form.seasonal === 'additive' || offsetFor(values) === 0;
}

/** Of errors; 1 when both are nothing. */
function share(error: number, of: number): number {
  return of > 0 ? Math.min(10, error / of) : error > 0 ? 10 : 1;
}

function worth({ gains }: FittedSeasonal): number {
  return Math.min(...gains);
}

function gapsOf(values: Float32Array): (number | null)[] {
  return Array.from(values, (value) => (Number.isNaN(value) ? null : value));
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / Math.max(1, values.length);
}
