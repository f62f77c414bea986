import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import t, { type Test } from 'tap';
import {
  copyState,
  type Form,
  type Parameters,
  project,
  type State,
  step,
} from '../../../../coordinator/brain/forecast/holt-winters.js';
import { varianceOf } from '../../../../coordinator/brain/forecast/variance.js';

/** One model of another program for given parameters and initial state; written by scripts/golden/make. */
interface Case {
  by: 'ets' | 'hw' | 'HoltWinters' | 'dshw' | 'ExponentialSmoothing' | 'ETSModel';
  error?: 'A' | 'M';
  trend: 'N' | 'A' | 'Ad';
  season: 'N' | 'A' | 'M';
  /** Of the first season, in order of time. */
  start: number[];
  startLong?: number[];
  startLevel?: number;
  startTrend?: number;
  skipped?: number;
  omega?: number;
  rho?: number;
  fitted: number[];
  level?: number[];
  slope?: number[];
  /** The season after the last value, the next step's first. */
  last?: number[];
  mean: number[];
  variance: number[] | null;
}

interface Golden {
  series: number[];
  alpha: number;
  beta: number;
  gamma: number;
  phi: number;
  level: number;
  trend: number;
  varianceAdditive: number;
  varianceMultiplicative: number;
  cases: Case[];
}

const FOLDER = resolve(import.meta.dirname, '../../../../../test/coordinator/brain/forecast/golden');
const r: Golden = JSON.parse(readFileSync(`${FOLDER}/r.json`, 'utf8'));
const statsmodels: Pick<Golden, 'cases'> = JSON.parse(readFileSync(`${FOLDER}/statsmodels.json`, 'utf8'));

const TRENDS = { N: 'none', A: 'additive', Ad: 'damped' } as const;

/**
 * Whether the season learns from the level just updated; see the comment on top of holt-winters.ts. R's HoltWinters and
 * dshw say so. statsmodels' ETSModel documents the other form and, as it computes, is this one with γ/(1 − α) for γ:
 * the same for an additive season, not for factors.
 */
function isWinters({ by, season }: Case): boolean {
  return by === 'HoltWinters' || by === 'dshw' || (by === 'ETSModel' && season === 'M');
}

function formOf(one: Case): Form {
  return {
    trend: TRENDS[one.trend],
    seasonal: one.season === 'M' ? 'multiplicative' : 'additive',
    seasons: [one.start, one.startLong ?? []].flatMap(({ length }) => (length > 0 ? [length] : [])),
    errors: one.error === 'M' ? 'multiplicative' : 'additive',
    seasonFrom: isWinters(one) ? 'new-level' : 'old-level',
  };
}

function parametersOf(one: Case): Parameters {
  const { alpha, beta, gamma, phi } = r;
  const share = one.by === 'ETSModel' && isWinters(one) ? 1 - alpha : 1;
  const gammas = [gamma / share, one.omega ?? 0].slice(0, formOf(one).seasons.length);
  return { alpha, beta, gammas, phi: one.trend === 'Ad' ? phi : 1, rho: one.rho ?? 0 };
}

function startOf(one: Case): State {
  const seasons = [one.start, one.startLong ?? []].filter(({ length }) => length > 0).map((season) => season.slice());
  const trend = one.trend === 'N' ? 0 : (one.startTrend ?? r.trend);
  return { level: one.startLevel ?? r.level, trend, seasons, phases: seasons.map(() => 0), error: 0 };
}

/** Largest difference, as a share of the larger values. */
function difference(found: number[], wanted: number[]): number {
  if (found.length !== wanted.length) return Number.POSITIVE_INFINITY;
  return Math.max(0, ...found.map((x, i) => Math.abs(x - (wanted[i] ?? 0)) / Math.max(1, Math.abs(x))));
}

function check(t: Test, one: Case, unit: number): void {
  const form = formOf(one);
  const parameters = parametersOf(one);
  const state = startOf(one);
  const fitted: number[] = [];
  const levels: number[] = [];
  const slopes: number[] = [];
  let before = copyState(state);
  for (const value of r.series.slice(one.skipped ?? 0)) {
    before = copyState(state);
    const error = step(form, parameters, state, value);
    fitted.push(value - error);
    levels.push(state.level);
    slopes.push(state.trend);
  }
  const horizon = 15;
  const [season = [], phase = 0] = [state.seasons[0], state.phases[0]];
  const near = (found: number[], wanted: number[], what: string) =>
    t.ok(difference(found, wanted) < 1e-9, `${what}: differs by ${difference(found, wanted)}`);
  near(fitted, one.fitted, 'fitted');
  if (one.level !== undefined) near(levels, one.level, 'level');
  if (one.slope !== undefined && one.trend !== 'N') near(slopes, one.slope, 'trend');
  if (one.last !== undefined && one.season !== 'N') {
    near([...season.slice(phase), ...season.slice(0, phase)], one.last, 'season');
  }
  if (one.by === 'ExponentialSmoothing') forgetLastPlace(state, before);
  if (one.mean.length > 0) near(project(form, parameters, state, horizon), one.mean, 'forecasts');
  if (one.variance !== null) near(varianceOf(form, parameters, state, unit, horizon) ?? [], one.variance, 'variances');
}

/**
 * statsmodels' ExponentialSmoothing forecasts with the place of the season that the last value fell on as it was before
 * that value (its fitted values are right): steps m, 2m, … of the forecast miss what it taught.
 */
function forgetLastPlace(state: State, before: State): void {
  for (const [i, season] of state.seasons.entries()) {
    const place = before.phases[i] ?? 0;
    season[place] = before.seasons[i]?.[place] ?? 0;
  }
}

const nameOf = ({ by, error, trend, season, rho }: Case): string =>
  [by, error ?? '', trend, season, rho ? `ρ ${rho}` : ''].filter((part) => part !== '').join(' ');

for (const one of r.cases) {
  t.test(`as R: ${nameOf(one)}`, async (t) => {
    check(t, one, one.error === 'M' ? r.varianceMultiplicative : r.varianceAdditive);
  });
}

for (const one of statsmodels.cases) {
  t.test(`as statsmodels: ${nameOf(one)}`, async (t) => check(t, one, 1));
}

t.test('every variant is among the golden files', async (t) => {
  const names = new Set([...r.cases, ...statsmodels.cases].map(nameOf));
  for (const trend of ['N', 'A', 'Ad']) {
    for (const season of ['N', 'A', 'M']) {
      for (const error of ['A', 'M']) {
        t.ok(names.has(`ets ${error} ${trend} ${season}`) && names.has(`ETSModel ${error} ${trend} ${season}`));
      }
      t.ok(names.has(`ExponentialSmoothing ${trend} ${season}`));
    }
  }
  t.ok(
    ['hw A A', 'hw Ad M', 'HoltWinters A M', 'HoltWinters N A', 'dshw A M', 'dshw A M ρ 0.4'].every((n) =>
      names.has(n),
    ),
  );
  const varied = r.cases.filter(({ variance }) => variance !== null).length;
  t.equal(varied, 12, 'variances of classes 1, 2 and 3');
});
