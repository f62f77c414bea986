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
 * The forecast of a component's demand, one value each step. A season of more steps than a model can hold, such as a day,
 * is followed by a second model of longer steps, each the mean of its values; the first one then follows the moment.
 * Plain data.
 */
export interface DemandForecaster {
  stepSeconds: number;
  fast: ForecasterState;
  /** Null when the season is short or unknown. */
  slow: SlowForecaster | null;
}

export interface SlowForecaster {
  state: ForecasterState;
  /** Of the long step that is under way: steps so far, those with a value, and their sum. */
  steps: number;
  values: number;
  sum: number;
}

/** So many steps make a long season: a minute of a day. */
const LONG_SEASON_STEPS = 1_440;
/** Until here the near model knows better; beyond, the seasonal one alone answers. Seconds. */
const NEAR_SECONDS = 30;

export interface DemandForecasterOptions {
  /** 0: no season is known. */
  seasonSeconds: number;
  /** From one value to the next; 1 unless told. */
  stepSeconds?: number;
}

export function createDemandForecaster({ seasonSeconds, stepSeconds = 1 }: DemandForecasterOptions): DemandForecaster {
  if (seasonSeconds <= SEASON_STEPS_MAX * stepSeconds)
    return { stepSeconds, fast: createForecaster({ stepSeconds, seasonSeconds }), slow: null };
  const long = Math.ceil(seasonSeconds / LONG_SEASON_STEPS / stepSeconds) * stepSeconds;
  const state = createForecaster({ stepSeconds: long, seasonSeconds });
  return { stepSeconds, fast: createForecaster({ stepSeconds }), slow: { state, steps: 0, values: 0, sum: 0 } };
}

/** Takes in the value of one step; null is a gap. The forecaster given is given up: go on with the one returned. */
export function observeDemand(forecaster: DemandForecaster, value: number | null): DemandForecaster {
  const { stepSeconds, fast, slow } = forecaster;
  return {
    stepSeconds,
    fast: observe(fast, value),
    slow: slow === null ? null : observeSlow(slow, value, stepSeconds),
  };
}

/** The steps that begin within the next `seconds`, nearest first. */
export function forecastDemand({ stepSeconds, fast, slow }: DemandForecaster, seconds: number): ForecastPoint[] {
  const near = forecast(fast, Math.ceil(seconds / stepSeconds));
  if (slow === null || !isSeasonal(slow.state)) return near;
  const ratio = slow.state.stepSeconds / stepSeconds;
  const far = forecast(slow.state, Math.ceil((slow.steps + near.length) / ratio) + 1);
  return near.map((point, i) => {
    // The long step under way is the first that the slow model has not seen.
    const seasonal = far[Math.floor((slow.steps + i + 1) / ratio)] ?? point;
    if (i * stepSeconds >= NEAR_SECONDS) return seasonal;
    return { ...point, upper: Math.max(point.upper, seasonal.upper) };
  });
}

/** For people: which model answers now. */
export function demandModelName({ fast, slow }: DemandForecaster): string {
  return slow !== null && isSeasonal(slow.state) ? modelName(slow.state) : modelName(fast);
}

function observeSlow(slow: SlowForecaster, value: number | null, stepSeconds: number): SlowForecaster {
  const next = {
    ...slow,
    steps: slow.steps + 1,
    values: slow.values + (value === null ? 0 : 1),
    sum: slow.sum + (value ?? 0),
  };
  if (next.steps * stepSeconds < slow.state.stepSeconds) return next;
  const mean = next.values === 0 ? null : next.sum / next.values;
  return { state: observe(slow.state, mean), steps: 0, values: 0, sum: 0 };
}
