/** What the rest of the brain and the loop use of the forecast. */
export { type Combination, type CombineOptions, combine, type Member } from './combine.js';
export {
  applyRefit,
  createDemandForecaster,
  type DemandForecaster,
  type DemandForecasterOptions,
  type DemandForecastOptions,
  demandModelName,
  type ForecastPoint,
  forecastDemand,
  forecastPath,
  observeDemand,
  refitJob,
} from './demand-forecast.js';
export { factorAt, type KnownEvent } from './events.js';
export { type FitOptions, fit, given, type Model, offsetFor, refusal } from './fit.js';
export { skipDemand } from './gap.js';
export { type Form, type Parameters, project, type Run, run, type State, step } from './holt-winters.js';
export { nameOf, type PredictOptions, predict, quantile } from './predict.js';
export { type RefitJob, type RefitResult, runRefit } from './refit.js';
export { loadDemandForecaster, saveDemandForecaster } from './save.js';
export { findSeason, type Season } from './season.js';
export type { Forecast, ForecastInterval } from './types.js';
