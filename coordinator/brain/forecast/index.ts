/** What the rest of the brain and the loop use of the forecast. */
export {
  createDemandForecaster,
  type DemandForecaster,
  demandModelName,
  forecastDemand,
  observeDemand,
} from './demand-forecast.js';
export type { ForecastPoint } from './forecast.js';
export { findSeason, type Season } from './season.js';
export type { Forecast, ForecastInterval } from './types.js';
