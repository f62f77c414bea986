import type { Component, Objective } from '../../protocol/manifest.js';
import type { AimFacts } from './explanation.js';

/** What a component needs in all, before it is cut into instances. */
export interface Need {
  atMs: number;
  /** Cores to allot in all so that the objective holds. */
  cpu: number;
  /** Instances needed whatever their size. */
  count: number;
}

export interface NeedInput {
  component: Component;
  nowMs: number;
  /** Cores used now. */
  demandCpu: number;
  /** Upper bound of the forecast at the time a new instance would be ready. */
  forecastUpperCpu: number;
  requestsPerSecond: number;
  outstanding: number;
  latencyMs: Latency | null;
  current: { count: number; size: { cpu: number; memory: number } };
}

export interface Latency {
  p50: number;
  p99: number;
  /** At the percentile of the objective, when the caller has the buckets; otherwise p50 or p99 stands in. */
  objective?: number;
}

/** CPU that an instance burns without any work, such as timers of its runtime. */
const IDLE_CPU = 0.02;
/** A forecast this far above idle keeps a component from zero, or wakes it. */
const FORECAST_CPU = 0.05;
/** Above this utilisation the cores used say nothing of the cores wanted. */
const SATURATED = 0.95;
const SATURATED_GROWTH = 2;
/** Utilisation aimed at where the objective names none. */
const QUEUE_UTILISATION = 0.8;
const LATENCY_UTILISATION = { unknown: 0.6, min: 0.3, max: 0.85 };
/** While the objective is missed, each step aims at this share of the present utilisation. */
const MISSED_SHARE = 0.8;

export interface NeedResult {
  need: Need;
  idle: boolean;
  saturated: boolean;
  aim: AimFacts;
  /** At the percentile of the objective. */
  latencyMs: number | null;
}

/** The need of this moment. Reactive demand is its floor: the forecast can only raise it. */
export function needNow(input: NeedInput): NeedResult {
  const { component, nowMs, current } = input;
  const demand = finite(input.demandCpu);
  const ahead = finite(input.forecastUpperCpu);
  const outstanding = finite(input.outstanding);
  const working = finite(input.requestsPerSecond) > 0 || outstanding > 0;
  const instances = Math.max(1, current.count);
  const allotted = current.count * current.size.cpu;
  const utilisation = allotted > 0 ? demand / allotted : 0;
  const latencyMs = latencyOfObjective(component.objective, input.latencyMs);
  const aim = aimedUtilisation(component.objective, latencyMs, utilisation);
  if (!working && demand <= IDLE_CPU * instances && ahead <= FORECAST_CPU * instances) {
    return { need: { atMs: nowMs, cpu: 0, count: 0 }, idle: true, saturated: false, aim, latencyMs };
  }

  let cpu = Math.max(demand, ahead) / aim.utilisation;
  const saturated = utilisation >= SATURATED && cpu < allotted * SATURATED_GROWTH;
  if (saturated) cpu = allotted * SATURATED_GROWTH;
  // Below the lowest utilisation aimed at, more CPU does not help: then it at least does not shrink.
  if (aim.basis === 'missed') cpu = Math.max(cpu, allotted);

  const count =
    component.objective.kind === 'queue' ? Math.max(1, Math.ceil(outstanding / component.objective.length)) : 1;
  return { need: { atMs: nowMs, cpu, count }, idle: false, saturated, aim, latencyMs };
}

/**
 * The utilisation that keeps the objective. For latency: response time of a queue is R = S / (1 − ρ), so the observed
 * latency and utilisation give the service time S, and S gives the ρ at which R meets the objective.
 */
function aimedUtilisation(objective: Objective, latencyMs: number | null, utilisation: number): AimFacts {
  if (objective.kind === 'utilisation') {
    return { objective: { kind: 'utilisation' }, utilisation: clamp(objective.target, 0.05, 1), basis: 'target' };
  }
  if (objective.kind === 'queue') {
    return { objective: { kind: 'queue' }, utilisation: QUEUE_UTILISATION, basis: 'queue' };
  }
  const { unknown, min, max } = LATENCY_UTILISATION;
  if (latencyMs === null) return { objective, utilisation: unknown, basis: 'unknown' };
  const serviceMs = latencyMs * (1 - clamp(utilisation, 0, 0.99));
  const aimed = clamp(1 - serviceMs / objective.targetMs, min, max);
  // While the objective is missed the allotment has to grow, whatever the model says.
  if (latencyMs <= objective.targetMs) return { objective, utilisation: aimed, basis: 'learned' };
  return { objective, utilisation: clamp(utilisation * MISSED_SHARE, min, aimed), basis: 'missed' };
}

function latencyOfObjective(objective: Objective, latency: Latency | null): number | null {
  if (latency === null) return null;
  const byPercentile = objective.kind === 'latency' && objective.percentile <= 50 ? latency.p50 : latency.p99;
  return finite(latency.objective ?? byPercentile);
}

export function clamp(value: number, min: number, max: number): number {
  return Math.min(max, Math.max(min, value));
}

/** Numbers from outside that make no sense count as zero. */
export function finite(value: number): number {
  return Number.isFinite(value) && value > 0 ? value : 0;
}
