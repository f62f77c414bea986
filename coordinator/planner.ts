import type { ForecastView } from '../protocol/http.js';
import { LIMITS } from '../protocol/limits.js';
import type { Sample } from '../protocol/link.js';
import type { Component } from '../protocol/manifest.js';
import { type ComponentModel, NEW_MODEL } from './brain/component-model.js';
import { addBetween, type Demand, NO_DEMAND, noDemand } from './brain/demand.js';
import type { Explanation } from './brain/explanation.js';
import { summary } from './brain/explanation-words.js';
import {
  createDemandForecaster,
  type DemandForecaster,
  demandModelName,
  forecastDemand,
  observeDemand,
} from './brain/forecast/index.js';
import { latencyOf, percentileMs } from './brain/latency.js';
import { EMPTY_HISTORY, type PlanHistory, planComponent } from './brain/sharding.js';
import {
  type ClusterState,
  componentKey,
  type InstanceRecord,
  instancesOf,
  modeOf,
  own,
  setTargets,
  type Target,
  wantedCount,
} from './cluster.js';
import { type Observed, seenOf } from './observed.js';

/** What the planner remembers of each component between two seconds; by component key. Plain data, never stored. */
export type PlannerState = Readonly<Record<string, ComponentMemory>>;

export interface ComponentMemory {
  /** The season in the component's manifest entry and the length of a tick that the forecaster was made for. */
  seasonSeconds: number;
  stepSeconds: number;
  forecaster: DemandForecaster;
  history: PlanHistory;
  model: ComponentModel;
  /** Of the last decision; null before the first. */
  explanation: Explanation | null;
  demand: Demand;
  latencyMs: { p50: number; p99: number } | null;
  /** Latency buckets of the last seconds, newest last. */
  recentBuckets: number[][];
  /** In the order of the component's instances. */
  samples: readonly Sampled[];
  /** When an instance asked in vain for this component; keeps it from staying at zero. */
  calledInVainMs: number | null;
}

/** The last sample of an instance, when it arrived, and the cores used in the time before it. */
export interface Sampled {
  id: string;
  sample: Sample;
  atMs: number;
  cpuUsed: number;
}

export interface PlanOptions {
  /** Length of a tick: the live loop's second unless told. Whoever drives `plan` on another clock says so here. */
  stepSeconds?: number;
  /** Seconds from a decision until a new instance serves; PROVISION_SECONDS unless told. */
  startSeconds?: number;
}

/** Latency is judged over so long a time: one second alone may hold a handful of calls. */
const LATENCY_SECONDS = 10;
const STEP_SECONDS = LIMITS.heartbeatMs / 1000;
/** A new instance serves within this time; the forecast is provisioned for so far ahead. */
export const PROVISION_SECONDS = 5;
const CALM_MS_MIN = 5_000;
const CALM_MS_MAX = 30_000;
/** After a call in vain, demand counts as present for so long. */
const IN_VAIN_MS = 10_000;

/** samples → demand → forecast → plan, for every component. Missing samples hold the last plan. */
export function plan(
  state: ClusterState,
  observed: Observed,
  memory: PlannerState,
  nowMs: number,
  options: PlanOptions = {},
): { state: ClusterState; memory: PlannerState } {
  const pace = { stepSeconds: STEP_SECONDS, startSeconds: PROVISION_SECONDS, ...options };
  const targets: { app: string; component: string; target: Target }[] = [];
  const memories: Record<string, ComponentMemory> = {};
  for (const [app, record] of Object.entries(state.apps)) {
    for (const [name, component] of Object.entries(record.manifest.components)) {
      const key = componentKey(app, name);
      const known = own(memory, key);
      const start = startOf(known, component.seasonSeconds ?? 0, pace.stepSeconds);
      const looked = lookAt(start, instancesOf(state, app, name), observed);
      const planned = decide(state, app, name, component, looked, nowMs, pace);
      memories[key] = planned.memory;
      if (planned.target !== null && modeOf(state, app, name).mode === 'act')
        targets.push({ app, component: name, target: planned.target });
    }
  }
  return { state: setTargets(state, targets), memory: memories };
}

/** Notes that a component without instances was called. */
export function noteCalledInVain(memory: PlannerState, key: string, nowMs: number): PlannerState {
  const known = own(memory, key);
  return known === undefined ? memory : { ...memory, [key]: { ...known, calledInVainMs: nowMs } };
}

/** One line for people on the last decision; made only when asked. */
export function reasonOf(memory: ComponentMemory | undefined): string {
  const explanation = memory?.explanation ?? null;
  return explanation === null ? 'waiting for the first samples' : summary(explanation);
}

/** Points from one step ahead to the horizon. */
export function forecastView(memory: ComponentMemory, horizonSeconds: number, nowMs: number): ForecastView {
  const { stepSeconds } = memory;
  const points = forecastDemand(memory.forecaster, horizonSeconds).map((point, index) => ({
    atMs: nowMs + (index + 1) * stepSeconds * 1000,
    ...point,
  }));
  return { horizonSeconds, model: demandModelName(memory.forecaster), points };
}

