import type { Objective } from '../../protocol/manifest.js';
import { shareOver } from './last-known.js';
import { timeInSystem, UTILISATION_MAX } from './queueing.js';
import { type Fit, learnFit, newFit, type Prior, solveFit } from './robust-fit.js';

/**
 * Latency at the objective's percentile as a function of CPU: L ≈ other + cpu × time / speed, in ms. `time` is the
 * time in the system of queueing.ts, `speed` what one server has of a core. For M/M/1 with nothing else to wait for this is
 * exact, with cpu = service time × ln(1/(1 − p)). `other` is time that no CPU shortens: callees, disks, timers. Both are learned
 * from what is observed, starting from the learned cost of a request with exponential service times. Plain data, changed in
 * place.
 */
export interface LatencyModel {
  fit: Fit;
  /** Of the time over which latency is judged. */
  load: number;
  weight: number;
  /** Latency seen of late, above what the curve says and chance explains. Ms; below 0: under it. */
  lately: number;
}

export function newLatency(): LatencyModel {
  return { fit: newFit(), load: 0, weight: 0, lately: 0 };
}

export interface LatencyCurve {
  otherMs: number;
  cpuMs: number;
}

/** CPU that instances have for a demand. */
export interface Allotment {
  demandCpu: number;
  count: number;
  /** Cores of each. */
  cpu: number;
}

/** Above it the queue grows while it is looked at, and latency says nothing of a steady state. */
const STEADY_UTILISATION = 0.95;
/** Latency is judged over about so many seconds. */
const windowShare = shareOver(10);
const PULL = 0.02;
/** From so many calls on a tail is known. */
const CALLS_KNOWN = 60;
/** The latency that the cost of a request suggests counts as so many seconds in which it was seen. */
const PRIOR_SECONDS = 30;

/** What CPU time is stretched by, through waiting and through a size of less than a core. */
export function stretch({ demandCpu, count, cpu }: Allotment): number {
  const allotted = count * cpu;
  const servers = count * Math.max(1, Math.floor(cpu));
  const utilisation = allotted > 0 ? demandCpu / allotted : UTILISATION_MAX;
  return timeInSystem(utilisation, servers) / Math.min(1, Math.max(cpu, 1e-3));
}

/** The model given is changed and returned. */
export function learnLatency(
  model: LatencyModel,
  latencyMs: number | null,
  allotment: Allotment,
  seconds: number,
  prior: Prior,
  seen: { calls: number; percentile: number } = { calls: CALLS_KNOWN, percentile: 99 },
): LatencyModel {
  const allotted = allotment.count * allotment.cpu;
  if (!(allotted > 0)) return model;
  if (allotment.demandCpu / allotted > STEADY_UTILISATION) {
    model.load = 0;
    model.weight = 0;
    return model;
  }
  const share = windowShare(seconds);
  model.weight += share * (1 - model.weight);
  model.load += share * (stretch(allotment) - model.load);
  // Until the mean of the load spans the time over which the latency was judged, the two do not belong together.
  if (latencyMs === null || model.weight < 0.6) return model;
  const x = model.load / model.weight;
  const { a, b } = solveFit(model.fit, prior);
  const said = a + b * x;
  const { calls, percentile } = seen;
  // One call says nothing of a tail.
  const told = Math.min(1, Math.max(0, (calls - 1) / (CALLS_KNOWN - 1)));
  const beyond = latencyMs - said;
  const believed = Math.sign(beyond) * Math.max(0, Math.abs(beyond) - said * chanceOf(percentile, calls));
  model.lately = model.fit.weight > 0 ? model.lately + share * (told * believed - model.lately) : 0;
  learnFit(model.fit, 1, x, latencyMs, seconds, prior, told);
  return model;
}

/**
 * Standard deviation of the percentile of so many exponential times, as a share of it: √(p(1 − p)/n) over the density there
 * (Mosteller, Annals of Mathematical Statistics 17 (1946) 377).
 */
function chanceOf(percentile: number, calls: number): number {
  const beyond = 1 - Math.min(0.9999, percentile / 100);
  return Math.sqrt((1 - beyond) / (beyond * Math.max(1, calls))) / Math.log(1 / beyond);
}

/** Null before any latency was seen, and for other objectives. */
export function learnedCurve(model: LatencyModel, objective: Objective, costCpu: number | null): LatencyCurve | null {
  if (objective.kind !== 'latency' || model.fit.weight === 0) return null;
  const { a, b } = solveFit(model.fit, latencyPrior(objective.percentile, costCpu, null));
  return { otherMs: a + Math.max(0, model.lately), cpuMs: b };
}

export function latencyPrior(percentile: number, costCpu: number | null, latencyMs: number | null): Prior {
  // Without a known cost all of the time may be CPU.
  if (costCpu === null) return { a: 0, b: latencyMs ?? 0, pullA: PULL, pullB: PULL };
  const tail = Math.log(1 / (1 - Math.min(0.9999, percentile / 100)));
  return { a: 0, b: costCpu * 1000 * tail, pullA: 0, pullB: PULL, secondsB: PRIOR_SECONDS };
}

export function latencyAt({ otherMs, cpuMs }: LatencyCurve, allotment: Allotment): number {
  return otherMs + cpuMs * stretch(allotment);
}

/** The smallest size in [min, max] at which `count` instances keep the bound; null when none does. */
export function sizeForLatency(
  curve: LatencyCurve,
  boundMs: number,
  demandCpu: number,
  count: number,
  { min, max }: { min: number; max: number },
): number | null {
  const keeps = (cpu: number) =>
    demandCpu <= STEADY_UTILISATION * count * cpu && latencyAt(curve, { demandCpu, count, cpu }) <= boundMs;
  if (!keeps(max)) return null;
  if (keeps(min)) return min;
  let low = min;
  let high = max;
  for (let i = 0; i < 20 && high - low > 0.002 * high; i += 1) {
    const middle = (low + high) / 2;
    if (keeps(middle)) high = middle;
    else low = middle;
  }
  return high;
}
