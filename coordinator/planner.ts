import type { ForecastView } from '../protocol/http.js';
import { LIMITS } from '../protocol/limits.js';
import { type Component, type Manifest, PRIORITY_DEFAULT } from '../protocol/manifest.js';
import { type Announced, announcedCpu, announcedIn, learnable } from './announced.js';
import { shareBudget } from './brain/budget.js';
import { callersFirst, callersOf, learnRatios, ratioOf } from './brain/call-graph.js';
import { type ComponentModel, learnedCosts, NEW_MODEL } from './brain/component-model.js';
import { type Demand, NO_DEMAND } from './brain/demand.js';
import type { Explanation } from './brain/explanation.js';
import { summary } from './brain/explanation-words.js';
import {
  createDemandForecaster,
  type DemandForecaster,
  demandModelName,
  type ForecastInterval,
  type ForecastPoint,
  forecastDemand,
  forecastPath,
  observeDemand,
} from './brain/forecast/index.js';
import { type ForecastAccuracy, type HorizonAccuracy, newAccuracy, noteAccuracy } from './brain/forecast-accuracy.js';
import { latencyOf, percentileMs } from './brain/latency.js';
import type { LatencyWindow } from './brain/latency-window.js';
import { CPU_OVERCOMMIT } from './brain/placement.js';
import { type Seen, sense } from './brain/sense.js';
import {
  type DemandAhead,
  EMPTY_HISTORY,
  type Plan,
  type PlanHistory,
  type PlanInput,
  planComponent,
} from './brain/sharding.js';
import {
  type ClusterState,
  componentKey,
  instancesOf,
  modeOf,
  own,
  setTargets,
  type Target,
  wantedCount,
} from './cluster.js';
import type { ComponentSums } from './component-sums.js';
import { createLatencyWindow, type Intake, type Ready, silentComponents, takeIn } from './intake.js';
import type { KnownEventRecord } from './known-events.js';
import { isUsable, type Observed } from './observed.js';

/** What the planner remembers of each component between two seconds; by component key. What was learned is stored by
 * learned.ts, the rest is seen anew after a restart. */
export type PlannerState = Readonly<Record<string, ComponentMemory>>;

export interface ComponentMemory {
  /** The season in the component's manifest entry and the length of a tick that the forecaster was made for. */
  seasonSeconds: number;
  stepSeconds: number;
  forecaster: DemandForecaster;
  /** Of its forecasts. */
  accuracy: ForecastAccuracy;
  history: PlanHistory;
  model: ComponentModel;
  /** Of the last decision; null before the first. */
  explanation: Explanation | null;
  demand: Demand;
  latencyMs: { p50: number; p99: number } | null;
  latencies: LatencyWindow;
  /** When an instance asked in vain for this component; keeps it from staying at zero. */
  calledInVainMs: number | null;
  /** For so many ticks the instances have had less than the planned size. */
  shortTicks: number;
}

export interface PlanOptions {
  /** Length of a tick: the live loop's second unless told. Whoever drives `plan` on another clock says so here. */
  stepSeconds?: number;
  /** Seconds from a decision until a new instance serves; PROVISION_SECONDS unless told. */
  startSeconds?: number;
}