/** What is known, with a new forecaster when the season or the length of a tick is another one. */
function startOf(known: ComponentMemory | undefined, seasonSeconds: number, stepSeconds: number): ComponentMemory {
  if (known?.seasonSeconds === seasonSeconds && known.stepSeconds === stepSeconds) return known;
  const forecaster = createDemandForecaster({ seasonSeconds, stepSeconds });
  return {
    history: EMPTY_HISTORY,
    model: NEW_MODEL,
    explanation: null,
    demand: NO_DEMAND,
    latencyMs: null,
    recentBuckets: [],
    samples: [],
    calledInVainMs: null,
    ...known,
    seasonSeconds,
    stepSeconds,
    forecaster,
  };
}

/** Takes in new samples. The demand stays as it was when no instance sent a new one. */
function lookAt(
  memory: ComponentMemory,
  instances: readonly InstanceRecord[],
  observed: Observed,
): ComponentMemory & { sampled: boolean } {
  const samples: Sampled[] = [];
  const demand = noDemand();
  let sampled = false;
  for (const instance of instances) {
    const seen = seenOf(observed, instance);
    const sample = seen?.status.sample;
    if (seen === undefined || sample === undefined) continue;
    const { id } = instance;
    // Mostly it is at the same place as the last time.
    const likely = memory.samples[samples.length];
    const before = likely?.id === id ? likely : memory.samples.find((each) => each.id === id);
    if (before !== undefined && seen.atMs <= before.atMs) {
      samples.push(before);
      continue;
    }
    let cpuUsed = 0;
    if (before !== undefined) {
      cpuUsed = addBetween(demand, before.sample, sample, (seen.atMs - before.atMs) / 1000);
      sampled = true;
    }
    samples.push({ id, sample, atMs: seen.atMs, cpuUsed });
  }
  if (!sampled) return { ...memory, samples, sampled };
  const latencySteps = Math.max(1, Math.round(LATENCY_SECONDS / memory.stepSeconds));
  const recentBuckets = [...memory.recentBuckets, demand.latencyBuckets].slice(-latencySteps);
  const latencyMs = latencyOf(sumOf(recentBuckets));
  return { ...memory, samples, demand, recentBuckets, latencyMs, sampled };
}

function decide(
  state: ClusterState,
  app: string,
  name: string,
  component: Component,
  looked: ComponentMemory & { sampled: boolean },
  nowMs: number,
  { stepSeconds, startSeconds }: Required<PlanOptions>,
): { target: Target | null; memory: ComponentMemory } {
  const { sampled, ...memory } = looked;
  const key = componentKey(app, name);
  const target = own(state.targets, key);
  if (target === undefined) return { target: null, memory };
  const calledInVain = memory.calledInVainMs !== null && nowMs - memory.calledInVainMs < IN_VAIN_MS;
  // At zero there is nothing that could send samples, so zero demand is then a fact and not a gap.
  const resting = wantedCount(state, app, name) === 0 && instancesOf(state, app, name).length === 0;
  if (!sampled && !resting) {
    return { target: null, memory: { ...memory, forecaster: observeDemand(memory.forecaster, null) } };
  }
  const demand = resting ? NO_DEMAND : memory.demand;
  const forecaster = observeDemand(memory.forecaster, demand.cpu);
  const ahead = forecastDemand(forecaster, Math.max(startSeconds, stepSeconds));
  const planned = planComponent({
    component,
    nowMs,
    demandCpu: demand.cpu,
    forecastUpperCpu: Math.max(0, ...ahead.map((point) => point.upper)),
    requestsPerSecond: demand.requestsPerSecond,
    outstanding: Math.max(demand.outstanding, calledInVain ? 1 : 0),
    latencyMs: latencyFor(component, memory),
    // By the plan, not by what runs: what is on its way up or down has been decided already.
    current: { count: wantedCount(state, app, name), size: target.size },
    memoryUsedMax: demand.memoryBytes,
    history: memory.history.needs.length > 0 ? memory.history : holding(target, nowMs),
    model: memory.model,
    stepSeconds,
    startSeconds,
    downWindowMs: calmWindowMs(memory.seasonSeconds),
  });
  return {
    target: { count: planned.count, size: planned.size },
    memory: {
      ...memory,
      demand,
      forecaster,
      history: planned.history,
      model: planned.model,
      explanation: planned.explanation,
    },
  };
}

/** Nothing shrinks before so long a calm: a tenth of the season where one is known, so that short cycles are followed. */
function calmWindowMs(seasonSeconds: number): number {
  if (seasonSeconds === 0) return CALM_MS_MAX;
  return Math.min(CALM_MS_MAX, Math.max(CALM_MS_MIN, seasonSeconds * 100));
}

/**
 * A history in which the present plan was just needed: an app that has only started, and a coordinator that has only
 * started, wait out the calm window before anything shrinks.
 */
function holding({ count, size }: Target, nowMs: number): PlanHistory {
  if (count === 0) return EMPTY_HISTORY;
  return { needs: [{ atMs: nowMs - 1, cpu: count * size.cpu, count }], memory: [] };
}

function latencyFor(component: Component, memory: ComponentMemory) {
  if (memory.latencyMs === null || component.objective.kind !== 'latency') return memory.latencyMs;
  const objective = percentileMs(sumOf(memory.recentBuckets), component.objective.percentile);
  return objective === null ? memory.latencyMs : { ...memory.latencyMs, objective };
}

function sumOf(buckets: readonly number[][]): number[] {
  const sum = (buckets[0] ?? []).slice();
  for (const each of buckets.slice(1)) {
    for (let i = 0; i < sum.length; i += 1) sum[i] = (sum[i] ?? 0) + (each[i] ?? 0);
  }
  return sum;
}
