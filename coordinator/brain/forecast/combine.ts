import { anchored } from './anchor.js';
import { areApart, chooseOrigins, type Origins, replay } from './backtest.js';
import { calendarOf, DAY_SECONDS, WEEK_DAYS } from './calendar.js';
import { calibrate } from './calibrate.js';
import { cleaned } from './clean.js';
import { errorsOf, meanError } from './errors.js';
import { type Calendar, type Method, methodsFor, naive, weeklyMethodsFor } from './methods.js';
import { proposeSeasons } from './seasons.js';
import { transformsFor } from './transform.js';
import type { Forecast } from './types.js';
import { undecided } from './undecided.js';

export interface CombineOptions {
  /** Lengths in steps, the shortest first, none to two. Default: found. */
  seasons?: readonly number[];
  /** Shares, such as 0.8 and 0.95. */
  levels?: readonly number[];
  /** When known: of the first value, since the epoch, in UTC, and of a step. */
  startSeconds?: number;
  stepSeconds?: number;
}

export interface Member {
  name: string;
  /** Share of the combination. */
  weight: number;
  /** Mean absolute error in the backtest, of the better three quarters of its trials; null without one. */
  error: number | null;
}

export interface Combination extends Forecast {
  seasons: readonly number[];
  /** The most trusted first. */
  members: Member[];
  backtest: Origins;
  /** Mean absolute error of the combination in the backtest; null without one. */
  error: number | null;
}

/** Values looked at, the newest. */
export const COMBINED_VALUES_MAX = 20_000;
export const COMBINED_VALUES_MIN = 3;
/** Weights fall with this power of the error, so that an error half as large counts four times as much. */
const WEIGHT_POWER = 2;
/** This share of the weight is left out at either end of each step's forecasts. */
const TRIMMED = 0.25;
/** Of the trials' errors, the share that counts, the smaller ones. */
const KEPT = 0.75;
/** Errors within this share of the values' spread are equal. */
const EQUAL_ERROR = 1e-6;
/** Of the largest value; finer is noise of the arithmetic. */
const GRAIN = 2 ** -56;
/** A week that is not known to be a season is tried from so many days on: one is learnt from, and there are some to try. */
const WEEK_TRIED_DAYS = 11;

interface Candidate extends Member {
  /** As now, or as a season ago. */
  simple: boolean;
  points: number[];
  trials: number[][];
  /** Mean absolute error of each trial; null where no value is known. */
  errors: (number | null)[];
}

/**
 * Forecast by many simple methods on two scales, each weighed by how well it would have forecast the last stretches of
 * the values, of which each step takes the weighted mean of the middle half, drawn towards the simplest ones where those did
 * better (anchor.ts). Combining beats choosing: Bates & Granger,
 * Oper. Res. Q. 20 (1969) 451; the M4 competition's results, Makridakis et al. (2020). Throws RangeError, saying why, for
 * values or seasons that it cannot work with.
 *
 *   const { mean, intervals, members } = combine(values, 48, { levels: [0.8, 0.95] });
 */
