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
  /** Forecasts whose time has not come, the oldest first, null where none was made; at most `steps`. */
  pending: (ForecastPoint | null)[];
  compared: number;
  /** Means of the recent past: the absolute error, the demand, the share of demands within the interval. */
  errorCpu: number;
  demandCpu: number;
  covered: number;
}

/** The recent past: so many comparisons count. */
const RECENT = 600;

export function newAccuracy(leadSteps: number): ForecastAccuracy {
  return { step: newHorizon(1), lead: newHorizon(Math.max(1, leadSteps)) };
}

function newHorizon(steps: number): HorizonAccuracy {
  return { steps, pending: [], compared: 0, errorCpu: 0, demandCpu: 0, covered: 0 };
}

/** From now on a new instance needs so many steps. */
export function leadOver(accuracy: ForecastAccuracy, steps: number): void {
  if (accuracy.lead.steps !== steps) accuracy.lead = newHorizon(steps);
}

/** Compares the demand of a step, null if unknown, with what was forecast for it, and notes the forecast made now. */
export function noteAccuracy(
  accuracy: ForecastAccuracy,
  demandCpu: number | null,
  ahead: readonly ForecastPoint[],
): void {
  for (const horizon of [accuracy.step, accuracy.lead]) {
    const { pending, steps } = horizon;
    const due = pending.length === steps ? (pending.shift() ?? null) : null;
    if (due !== null && demandCpu !== null) compare(horizon, due, demandCpu);
    pending.push(ahead[steps - 1] ?? ahead.at(-1) ?? null);
  }
}

function compare(horizon: HorizonAccuracy, { mean, lower, upper }: ForecastPoint, demandCpu: number): void {
  horizon.compared += 1;
  const share = 1 / Math.min(RECENT, horizon.compared);
  horizon.errorCpu += share * (Math.abs(demandCpu - mean) - horizon.errorCpu);
  horizon.demandCpu += share * (demandCpu - horizon.demandCpu);
  const isCovered = demandCpu >= lower - 1e-9 && demandCpu <= upper + 1e-9;
  horizon.covered += share * ((isCovered ? 1 : 0) - horizon.covered);
}
