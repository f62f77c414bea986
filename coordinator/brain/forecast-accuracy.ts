import type { ForecastPoint } from './forecast/index.js';

/**
 * How right the forecasts of a component were of late, for people: one step ahead, and as far ahead as a new instance
 * needs. Owned and changed in place. CPU in cores.
 */
export interface ForecastAccuracy {
  readonly step: HorizonAccuracy;
  /** Begins anew when a new instance needs another time. */
  lead: HorizonAccuracy;
}

export interface HorizonAccuracy {
  /** How far ahead, in steps. */
  readonly steps: number;
  /** Forecasts whose time has not come, in a ring of `steps`: mean, lower, upper; NaN where none was made. */
  readonly pending: Float64Array;
  /** Steps so far. */
  noted: number;
  compared: number;
  /** Means of the recent past: the absolute error, the demand, the share of demands within the interval. */
  errorCpu: number;
  demandCpu: number;
  covered: number;
}

/** The recent past: so many comparisons count. */
const RECENT = 600;
const POINT = 3;

export function newAccuracy(leadSteps: number): ForecastAccuracy {
  return { step: newHorizon(1), lead: newHorizon(Math.max(1, leadSteps)) };
}

function newHorizon(steps: number): HorizonAccuracy {
  const pending = new Float64Array(POINT * steps).fill(Number.NaN);
  return { steps, pending, noted: 0, compared: 0, errorCpu: 0, demandCpu: 0, covered: 0 };
}

/** From now on a new instance needs so many steps. */
export function leadOver(accuracy: ForecastAccuracy, steps: number): void {
  const next = Math.max(1, steps);
  if (accuracy.lead.steps !== next) accuracy.lead = newHorizon(next);
}

/** Compares the demand of a step, null if unknown, with what was forecast for it, and notes the forecast made now. */
export function noteAccuracy(
  accuracy: ForecastAccuracy,
  demandCpu: number | null,
  ahead: readonly ForecastPoint[],
): void {
  noteHorizon(accuracy.step, demandCpu, ahead);
  noteHorizon(accuracy.lead, demandCpu, ahead);
}

function noteHorizon(horizon: HorizonAccuracy, demandCpu: number | null, ahead: readonly ForecastPoint[]): void {
  const { pending, steps } = horizon;
  // What was forecast so many steps ago is due, and gives its place to what is forecast now.
  const at = POINT * (horizon.noted % steps);
  horizon.noted += 1;
  if (demandCpu !== null && !Number.isNaN(pending[at])) compare(horizon, at, demandCpu);
  const point = ahead[steps - 1] ?? ahead.at(-1);
  pending[at] = point?.mean ?? Number.NaN;
  pending[at + 1] = point?.lower ?? Number.NaN;
  pending[at + 2] = point?.upper ?? Number.NaN;
}

function compare(horizon: HorizonAccuracy, at: number, demandCpu: number): void {
  const mean = horizon.pending[at] as number;
  const lower = horizon.pending[at + 1] as number;
  const upper = horizon.pending[at + 2] as number;
  horizon.compared += 1;
  const share = 1 / Math.min(RECENT, horizon.compared);
  horizon.errorCpu += share * (Math.abs(demandCpu - mean) - horizon.errorCpu);
  horizon.demandCpu += share * (demandCpu - horizon.demandCpu);
  const isCovered = demandCpu >= lower - 1e-9 && demandCpu <= upper + 1e-9;
  horizon.covered += share * ((isCovered ? 1 : 0) - horizon.covered);
}