export function combine(values: readonly (number | null)[], steps: number, options: CombineOptions = {}): Combination {
  const { known: given, skipped, trailing } = knownPart(values);
  // In units of the largest value, so that thresholds mean the same for any.
  const unit = given.reduce((most: number, value) => Math.max(most, Math.abs(value ?? 0)), 0) || 1;
  const known = given.map((value) => (value === null ? null : value / unit));
  const ahead = steps + trailing;
  const seasons = options.seasons ?? proposeSeasons(known, options);
  checkSeasons(seasons, known.length);
  const bound = boundsOf(known.filter((value) => value !== null));
  const inBounds = (value: number) => Math.min(bound.upper, Math.max(bound.lower, value));
  const clean = cleaned(known, seasons);
  const history = clean.values.map(inBounds);
  const week = weekToTry(seasons, history.length, options);
  const least = week === null ? 2 * (seasons.at(-1) ?? 4) + (seasons[0] ?? 4) : week + 2 * (seasons[0] ?? 4);
  const origins = chooseOrigins(history.length, ahead, least, seasons[0]);
  const equal = EQUAL_ERROR * (bound.upper - bound.lower);
  const calendar = calendarOf(seasons, skipped, options);
  const candidates = weigh(
    methodsOf(seasons, week, history, calendar).flatMap((method) =>
      tryOut(method, history, known, origins, ahead, bound),
    ),
    equal,
  );
  const combination = {
    points: blend(candidates.map(({ points, weight }) => ({ points, weight }))),
    trials: origins.counts.map((_, at) => blendOfOthers(candidates, at, origins, equal)),
  };
  const simple = candidates.filter((candidate) => candidate.simple);
  const { points, trials, shares: drawn } = anchored(combination, simple, known, origins, equal);
  const { intervals: usual, error } = calibrate(points, trials, known, origins, options.levels ?? [], bound.floor);
  const { points: mean, intervals } =
    clean.settled === null
      ? { points, intervals: usual }
      : undecided(points, usual, clean.settled.at(-1) as number, history.at(-1) as number);
  const later = (list: readonly number[]) =>
    list.slice(trailing).map((value) => toGrain(Math.max(bound.floor, value)) * unit);
  return {
    model: nameOf(candidates.length, seasons),
    seasons,
    mean: later(mean),
    intervals: intervals.map(({ level, lower, upper }) => ({ level, lower: later(lower), upper: later(upper) })),
    members: candidates
      .map((candidate) => ({
        name: candidate.name,
        weight:
          candidate.weight * (drawn[0] as number) +
          (candidate.simple ? (drawn[1 + simple.indexOf(candidate)] as number) : 0),
        error: candidate.error === null ? null : candidate.error * unit,
      }))
      .toSorted((a, b) => b.weight - a.weight),
    backtest: origins,
    error: error === null ? null : error * unit,
  };
}

/** Without what sums leave behind in place of zero. */
function toGrain(value: number): number {
  return Math.round(value / GRAIN) * GRAIN + 0;
}

/** The values between the first and the last known one, the newest of them; how many were left out before and after. */
function knownPart(values: readonly (number | null)[]): {
  known: readonly (number | null)[];
  skipped: number;
  trailing: number;
} {
  const first = values.findIndex((value) => value !== null);
  const last = values.findLastIndex((value) => value !== null);
  const skipped = Math.max(first, last + 1 - COMBINED_VALUES_MAX);
  const known = first < 0 ? [] : values.slice(skipped, last + 1);
  const count = known.filter((value) => value !== null).length;
  if (count < COMBINED_VALUES_MIN) {
    throw new RangeError(`too few values: ${count} known, and ${COMBINED_VALUES_MIN} are needed`);
  }
  if (!known.every((value) => value === null || Number.isFinite(value))) throw new RangeError('values must be finite');
  return { known, skipped, trailing: values.length - 1 - last };
}

function checkSeasons(seasons: readonly number[], count: number): void {
  if (seasons.length > 2) throw new RangeError('at most two seasons');
  if (seasons.some((length, i) => !Number.isInteger(length) || length <= (seasons[i - 1] ?? 1))) {
    throw new RangeError('seasons must be whole numbers of at least 2, the shortest first');
  }
  const longest = seasons.at(-1) ?? 0;
  if (count < 2 * longest) {
    throw new RangeError(`a season of ${longest} steps needs ${2 * longest} values, and there are ${count}`);
  }
}

interface Bounds {
  lower: number;
  upper: number;
  /** Forecasts and intervals go no lower. */
  floor: number;
}

/** Forecasts stay within twice the range seen, and are not negative when no value was. */
function boundsOf(values: readonly number[]): Bounds {
  let low = Number.POSITIVE_INFINITY;
  let high = Number.NEGATIVE_INFINITY;
  for (const value of values) {
    low = Math.min(low, value);
    high = Math.max(high, value);
  }
  const floor = low >= 0 ? 0 : Number.NEGATIVE_INFINITY;
  return { lower: Math.max(floor, low - (high - low)), upper: high + (high - low), floor };
}

/** Seven of the days that were found, in steps, when there are too few of them to tell whether a week is a season. */
function weekToTry(
  seasons: readonly number[],
  count: number,
  { seasons: given, stepSeconds }: CombineOptions,
): number | null {
  const [day] = seasons;
  if (day === undefined || seasons.length > 1 || given !== undefined) return null;
  const isDay = stepSeconds === undefined || day * stepSeconds === DAY_SECONDS;
  return isDay && count >= WEEK_TRIED_DAYS * day ? WEEK_DAYS * day : null;
}

