import { type CallRatios, newRatios } from './call-graph.js';
import { type CostModel, newCost } from './cost-model.js';
import { type LatencyModel, newLatency } from './latency-model.js';
import { type LeadForecast, newLead } from './lead-forecast.js';
import { type NextDemand, newNext } from './next-demand.js';
import { NEW_STARTS, type StartTimes } from './start-time.js';

/**
 * What has been learned of one component. Plain data that survives JSON and a change of coordinator; `sense`
 * and `learnForecast` change it in place. Only the modules of the brain look inside.
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
  starts: StartTimes;
}

export const MODEL_VERSION = 3;

export function newModel(): ComponentModel {
  return {
    version: MODEL_VERSION,
    atMs: 0,
    cost: newCost(),
    latency: newLatency(),
    next: newNext(),
    lead: newLead(),
    inFlightSeconds: 0,
    calls: newRatios(),
    starts: NEW_STARTS,
  };
}
