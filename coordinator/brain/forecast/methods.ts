import { continueByAnalogy } from './analogue.js';
import { affordableLags, continueAutoregression, fitAutoregression, lagsOf } from './autoregression.js';
import { fit, refusal } from './fit.js';
import { copyState, type Form, project, step } from './holt-winters.js';
import { nameOf } from './predict.js';
import { fitProfile, type PlaceOf } from './profile.js';
import type { Transform } from './transform.js';

/** Goes on with values that begin with those learnt from; as many points as asked for. */
export type Continue = (values: readonly number[], steps: number) => number[];

/** One way to forecast. Values have neither gaps nor outliers. */
export interface Method {
  name: string;
  /** Null when the values are too few for it. */
  learn: (values: readonly number[]) => Continue | null;
  /** Learning takes long: what was learnt is kept while values are added. */
  dear: boolean;
}

/** A cycle known from the calendar, such as the hours of a day kept apart by weekday and weekend. */
export interface Calendar {
  name: string;
  /** Steps of the whole cycle. */
  cycle: number;
  places: number;
  placeOf: PlaceOf;
}

/** Holt-Winters learns from so many of the newest values at most: its search runs over them hundreds of times. */
const SEARCHED_MAX = 3_000;
const EVALUATIONS_MAX = 150;

/** The methods that suit such seasons, on a scale; see combine.ts for how they are weighed. */
export function methodsFor(seasons: readonly number[], scale: Transform, calendar: Calendar | null): Method[] {
  const [short] = seasons;
  const long = seasons.at(-1);
  const all: (Method | null)[] = [
    autoregression(seasons),
    short === undefined ? differenced(1, []) : differenced(short, seasons),
    long === undefined ? null : autoregression(seasons, long),
    short === undefined
      ? null
      : profiled(`profile of ${long}`, long ?? short, long ?? short, (i) => i % (long ?? short), [short]),
    calendar === null
      ? null
      : profiled(calendar.name, calendar.cycle, calendar.places, calendar.placeOf, seasons.slice(0, 1)),
    short === undefined ? null : analogy(seasons),
    smoothing({ trend: 'none', seasonal: 'additive', seasons, correction: true }),
    smoothing({ trend: 'damped', seasonal: 'additive', seasons: seasons.slice(0, 1), correction: true }),
  ];
  return all.filter((method) => method !== null).map((method) => onScale(method, scale));
}

/** Those that need no more than one week to learn what a week ago tells, where a week is not known to be a season. */
export function weeklyMethodsFor(day: number, week: number, scale: Transform): Method[] {
  const seasons = [day, week];
  const all = [differenced(week, [day]), autoregression(seasons), autoregression(seasons, week), analogy(seasons)];
  return all.map((method) => onScale({ ...method, name: `${method.name}, with the week` }, scale));
}

/** The last value, or that of a season ago. */
export function naive(length: number): Method {
  return {
    name: length === 1 ? 'last value' : `value of ${length} steps ago`,
    dear: false,
    learn: (learnt) =>
      learnt.length < length
        ? null
        : (values, steps) =>
            Array.from({ length: steps }, (_, h) => values[values.length - length + (h % length)] ?? 0),
  };
}

/** With a half-life, in steps, older values teach less. */
function autoregression(seasons: readonly number[], halfLife?: number): Method {
  return {
    name: `${halfLife === undefined ? '' : 'fading '}${seasons.length > 0 ? 'seasonal ' : ''}autoregression`,
    dear: false,
    learn: (learnt) => {
      const lags = affordableLags(lagsOf(seasons), learnt.length);
      if (lags.length === 0) return null;
      const model = fitAutoregression(learnt, lags, halfLife);
      return (values, steps) => continueAutoregression(model, values, steps);
    },
  };
}

/** An autoregression of the differences to `length` steps before, which a shift of level leaves as they are. */
function differenced(length: number, seasons: readonly number[]): Method {
  const differences = (values: readonly number[]) =>
    values.slice(length).map((value, i) => value - (values[i] as number));
  return {
    name: `autoregression of differences to ${length === 1 ? 'the step before' : `${length} steps before`}`,
    dear: false,
    learn: (learnt) => {
      if (learnt.length <= length) return null;
      const changes = differences(learnt);
      const lags = affordableLags(lagsOf(seasons), changes.length);
      if (lags.length === 0) return null;
      const model = fitAutoregression(changes, lags);
      return (values, steps) => {
        const next = continueAutoregression(model, differences(values), steps);
        const points: number[] = [];
        for (const [h, change] of next.entries()) {
          points.push((points[h - length] ?? (values[values.length - length + h] as number)) + change);
        }
        return points;
      };
    },
  };
}

/** The mean course of a cycle and an autoregression of what it leaves. */
function profiled(name: string, cycle: number, places: number, placeOf: PlaceOf, seasons: readonly number[]): Method {
  return {
    name: `${name} and autoregression`,
    dear: false,
    learn: (learnt) => {
      if (learnt.length < cycle) return null;
      const offsets = fitProfile(learnt, cycle, places, placeOf);
      const rest = (values: readonly number[]) => values.map((value, i) => value - (offsets[placeOf(i)] as number));
      const lags = affordableLags(lagsOf(seasons), learnt.length);
      if (lags.length === 0) return null;
      const model = fitAutoregression(rest(learnt), lags);
      return (values, steps) =>
        continueAutoregression(model, rest(values), steps).map(
          (value, h) => value + (offsets[placeOf(values.length + h)] as number),
        );
    },
  };
}

function analogy(seasons: readonly number[]): Method {
  return {
    name: 'days alike',
    dear: false,
    learn: (learnt) =>
      continueByAnalogy(learnt, 1, seasons) === null
        ? null
        : (values, steps) => continueByAnalogy(values, steps, seasons) ?? [],
  };
}

function smoothing(form: Form): Method {
  return {
    name: nameOf(form),
    dear: true,
    learn: (learnt) => {
      const newest = learnt.slice(-Math.max(SEARCHED_MAX, 3 * (form.seasons.at(-1) ?? 1)));
      if (refusal(newest, form) !== null) return null;
      const { parameters, state } = fit(newest, form, { evaluationsMax: EVALUATIONS_MAX, robust: true });
      return (values, steps) => {
        const now = copyState(state);
        for (let i = learnt.length; i < values.length; i++) step(form, parameters, now, values[i] as number);
        return project(form, parameters, now, steps);
      };
    },
  };
}

/** The method working on another scale. */
function onScale(method: Method, { name, apply, invert }: Transform): Method {
  return {
    name: name === '' ? method.name : `${method.name} ${name}`,
    dear: method.dear,
    learn: (learnt) => {
      const go = method.learn(learnt.map(apply));
      return go === null ? null : (values, steps) => go(values.map(apply), steps).map(invert);
    },
  };
}
