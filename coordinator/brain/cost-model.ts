import { shareOver } from './last-known.js';
import { type Fit, learnFit, newFit, type Prior, solveFit } from './robust-fit.js';

/**
 * What a request costs and what an instance burns without any: cores used ≈ idle × instances + cost × requests a second.
 * Learned from what finished, not from what arrived, so that it stays true while a component is starved. Plain data, changed in place.
 */
export interface CostModel {
  fit: Fit;
  /** Smoothed together, since a request's CPU may fall into another tick than its end. */
  instances: number;
  finished: number;
  used: number;
}

export function newCost(): CostModel {
  return { fit: newFit(), instances: 0, finished: 0, used: 0 };
}

export interface Costs {
  /** CPU-seconds of a request; null before it is known. */
  costCpu: number | null;
  /** Cores of one instance without requests. */
  idleCpu: number;
}

const smoothShare = shareOver(5);
/** Before so long a time of learning the cost does not count as known. */
const KNOWN_SECONDS = 5;
/** Where instances and requests rise and fall together, the requests get the blame. */
const PRIOR: Prior = { a: 0, b: 0, pullA: 0.02, pullB: 0 };

/** The model given is changed and returned. */
export function learnCost(
  model: CostModel,
  seen: { instances: number; finishedPerSecond: number; usedCpu: number },
  seconds: number,
): CostModel {
  if (!(seen.instances > 0) || !(seconds > 0)) return model;
  const first = model.fit.weight === 0 && model.instances === 0;
  const share = first ? 1 : smoothShare(seconds);
  model.instances += share * (seen.instances - model.instances);
  model.finished += share * (seen.finishedPerSecond - model.finished);
  model.used += share * (seen.usedCpu - model.used);
  learnFit(model.fit, model.instances, model.finished, model.used, seconds, PRIOR);
  return model;
}

export function costsOf(model: CostModel): Costs {
  const { a, b } = solveFit(model.fit, PRIOR);
  const known = model.fit.weight >= KNOWN_SECONDS && model.fit.zz > 0 && b > 0;
  return { costCpu: known ? b : null, idleCpu: a };
}
