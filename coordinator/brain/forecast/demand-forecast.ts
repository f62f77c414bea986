import {
  createForecaster,
  type ForecasterState,
  type ForecastPoint,
  forecast,
  isSeasonal,
  modelName,
  observe,
  SEASON_STEPS_MAX,
} from './forecast.js';

/**
 * The forecast of a component's demand, one value a second. A season of more steps than a model can hold, such as a day,
 * is followed by a second model of longer steps, each the mean of its seconds; the first one then follows the moment.
 * Plain data.
 */
export interface DemandForecaster {
  fast: ForecasterState;
  /** Null when the season is short or unknown. */
  slow: SlowForecaster | null;
}

export interface SlowForecaster {
  state: ForecasterState;
  /** Of the step that is under way: seconds so far, those with a value, and their sum. */
  seconds: number;
  values: number;
  sum: number;
}

/** So many steps make a long season: a minute of a day. */
const LONG_SEASON_STEPS = 1_440;
/** Until here the near model knows better; beyond, the seasonal one alone answers. Seconds. */
const NEAR_SECONDS = 30;

/** `seasonSeconds` 0: no season is known. */
export function createDemandForecaster(seasonSeconds: number): DemandForecaster {
  if (seasonSeconds <= SEASON_STEPS_MAX)
    return { fast: createForecaster({ stepSeconds: 1, seasonSeconds }), slow: null };
  const stepSeconds = Math.ceil(seasonSeconds / LONG_SEASON_STEPS);
  const state = createForecaster({ stepSeconds, seasonSeconds });
  return { fast: createForecaster({ stepSeconds: 1 }), slow: { state, seconds: 0, values: 0, sum: 0 } };
}

/** Takes in one second; null is a gap. */
export function observeDemand({ fast, slow }: DemandForecaster, value: number | null): DemandForecaster {
  return { fast: observe(fast, value), slow: slow === null ? null : observeSlow(slow, value) };
}

/** The next seconds, nearest first. */
export function forecastDemand({ fast, slow }: DemandForecaster, seconds: number): ForecastPoint[] {
  const near = forecast(fast, seconds);
  if (slow === null || !isSeasonal(slow.state)) return near;
  const { stepSeconds } = slow.state;
  const far = forecast(slow.state, Math.ceil((slow.seconds + seconds) / stepSeconds) + 1);
  return near.map((point, i) => {
    // The step under way is the first that the slow model has not seen.
    const seasonal = far[Math.floor((slow.seconds + i + 1) / stepSeconds)] ?? point;
    if (i >= NEAR_SECONDS) return seasonal;
    return { ...point, upper: Math.max(point.upper, seasonal.upper) };
  });
}

/** For people: which model answers now. */
export function demandModelName({ fast, slow }: DemandForecaster): string {
  return slow !== null && isSeasonal(slow.state) ? modelName(slow.state) : modelName(fast);
}

function observeSlow(slow: SlowForecaster, value: number | null): SlowForecaster {
  const next = {
    ...slow,
    seconds: slow.seconds + 1,
    values: slow.values + (value === null ? 0 : 1),
    sum: slow.sum + (value ?? 0),
  };
  if (next.seconds < slow.state.stepSeconds) return next;
  const mean = next.values === 0 ? null : next.sum / next.values;
  return { state: observe(slow.state, mean), seconds: 0, values: 0, sum: 0 };
}
