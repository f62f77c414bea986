import type { Component, Objective } from '../../protocol/manifest.js';
import type { ComponentModel } from './component-model.js';
import { type Costs, costsOf, learnCost } from './cost-model.js';
import type { DemandBasis } from './explanation.js';
import { shareOver } from './last-known.js';
import { latencyPrior, learnLatency } from './latency-model.js';
import { learnNext } from './next-demand.js';
import type { TimeUse } from './time-use.js';

/** What was seen of a component in the tick that has ended. */
export interface Seen {
  component: Component;
  nowMs: number;
  /** Length of the tick. */
  stepSeconds: number;
  /** Cores used. */
  usedCpu: number;
  arrivedPerSecond: number;
  finishedPerSecond: number;
  /** Calls that run or wait. */
  outstanding: number;
  /** At the percentile of the objective; null without calls. */
  latencyMs: number | null;
  /** Calls that it is known by. Default: enough of them. */
  latencyCalls?: number;
  /** Where the time of its requests went lately; null where it is not known. */
  time?: TimeUse | null;
  /** Instances that served, and the cores that they had in all. */
  ready: { count: number; cpu: number };
}

/** What arrives, kept apart from what is served. */
export interface Sensed {
  model: ComponentModel;
  /** As learned so far. */
  costs: Costs;
  /** Cores that what arrives takes, whether served or not; without the backlog. */
  demandCpu: number;
  basis: DemandBasis;
  /** Cores that would work off the calls that wait for CPU within BACKLOG_SECONDS. */
  backlogCpu: number;
  latencyMs: number | null;
}

/** All that is allotted is used: what is used then says nothing of what is wanted. */
export const SATURATED = 0.95;
const SATURATED_GROWTH = 2;
/** From here on calls may be waiting for CPU: the mean hides instances that are full. */
const BUSY = 0.85;
/** When fewer than this share of what arrives gets done, CPU may be short whatever the share of it that is used. */
const SERVED_SHARE = 0.9;
const BACKLOG_SECONDS = 1;
const inFlightShare = shareOver(60);

/** Learns from a tick, which changes the model in place, and says what the demand was. */
export function sense(model: ComponentModel, seen: Seen): Sensed {
  const { component, stepSeconds, ready } = seen;
  const usedCpu = finite(seen.usedCpu);
  const arrived = finite(seen.arrivedPerSecond);
  const finished = finite(seen.finishedPerSecond);
  const outstanding = finite(seen.outstanding);
  const latencyMs = seen.latencyMs === null ? null : finite(seen.latencyMs);
  const cost = learnCost(model.cost, { instances: ready.count, finishedPerSecond: finished, usedCpu }, stepSeconds);
  const costs = costsOf(cost);
  const { costCpu, idleCpu } = costs;

  const utilisation = ready.cpu > 0 ? usedCpu / ready.cpu : 0;
  const arriving = costCpu === null ? 0 : idleCpu * ready.count + costCpu * arrived;
  let demandCpu = usedCpu;
  let basis: DemandBasis = ready.count > 0 ? 'used' : 'unknown';
  let backlogCpu = 0;
  const starved = utilisation >= BUSY || finished < arrived * SERVED_SHARE;
  if (costCpu !== null && starved && arriving > usedCpu) {
    demandCpu = arriving;
    basis = 'arrivals';
  }
  // Requests say what is wanted, or at least that it grows; without any, only what is used can be seen.
  if (utilisation >= SATURATED && arrived === 0 && finished === 0) {
    demandCpu = Math.max(demandCpu, SATURATED_GROWTH * ready.cpu);
    basis = 'saturated';
  }
  const waiting = outstanding - arrived * model.inFlightSeconds - 2 * Math.sqrt(arrived * model.inFlightSeconds);
  if (costCpu !== null && utilisation >= BUSY && model.inFlightSeconds > 0 && waiting > 0) {
    backlogCpu = (costCpu * waiting) / Math.max(BACKLOG_SECONDS, stepSeconds);
  }
  // While instances are busy to capacity they work off what waits, which is no demand that comes again.
  if (costCpu !== null && basis === 'used' && backlogCpu > 0) demandCpu = Math.min(usedCpu, Math.max(arriving, 0));

  if (utilisation < BUSY && arrived > 0) {
    const share = model.inFlightSeconds === 0 ? 1 : inFlightShare(stepSeconds);
    model.inFlightSeconds += share * (outstanding / arrived - model.inFlightSeconds);
  }

  const { objective } = component;
  if (ready.count > 0 && objective.kind === 'latency') {
    const allotment = { demandCpu: usedCpu, count: ready.count, cpu: ready.cpu / ready.count };
    learnLatency(
      model.latency,
      latencyMs,
      allotment,
      stepSeconds,
      latencyPrior(objective.percentile, costCpu, latencyMs),
      seen.latencyCalls === undefined ? undefined : { calls: seen.latencyCalls, percentile: objective.percentile },
    );
  }
  learnNext(model.next, demandCpu, stepSeconds, coveredShare(objective));
  model.atMs = seen.nowMs;
  return { model, costs, demandCpu, basis, backlogCpu, latencyMs };
}

/**
 * The share of ticks whose demand the allotment shall cover. Half of the calls that may miss a latency objective are
 * left to queueing, half to misjudged demand.
 */
export function coveredShare(objective: Objective): number {
  const percentile = objective.kind === 'latency' ? objective.percentile : 99;
  return Math.min(0.999, Math.max(0.9, 1 - (1 - percentile / 100) / 2));
}

/** Larger numbers are taken as this, smaller ones as zero; keeps squares, sums and quotients finite. */
const VALUE_MAX = 1e9;
const VALUE_MIN = 1e-9;

/** Numbers from outside that make no sense count as zero. */
export function finite(value: number): number {
  return Number.isFinite(value) && value > VALUE_MIN ? Math.min(VALUE_MAX, value) : 0;
}

/** The same for bytes, of which there are more. */
export function finiteBytes(value: number): number {
  return Number.isFinite(value) && value > 0 ? Math.min(Number.MAX_SAFE_INTEGER, value) : 0;
}
