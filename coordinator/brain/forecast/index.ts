/** What the rest of the brain and the loop use of the forecast. */
export {
  createDemandForecaster,
  type DemandForecaster,
  type DemandForecasterOptions,
  demandModelName,
  forecastDemand,
  observeDemand,
} from './demand-forecast.js';
export { type FitOptions, fit, given, type Model, offsetFor, refusal } from './fit.js';
export type { ForecastPoint } from './forecast.js';
export { type Form, type Parameters, project, type Run, run, type State, step } from './holt-winters.js';
export { nameOf, type PredictOptions, predict, quantile } from './predict.js';
export { findSeason, type Season } from './season.js';
export type { Forecast, ForecastInterval } from './types.js';