function methodsOf(
  seasons: readonly number[],
  week: number | null,
  history: readonly number[],
  calendar: Calendar | null,
): { method: Method; simple: boolean }[] {
  const [day] = seasons;
  const plain = [1, ...seasons, ...(week === null ? [] : [week])].map((length) => ({
    method: naive(length),
    simple: true,
  }));
  const others = transformsFor(history).flatMap((scale) => [
    ...methodsFor(seasons, scale, calendar),
    ...(day === undefined || week === null ? [] : weeklyMethodsFor(day, week, scale)),
  ]);
  return [...plain, ...others.map((method) => ({ method, simple: false }))];
}

/** What the method forecasts, now and at each origin; nothing when it cannot. */
function tryOut(
  { method, simple }: { method: Method; simple: boolean },
  history: readonly number[],
  known: readonly (number | null)[],
  origins: Origins,
  ahead: number,
  { lower, upper }: Bounds,
): Candidate[] {
  const points = method.learn(history)?.(history, ahead);
  const trials = replay(method, history, origins);
  if (points === undefined || trials === null || !points.every(Number.isFinite)) return [];
  const bounded = (list: readonly number[]) => list.map((value) => Math.min(upper, Math.max(lower, value)));
  const inside = trials.map(bounded);
  const errors = errorsOf(inside, known, origins).map(meanError);
  const { name } = method;
  return [{ name, simple, points: bounded(points), trials: inside, errors, error: usualOf(errors), weight: 0 }];
}

/** Mean of the smaller three quarters: the trial that meets an outlier or a shift says little of who is right now. */
function usualOf(errors: readonly (number | null)[]): number | null {
  const found = errors.filter((error) => error !== null).sort((a, b) => a - b);
  const kept = found.slice(0, Math.ceil(KEPT * found.length));
  return kept.length === 0 ? null : kept.reduce((sum, error) => sum + error, 0) / kept.length;
}

/** Each candidate's share by its error; equal shares where no error is known. */
function shares(errors: readonly (number | null)[], equal: number): number[] {
  const raw = errors.map((error) =>
    error === null ? 1 : 1 / (error + Math.max(equal, Number.EPSILON)) ** WEIGHT_POWER,
  );
  const sum = raw.reduce((all, each) => all + each, 0);
  return raw.map((each) => each / sum);
}

function weigh(candidates: readonly Candidate[], equal: number): Candidate[] {
  const weights = shares(
    candidates.map(({ error }) => error),
    equal,
  );
  return candidates.map((candidate, i) => ({ ...candidate, weight: weights[i] as number }));
}

/** The combination at one origin, weighed by the errors at those apart from it, so that no trial judges itself. */
function blendOfOthers(candidates: readonly Candidate[], at: number, origins: Origins, equal: number): number[] {
  const weights = shares(
    candidates.map(({ errors }) => usualOf(errors.filter((_, i) => areApart(origins, i, at)))),
    equal,
  );
  return blend(candidates.map(({ trials }, i) => ({ points: trials[at] as number[], weight: weights[i] as number })));
}

/** At each step the weighted mean of the middle of the forecasts; weights sum up to 1. */
function blend(parts: readonly { points: readonly number[]; weight: number }[]): number[] {
  const length = parts[0]?.points.length ?? 0;
  return Array.from({ length }, (_, h) => {
    const sorted = parts
      .map(({ points, weight }) => ({ value: points[h] as number, weight }))
      .sort((a, b) => a.value - b.value);
    let below = 0;
    let sum = 0;
    let taken = 0;
    for (const { value, weight } of sorted) {
      const part = Math.min(below + weight, 1 - TRIMMED) - Math.max(below, TRIMMED);
      if (part > 0) {
        sum += part * value;
        taken += part;
      }
      below += weight;
    }
    return sum / taken;
  });
}

function nameOf(count: number, seasons: readonly number[]): string {
  const found = seasons.length === 0 ? 'no season' : `season${seasons.length > 1 ? 's' : ''} ${seasons.join(' and ')}`;
  return `combination of ${count}, ${found}`;
}
