import type { Component, Objective } from '../../protocol/manifest.js';

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
  /** For people. */
  why: string;
}

/** The need of this moment. Reactive demand is its floor: the forecast can only raise it. */
export function needNow(input: NeedInput): NeedResult {
  const { component, nowMs, current } = input;
  const demand = finite(input.demandCpu);
  const ahead = finite(input.forecastUpperCpu);
  const outstanding = finite(input.outstanding);
  const working = finite(input.requestsPerSecond) > 0 || outstanding > 0;
  const instances = Math.max(1, current.count);
  if (!working && demand <= IDLE_CPU * instances && ahead <= FORECAST_CPU * instances) {
    return { need: { atMs: nowMs, cpu: 0, count: 0 }, idle: true, why: 'idle' };
  }

  const allotted = current.count * current.size.cpu;
  const utilisation = allotted > 0 ? demand / allotted : 0;
  const aim = aimedUtilisation(component.objective, input.latencyMs, utilisation);
  let cpu = Math.max(demand, ahead) / aim.utilisation;
  const parts = [`uses ${cores(demand)} cores`];
  if (ahead > demand) parts.push(`up to ${cores(ahead)} forecast`);
  parts.push(`needs ${cores(cpu)} at ${Math.round(aim.utilisation * 100)} % utilisation${aim.why}`);
  if (utilisation >= SATURATED && cpu < allotted * SATURATED_GROWTH) {
    cpu = allotted * SATURATED_GROWTH;
    parts.push(`saturated, so ${cores(cpu)}`);
  }

  // Below the lowest utilisation aimed at, more CPU does not help: then it at least does not shrink.
  if (aim.missed) cpu = Math.max(cpu, allotted);

  let count = 1;
  if (component.objective.kind === 'queue') {
    count = Math.max(1, Math.ceil(outstanding / component.objective.length));
    if (outstanding > 0) parts.push(`${outstanding} calls at ${component.objective.length} an instance`);
  }
  return { need: { atMs: nowMs, cpu, count }, idle: false, why: parts.join(', ') };
}

interface Aim {
  utilisation: number;
  /** The latency objective is broken now. */
  missed?: boolean;
  why: string;
}

/**
 * The utilisation that keeps the objective. For latency: response time of a queue is R = S / (1 − ρ), so the observed
 * latency and utilisation give the service time S, and S gives the ρ at which R meets the objective.
 */
function aimedUtilisation(objective: Objective, latency: Latency | null, utilisation: number): Aim {
  if (objective.kind === 'utilisation') return { utilisation: clamp(objective.target, 0.05, 1), why: '' };
  if (objective.kind === 'queue') return { utilisation: QUEUE_UTILISATION, why: '' };
  const { unknown, min, max } = LATENCY_UTILISATION;
  if (latency === null) return { utilisation: unknown, why: ' (no latency seen yet)' };
  const observed = finite(latency.objective ?? (objective.percentile <= 50 ? latency.p50 : latency.p99));
  const serviceMs = observed * (1 - clamp(utilisation, 0, 0.99));
  const aimed = clamp(1 - serviceMs / objective.targetMs, min, max);
  const why = ` (p${objective.percentile} ${observed.toFixed(1)} ms of ${objective.targetMs} ms)`;
  // While the objective is missed the allotment has to grow, whatever the model says.
  const missed = observed > objective.targetMs;
  return { utilisation: missed ? clamp(utilisation * MISSED_SHARE, min, aimed) : aimed, missed, why };
}

export function cores(value: number): string {
  return value.toFixed(2);
}

export function clamp(value: number, min: number, max: number): number {
  return Math.min(max, Math.max(min, value));
}

/** Numbers from outside that make no sense count as zero. */
export function finite(value: number): number {
  return Number.isFinite(value) && value > 0 ? value : 0;
}