const STEP_SECONDS = LIMITS.heartbeatMs / 1000;
/** A new instance serves within this time; the forecast is provisioned for so far ahead. */
export const PROVISION_SECONDS = 5;
const PACE: Required<PlanOptions> = { stepSeconds: STEP_SECONDS, startSeconds: PROVISION_SECONDS };
/** `lower` and `upper` of a forecast's points are its quantiles at 5 and 95 %. */
const INTERVAL_LEVEL = 0.9;
const LEVELS = [0.8, 0.95];
/** Handing over the state shards of an instance is worth so many seconds of all of its CPU. */
const HANDOVER_SECONDS = 30;
/** Instances that have less than this share of the planned size for so many ticks will not get it soon. */
const SHORT_SHARE = 0.95;
const SHORT_TICKS = 5;
const NOBODY: Ready = { count: 0, cpu: 0 };
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
  const pace = { ...PACE, ...options };
  const silent = silentComponents(observed, nowMs);
  const tick: Tick = { state, observed, nowMs, ...pace, capacity: capacityOf(observed), silent };
  const targets: { app: string; component: string; target: Target }[] = [];
  const memories: Record<string, ComponentMemory> = {};
  for (const [app, record] of Object.entries(state.apps)) {
    for (const decision of decideApp(app, record.manifest, memory, tick)) {
      const { name, plan: planned } = decision;
      const key = componentKey(app, name);
      memories[key] = planned === null ? decision.memory : afterPlan(decision.memory, planned);
      if (planned === null || modeOf(state, app, name).mode !== 'act') continue;
      targets.push({ app, component: name, target: { count: planned.count, size: planned.size } });
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

/** Points from one step ahead to the horizon, with what is announced by then; none of a component not looked at yet. */
export function forecastView(
  memory: ComponentMemory | undefined,
  horizonSeconds: number,
  nowMs: number,
  events: readonly KnownEventRecord[] = [],
): ForecastView {
  const { stepSeconds, accuracy, forecaster } = memory ?? startOf(undefined, 0, PACE);
  const { factors } = announcedIn(events, nowMs, nowMs + horizonSeconds * 1000);
  const points = memory === undefined ? [] : forecastDemand(forecaster, horizonSeconds, { events: factors, nowMs });
  const accuracyOf = ({ steps, compared, errorCpu, demandCpu, covered }: HorizonAccuracy) => {
    return { aheadSeconds: steps * stepSeconds, compared, errorCpu, demandCpu, coverage: covered };
  };
  return {
    horizonSeconds,
    model: demandModelName(forecaster),
    level: INTERVAL_LEVEL,
    points: points.map((point, index) => ({ atMs: nowMs + (index + 1) * stepSeconds * 1000, ...point })),
    accuracy: { step: accuracyOf(accuracy.step), lead: accuracyOf(accuracy.lead) },
  };
}

/** Intervals for people, at these levels. */
export function forecastIntervals(
  { forecaster }: ComponentMemory,
  horizonSeconds: number,
  nowMs: number,
  events: readonly KnownEventRecord[],
): ForecastInterval[] {
  const { factors } = announcedIn(events, nowMs, nowMs + horizonSeconds * 1000);
  return forecastPath(forecaster, horizonSeconds, LEVELS, { events: factors, nowMs }).intervals;
}

/** What is remembered of a component of which this was kept. */
export function restoredMemory(
  kept: Pick<ComponentMemory, 'seasonSeconds' | 'stepSeconds' | 'forecaster' | 'model'>,
): ComponentMemory {
  const { seasonSeconds, stepSeconds } = kept;
  return { ...startOf(undefined, seasonSeconds, { ...PACE, stepSeconds }), ...kept };
}

/** What is known, with a new forecaster when the season or the length of a tick is another one. */
function startOf(
  known: ComponentMemory | undefined,
  seasonSeconds: number,
  { stepSeconds, startSeconds }: Required<PlanOptions>,
): ComponentMemory {
  if (known?.seasonSeconds === seasonSeconds && known.stepSeconds === stepSeconds) return known;
  const forecaster = createDemandForecaster({ seasonSeconds, stepSeconds });
  return {
    history: EMPTY_HISTORY,
    model: NEW_MODEL,
    explanation: null,
    demand: NO_DEMAND,
    latencyMs: null,
    calledInVainMs: null,
    shortTicks: 0,
    ...known,
    seasonSeconds,
    stepSeconds,
    latencies: createLatencyWindow(stepSeconds),
    forecaster,
    accuracy: newAccuracy(Math.ceil(startSeconds / stepSeconds)),
  };
}

/** Takes in what the instances did. The demand stays as it was when none said anything new. */
function lookAt(memory: ComponentMemory, key: string, { observed, silent }: Tick): Looked {
  const { demand, ready, lost } = takeIn(observed.components.get(key), memory.latencies, silent);
  if (ready === null || ready.count === 0) return { memory, ready: null, lost };
  return { memory: { ...memory, demand, latencyMs: latencyOf(memory.latencies.sum) }, ready, lost };
}

interface Looked extends Pick<Intake, 'ready' | 'lost'> {
  memory: ComponentMemory;
}

/** What holds for all components in one tick. */
interface Tick extends Required<PlanOptions> {
  state: ClusterState;
  observed: Observed;
  nowMs: number;
  capacity: { cpu: number; instanceCpu: number } | null;
  silent: ReadonlySet<ComponentSums>;
}

interface Decision {
  name: string;
  memory: ComponentMemory;
  /** Null: nothing is known that could be planned by, so all stays as it is. */
  plan: Plan | null;
  input: PlanInput | null;
}

/** The app's components, callers first, so that what they foresee reaches those they call within the tick. */
function decideApp(app: string, manifest: Manifest, memory: PlannerState, tick: Tick): Decision[] {
  const { order, callers } = graphOf(manifest);
  const calling = new Map<string, Calling>();
  const decisions: Decision[] = [];
  for (const name of order) {
    const component = manifest.components[name];
    if (component === undefined) continue;
    const key = componentKey(app, name);
    const known = own(memory, key);
    const start = startOf(known, component.seasonSeconds ?? 0, tick);
    const looked = lookAt(start, key, tick);
    const inbound = new Map<string, Calling>();
    for (const caller of callers.get(name) ?? []) {
      const its = calling.get(caller);
      if (its !== undefined) inbound.set(caller, its);
    }
    const decision = decide(app, name, component, looked, inbound, tick);
    decisions.push(decision);
    const costCpu = decision.plan?.explanation.learned.costCpu ?? null;
    calling.set(name, {
      perSecond: decision.memory.demand.requestsPerSecond,
      growthPerSecond: costCpu === null || decision.plan === null ? 0 : decision.plan.growthCpu / costCpu,
    });
  }
  return manifest.budget === undefined ? decisions : withinBudget(app, manifest, decisions, manifest.budget.cpu, tick);
}

/** Requests that a component gets, and how many more it is foreseen to get. */
interface Calling {
  perSecond: number;
  growthPerSecond: number;
}

function decide(
  app: string,
  name: string,
  component: Component,
  looked: Looked,
  inbound: ReadonlyMap<string, Calling>,
  tick: Tick,
): Decision {
  const { state, nowMs, stepSeconds, startSeconds, capacity } = tick;
  const { memory, lost } = looked;
  const key = componentKey(app, name);
  const target = own(state.targets, key);
  if (target === undefined) return { name, memory, plan: null, input: null };
  const calledInVain = memory.calledInVainMs !== null && nowMs - memory.calledInVainMs < IN_VAIN_MS;
  // At zero there is nothing that could send samples, so zero demand is then a fact and not a gap.
  const resting = wantedCount(state, app, name) === 0 && instancesOf(state, app, name).length === 0;
  if (looked.ready === null && !resting) {
    noteAccuracy(memory.accuracy, null, []);
    const forecaster = observeDemand(memory.forecaster, null);
    return { name, memory: { ...memory, forecaster }, plan: null, input: null };
  }
  const demand = resting ? NO_DEMAND : memory.demand;
  const ready = looked.ready ?? NOBODY;
  const rates = new Map([...inbound].map(([caller, { perSecond }]) => [caller, perSecond]));
  const calls = learnRatios(memory.model.calls, demand.requestsPerSecond, rates, stepSeconds);
  const seen: Seen = {
    component,
    nowMs,
    stepSeconds,
    usedCpu: demand.cpu,
    arrivedPerSecond: demand.requestsPerSecond,
    finishedPerSecond: demand.finishedPerSecond,
    outstanding: Math.max(demand.outstanding, calledInVain ? 1 : 0),
    latencyMs: latencyFor(component, memory),
    ready,
  };
  const sensed = sense({ ...memory.model, calls }, seen);
  const leadSeconds = Math.max(startSeconds, stepSeconds);
  const announced = announcedIn(own(state.knownEvents, key), nowMs, nowMs + leadSeconds * 1000);
  const learnt = learnable(sensed.demandCpu, announced, nowMs);
  const forecaster = observeDemand(memory.forecaster, learnt.value, learnt.factor);
  const near = forecastDemand(forecaster, leadSeconds, { events: announced.factors, nowMs });
  noteAccuracy(memory.accuracy, sensed.demandCpu, near);
  const { costCpu } = learnedCosts(sensed.model);
  const readyFor = announcedCpu(announced, near, nowMs, stepSeconds, costCpu ?? costNow(demand));
  const before = shapeBefore(state, app, name, target, memory);
  const size = sizeReached(memory, before, ready);
  const input: PlanInput = {
    component,
    nowMs,
    seen,
    sensed,
    current: before,
    memoryUsedMax: demand.memoryBytes,
    history: memory.history.counts.length > 0 ? memory.history : holding(before, nowMs),
    startSeconds,
    forecast: aheadOf(forecaster, near, announced, nowMs),
    // What is announced is believed as what callers are about to ask for.
    calledForCpu: Math.max(calledFor(calls, inbound, sensed.model), readyFor - sensed.demandCpu),
    lost,
  };
  if (component.budget !== undefined) input.budgetCpu = component.budget.cpu;
  if (capacity !== null) input.capacity = capacity;
  if (size.limitCpu !== null) {
    const cpu = capacity?.cpu ?? Number.POSITIVE_INFINITY;
    input.capacity = { cpu, instanceCpu: Math.min(size.limitCpu, capacity?.instanceCpu ?? size.limitCpu) };
  }
  if (component.state === 'partitioned') input.startCostCpu = HANDOVER_SECONDS * component.size.cpu.max;
  const next = { ...memory, demand, forecaster, shortTicks: size.shortTicks };
  return { name, memory: next, plan: planComponent(input), input };
}

function afterPlan(memory: ComponentMemory, { history, model, explanation }: Plan): ComponentMemory {
  return { ...memory, history, model, explanation };
}

/**
 * By the plan, not by what runs: what is on its way up or down has been decided already. A component that is only
 * observed goes on from what its last plan would have made of it.
 */
function shapeBefore(state: ClusterState, app: string, name: string, target: Target, memory: ComponentMemory): Target {
  if (modeOf(state, app, name).mode === 'observe' && memory.explanation !== null) return memory.explanation.after;
  return { count: wantedCount(state, app, name), size: target.size };
}

/** A resize that a host could not do: after some ticks the plan goes on with the size that there really is. */
function sizeReached(memory: ComponentMemory, before: Target, ready: { count: number; cpu: number }) {
  const real = ready.count > 0 ? ready.cpu / ready.count : before.size.cpu;
  const short = ready.count > 0 && real < before.size.cpu * SHORT_SHARE;
  const shortTicks = short ? memory.shortTicks + 1 : 0;
  return { shortTicks, limitCpu: shortTicks > SHORT_TICKS ? real : null };
}

function calledFor(
  calls: ComponentMemory['model']['calls'],
  inbound: ReadonlyMap<string, Calling>,
  model: ComponentModel,
): number {
  const { costCpu } = learnedCosts(model);
  if (costCpu === null) return 0;
  let perSecond = 0;
  for (const [caller, { growthPerSecond }] of inbound) perSecond += ratioOf(calls, caller) * growthPerSecond;
  return perSecond * costCpu;
}

function aheadOf(
  forecaster: DemandForecaster,
  near: readonly ForecastPoint[],
  { factors }: Announced,
  nowMs: number,
): DemandAhead {
  const highest = (points: readonly ForecastPoint[]) => points.reduce((most, { mean }) => Math.max(most, mean), 0);
  return {
    nextCpu: near[0]?.mean ?? 0,
    leadCpu: highest(near),
    highestWithin: (seconds) => highest(forecastDemand(forecaster, seconds, { events: factors, nowMs })),
  };
}

/** CPU-seconds of one request as it is now; null if unknown. */
function costNow({ cpu, requestsPerSecond }: Demand): number | null {
  return requestsPerSecond > 0 ? cpu / requestsPerSecond : null;
}

/** Plans anew, with less, those components that the app's budget cuts. */
function withinBudget(
  app: string,
  manifest: Manifest,
  decisions: readonly Decision[],
  budgetCpu: number,
  { state }: Tick,
): Decision[] {
  const claims = decisions.map(({ name, plan: planned }) => {
    const component = manifest.components[name];
    const held = planned ?? own(state.targets, componentKey(app, name));
    const wanted = held === undefined ? 0 : held.count * held.size.cpu;
    const least = component === undefined || planned === null ? wanted : component.count.min * component.size.cpu.min;
    return { name, priority: component?.priority ?? PRIORITY_DEFAULT, least, wanted };
  });
  const cuts = shareBudget(claims, budgetCpu);
  return decisions.map((decision) => {
    const cut = cuts.get(decision.name);
    if (cut === undefined || decision.input === null) return decision;
    const own = decision.input.budgetCpu ?? Number.POSITIVE_INFINITY;
    return { ...decision, plan: planComponent({ ...decision.input, budgetCpu: Math.min(own, cut) }) };
  });
}

/** What the hosts that may take instances can give; null before any is there. */
function capacityOf(observed: Observed): Tick['capacity'] {
  let cpu = 0;
  let instanceCpu = 0;
  for (const host of observed.hosts.values()) {
    if (!isUsable(host)) continue;
    cpu += host.info.cores * CPU_OVERCOMMIT;
    instanceCpu = Math.max(instanceCpu, host.info.cores);
  }
  return cpu > 0 ? { cpu, instanceCpu } : null;
}

interface CallGraph {
  order: string[];
  callers: Map<string, string[]>;
}

/** Changes only with the manifest. */
const graphs = new WeakMap<Manifest, CallGraph>();

function graphOf(manifest: Manifest): CallGraph {
  let graph = graphs.get(manifest);
  if (graph === undefined) {
    graph = { order: callersFirst(manifest.components), callers: callersOf(manifest.components) };
    graphs.set(manifest, graph);
  }
  return graph;
}

/**
 * A history in which the present plan was just needed: an app that has only started, and a coordinator that has only
 * started, wait out the calm before anything shrinks.
 */
function holding({ count, size }: Target, nowMs: number): PlanHistory {
  if (count === 0) return EMPTY_HISTORY;
  const atMs = nowMs - 1;
  return { needs: [{ atMs, cpu: count * size.cpu }], counts: [{ atMs, count }], memory: [] };
}

/** At the percentile of the objective. */
function latencyFor({ objective }: Component, { latencyMs, latencies }: ComponentMemory): number | null {
  if (objective.kind !== 'latency') return latencyMs?.p99 ?? null;
  return latencyMs === null ? null : percentileMs(latencies.sum, objective.percentile);
}
