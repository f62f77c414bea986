import { type CallRatios, NO_RATIOS } from './call-graph.js';
import { type CostModel, costsOf, NEW_COST } from './cost-model.js';
import { type LatencyModel, NEW_LATENCY } from './latency-model.js';
import { type LeadForecast, NEW_LEAD } from './lead-forecast.js';
import { NEW_NEXT, type NextDemand } from './next-demand.js';

/**
 * What has been learned of one component. Plain data that survives JSON and a change of coordinator; it comes into
 * `sense` and `planComponent` and goes out of them changed. Only the modules of the brain look inside.
 */
export interface ComponentModel {
  /** Of another version: nothing is known. */
  version: typeof MODEL_VERSION;
  /** Of the tick last learned from; 0 before the first. */
  atMs: number;
  cost: CostModel;
  latency: LatencyModel;
  next: NextDemand;
  lead: LeadForecast;
  /** Seconds that a call takes when none waits for CPU; 0 before it is known. */
  inFlightSeconds: number;
  /** What callers make of their requests here. */
  calls: CallRatios;
}

export const MODEL_VERSION = 2;

export const NEW_MODEL: ComponentModel = {
  version: MODEL_VERSION,
  atMs: 0,
  cost: NEW_COST,
  latency: NEW_LATENCY,
  next: NEW_NEXT,
  lead: NEW_LEAD,
  inFlightSeconds: 0,
  calls: NO_RATIOS,
};

/** CPU-seconds of a request (null before it is known) and cores of an idle instance. */
export function learnedCosts(model: ComponentModel): { costCpu: number | null; idleCpu: number } {
  return costsOf(model.cost);
}
