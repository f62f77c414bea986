import { LIMITS } from '../protocol/limits.js';
import { type Component, type Manifest, PRIORITY_DEFAULT } from '../protocol/manifest.js';
import { announcedCpu, announcedIn, isBlurred } from './announced.js';
import { CPU_OVERCOMMIT } from './brain/allotted.js';
import { shareBudget } from './brain/budget.js';
import { callersFirst, callersOf, learnRatios, ratioOf } from './brain/call-graph.js';
import type { ComponentModel } from './brain/component-model.js';
import { copyDemand, type Demand, NO_DEMAND } from './brain/demand.js';
import { AT, atMsOf, shapeAfter } from './brain/explanation-row.js';
import {
  type DemandForecaster,
  type ForecastPoint,
  factorAt,
  forecastDemand,
  type KnownEvent,
  observeDemand,
} from './brain/forecast/index.js';
import { leadOver, noteAccuracy } from './brain/forecast-accuracy.js';
import { highestHeld, hold } from './brain/held.js';
import { percentileMs, tailMs } from './brain/latency.js';
import { clamp } from './brain/need.js';
import { type Seen, sense } from './brain/sense.js';
import {
  type DemandAhead,
  leadSecondsOf,
  learnForecast,
  newHistory,
  noteNeeds,
  type Plan,
  type PlanHistory,
  type PlanInput,
  planComponent,
} from './brain/sharding.js';
import { startAhead } from './brain/start-time.js';
import { type CalleeTime, isTimeKnown, learnTime, meanMs, timeUse } from './brain/time-use.js';
import { POOL_SECONDS, poolSize } from './brain/warm-pool.js';
import { type ClusterState, componentKey, isSameTarget, own, planModeOf, setTargets, type Target } from './cluster.js';
import type { ComponentSums } from './component-sums.js';
import { HostRooms } from './host-rooms.js';
import type { InstanceRecord } from './instance-table.js';
import { type Ready, silentComponents, takeIn } from './intake.js';
import { interned } from './interned.js';
import { type Observed, usableHosts } from './observed.js';
import { type ComponentMemory, keepPace, newMemory, type Pace, type PlannerMemory } from './planner-memory.js';
import { noteRefusal, type RefusedResize, refusedCpuOf } from './refused-resize.js';
import { learnStarts } from './starts-seen.js';

const STEP_SECONDS = LIMITS.heartbeatMs / 1000;
/** Of the live loop. Whoever drives `plan` on another clock says so. */
export const PACE: Pace = { stepSeconds: STEP_SECONDS };
/** Handing over the state shards of an instance is worth so many seconds of all of its CPU. */
const HANDOVER_SECONDS = 30;
const NOBODY: Ready = { count: 0, cpu: 0 };
/** After a call in vain, demand counts as present for so long. */
const IN_VAIN_MS = 10_000;
const NO_RATES: ReadonlyMap<string, number> = new Map();
const NO_CALLEES: readonly CalleeTime[] = [];

/** samples → demand → forecast → plan, for every component. Missing samples hold the last plan. Changes the memory. */
export function plan(
  state: ClusterState,
  observed: Observed,
  memory: PlannerMemory,
  nowMs: number,
  pace: Partial<Pace> = {},
): ClusterState {
  const silent = silentComponents(observed, nowMs);
  const rooms = new HostRooms((name) => state.instances.byHost.get(name) ?? [], observed);
  const tick: Tick = {
    state,
    observed,
    memory,
    nowMs,
    ...PACE,
    ...pace,
    capacity: capacityOf(observed),
    silent,
    rooms,
    points: [],
  };
  const targets: { key: string; component: Component; target: Target }[] = [];
  let count = 0;
  for (const [app, { manifest }] of Object.entries(state.apps)) {
    for (const decision of decideApp(app, manifest, tick)) {
      count += 1;
      const { node, plan: planned, input } = decision;
      if (planned === null || input === null) continue;
      noteNeeds(decision.memory.history, planned, input);
      if (!decision.acts) continue;
      const { key, component } = node;
      const target = withPool(decision, planned, input, tick);
      // Few change, and what is kept here outlives the tick's young objects.
      if (!isSameTarget(state.targets[key], target)) targets.push({ key, component, target });
    }
  }
  if (memory.size > count) forgetOthers(memory, state);
  return setTargets(state, targets);
}

/** More wait at once when more may be needed, and fewer when that was so for a while: each costs its start. */
function withPool({ node, memory }: Decision, planned: Plan, input: PlanInput, { nowMs, capacity }: Tick): Target {
  const { warm = 0, warmMin } = node.component;
  const { forecast } = input;
  // Most have none, and the plan itself then does.
  if (warmMin === undefined || forecast === undefined) return planned;
  const { count, size, why } = planned;
  const utilisation = why[AT.utilisation] as number;
  const inAll = poolSize({ count, cpu: size.cpu, utilisation, highestCpu: forecast.highestWithin(POOL_SECONDS) });
  const sinceMs = nowMs - POOL_SECONDS * 1_000;
  hold(memory.pool, nowMs, clamp(Math.ceil(inAll / (capacity?.hosts ?? 1)), warmMin, warm), sinceMs);
  return { count, size, warm: highestHeld(memory.pool, sinceMs, nowMs) };
}

/** Components that are no more. */
function forgetOthers(memory: PlannerMemory, { apps }: ClusterState): void {
  const alive = new Set(Object.values(apps).flatMap(({ manifest }) => graphOf(manifest).map(({ key }) => key)));
  for (const key of memory.keys()) if (!alive.has(key)) memory.delete(key);
}

/** What holds for all components in one tick. */
interface Tick extends Pace {
  state: ClusterState;
  observed: Observed;
  memory: PlannerMemory;
  nowMs: number;
  capacity: { shared: Capacity; own: Capacity; hosts: number } | null;
  silent: ReadonlySet<ComponentSums>;
  rooms: HostRooms;
  /** Of the component that is planned, used again by the next one. */
  points: ForecastPoint[];
}

interface Decision {
  node: Node;
  memory: ComponentMemory;
  /** Null: nothing is known that could be planned by, so all stays as it is. */
  plan: Plan | null;
  input: PlanInput | null;
  /** The plan is carried out, and not only told of. */
  acts: boolean;
}

/** Requests that a component gets, and how many more it is foreseen to get. */
interface Calling {
  perSecond: number;
  growthPerSecond: number;
}

/** The app's components, callers first, so that what they foresee reaches those they call within the tick. */
function decideApp(app: string, manifest: Manifest, tick: Tick): Decision[] {
  const calling = new Map<string, Calling>();
  const decisions: Decision[] = [];
  for (const node of graphOf(manifest)) {
    const { name, key, component } = node;
    let memory = tick.memory.get(key);
    if (memory === undefined) {
      memory = newMemory(component.seasonSeconds ?? 0, tick);
      tick.memory.set(key, memory);
    }
    keepPace(memory, component.seasonSeconds ?? 0, tick);
    const decision = decide(app, node, memory, calling, tick);
    decisions.push(decision);
    if (!node.calls) continue;
    const costCpu = decision.input?.sensed.costs.costCpu ?? null;
    calling.set(name, {
      perSecond: memory.demand.requestsPerSecond,
      growthPerSecond: costCpu === null || decision.plan === null ? 0 : decision.plan.growthCpu / costCpu,
    });
  }
  return manifest.budget === undefined ? decisions : withinBudget(decisions, manifest.budget.cpu, tick);
}

function decide(
  app: string,
  node: Node,
  memory: ComponentMemory,
  calling: ReadonlyMap<string, Calling>,
  tick: Tick,
): Decision {
  const { key, component, callers } = node;
  const { state, observed, nowMs, stepSeconds, capacity } = tick;
  const { model, forecaster } = memory;
  const sums = observed.components.get(key);
  const instances = state.instances.byComponent.get(key);
  model.starts = learnStarts(model.starts, sums, instances, observed);
  const taken = takeIn(sums, memory.demand, memory.latencies, tick.silent);
  const { ready } = taken;
  // No name of a property that all objects have has a slash in it, as keys of components do.
  const target = state.targets[key];
  if (target === undefined) return { node, memory, plan: null, input: null, acts: false };
  const calledInVain = memory.calledInVainMs !== null && nowMs - memory.calledInVainMs < IN_VAIN_MS;
  // At zero there is nothing that could send samples, so zero demand is then a fact and not a gap.
  const wanted = own(state.overrides, key) ?? target.count;
  const resting = instances === undefined && wanted === 0;
  if (ready === null && !resting) {
    noteAccuracy(memory.accuracy, null, []);
    observeDemand(forecaster, null);
    return { node, memory, plan: null, input: null, acts: false };
  }
  if (resting) copyDemand(NO_DEMAND, memory.demand);
  const { demand } = memory;
  learnRatios(model.calls, demand.requestsPerSecond, ratesOf(callers, calling), stepSeconds);
  const { cpu, finishedPerSecond } = demand;
  learnTime(memory.time, { cpu, cpuWait: taken.cpuWait, finishedPerSecond }, stepSeconds);
  const seen: Seen = {
    component,
    nowMs,
    stepSeconds,
    usedCpu: demand.cpu,
    arrivedPerSecond: demand.requestsPerSecond,
    finishedPerSecond: demand.finishedPerSecond,
    outstanding: Math.max(demand.outstanding, calledInVain ? 1 : 0),
    latencyMs: latencyFor(component, memory),
    latencyCalls: memory.latencies.calls,
    time: isTimeKnown(memory.time)
      ? timeUse(memory.time, meanMs(memory.latencies.sum), calleeTimes(app, node, tick))
      : null,
    ready: ready ?? NOBODY,
  };
  const sensed = sense(model, seen);
  const start = startAhead(model.starts, capacity?.hosts ?? 0);
  const leadSeconds = leadSecondsOf(start, stepSeconds);
  const announced = announcedIn(own(state.knownEvents, key), nowMs, nowMs + leadSeconds * 1000);
  const learnt = isBlurred(announced, nowMs) ? null : sensed.demandCpu;
  observeDemand(forecaster, learnt, factorAt(announced.factors, nowMs));
  const near = forecastDemand(forecaster, leadSeconds, { events: announced.factors, nowMs }, tick.points);
  leadOver(memory.accuracy, near.length);
  noteAccuracy(memory.accuracy, sensed.demandCpu, near);
  const forecast = new Ahead(near, forecaster, announced.factors, nowMs);
  learnForecast(model, forecast, { component, stepSeconds, demandCpu: sensed.demandCpu, leadSeconds });
  const { costCpu } = sensed.costs;
  const readyFor = announcedCpu(announced, near, nowMs, stepSeconds, costCpu ?? costNow(demand));
  const acts = planModeOf(state, app, key, component) === 'act';
  const isObserved = !acts;
  const before = shapeBefore(isObserved, { count: wanted, size: target.size }, memory);
  noteRefusal(memory.refused, seen.ready, instances, before.size.cpu, nowMs);
  if (memory.history.counts.length === 0) memory.history = holding(before, nowMs);
  const input: PlanInput = {
    component,
    nowMs,
    seen,
    sensed,
    current: before,
    memoryUsedMax: demand.memoryBytes,
    history: memory.history,
    start,
    forecast,
    // What is announced is believed as what callers are about to ask for.
    calledForCpu: Math.max(calledFor(callers, calling, model, costCpu), readyFor - sensed.demandCpu),
    lost: taken.lost,
    budgetCpu: component.budget?.cpu,
    capacity: component.exclusive === true ? capacity?.own : capacity?.shared,
    startCostCpu: component.state === 'partitioned' ? HANDOVER_SECONDS * component.size.cpu.max : 0,
  };
  const roomy = planComponent(input, memory.decision);
  const reachCpu = isObserved ? null : reachFor(roomy, input, instances, memory.refused, tick);
  if (reachCpu === null) return { node, memory, plan: roomy, input, acts };
  const held = { ...input, reachCpu };
  return { node, memory, plan: planComponent(held, memory.decision), input: held, acts };
}

/** What the calls that one request makes take at those that are called, on average and as last seen. */
function calleeTimes(app: string, { name, component }: Node, { memory }: Tick): readonly CalleeTime[] {
  if (component.calls.length === 0) return NO_CALLEES;
  const times: CalleeTime[] = [];
  for (const callee of component.calls) {
    const its = memory.get(componentKey(app, callee));
    if (its !== undefined)
      times.push({ callee, ms: ratioOf(its.model.calls, name) * (meanMs(its.latencies.sum) ?? 0) });
  }
  return times;
}

function ratesOf(callers: readonly string[], calling: ReadonlyMap<string, Calling>): ReadonlyMap<string, number> {
  if (callers.length === 0) return NO_RATES;
  const rates = new Map<string, number>();
  for (const caller of callers) {
    const its = calling.get(caller);
    if (its !== undefined) rates.set(caller, its.perSecond);
  }
  return rates;
}

/**
 * By the plan, not by what runs: what is on its way up or down has been decided already. A component that is only
 * observed goes on from what its last plan would have made of it.
 */
function shapeBefore(isObserved: boolean, wanted: Target, { decision }: ComponentMemory): Target {
  return isObserved && !Number.isNaN(atMsOf(decision)) ? shapeAfter(decision) : wanted;
}

/**
 * Cores that each of the instances can have, where that holds the plan: the host has no room for the planned size, or
 * could not do a resize. It follows from what is stored and seen, so that it lasts as long as its cause. Null: it holds nothing.
 */
function reachFor(
  { size: { cpu } }: Plan,
  { current, seen: { ready } }: PlanInput,
  instances: readonly InstanceRecord[] | undefined,
  refused: RefusedResize,
  { rooms, nowMs }: Tick,
): number[] | null {
  const refusedCpu = refusedCpuOf(refused, nowMs);
  if (instances === undefined) return null;
  // None has more than was planned, so that all have it where the mean is that: most components, and no instance is looked at.
  const allAsPlanned = ready.count === instances.length && ready.cpu >= ready.count * current.size.cpu * (1 - 1e-6);
  if (refusedCpu >= cpu && allAsPlanned && cpu <= current.size.cpu) return null;
  const staying = instances.filter((each) => each.draining === undefined);
  const reach = rooms.reachOf(staying).map((each) => Math.min(each, refusedCpu));
  return reach.every((each) => each >= cpu) ? null : reach;
}

function calledFor(
  callers: readonly string[],
  calling: ReadonlyMap<string, Calling>,
  { calls }: ComponentModel,
  costCpu: number | null,
): number {
  if (costCpu === null) return 0;
  let perSecond = 0;
  for (const caller of callers) perSecond += ratioOf(calls, caller) * (calling.get(caller)?.growthPerSecond ?? 0);
  return perSecond * costCpu;
}

class Ahead implements DemandAhead {
  readonly nextCpu: number;
  readonly leadCpu: number;

  constructor(
    near: readonly ForecastPoint[],
    private readonly forecaster: DemandForecaster,
    private readonly events: readonly KnownEvent[],
    private readonly nowMs: number,
  ) {
    this.nextCpu = near[0]?.mean ?? 0;
    this.leadCpu = highestOf(near);
  }

  highestWithin(seconds: number): number {
    const { forecaster, events, nowMs } = this;
    return highestOf(forecastDemand(forecaster, seconds, { events, nowMs }));
  }
}

function highestOf(points: readonly ForecastPoint[]): number {
  let highest = 0;
  for (const { mean } of points) highest = Math.max(highest, mean);
  return highest;
}

/** CPU-seconds of one request as it is now; null if unknown. */
function costNow({ cpu, requestsPerSecond }: Demand): number | null {
  return requestsPerSecond > 0 ? cpu / requestsPerSecond : null;
}

/** Plans anew, with less, those components that the app's budget cuts. */
function withinBudget(decisions: readonly Decision[], budgetCpu: number, { state }: Tick): Decision[] {
  const claims = decisions.map(({ node: { name, key, component }, plan: planned }) => {
    const held = planned ?? own(state.targets, key);
    const wanted = held === undefined ? 0 : held.count * held.size.cpu;
    const least = planned === null ? wanted : component.count.min * component.size.cpu.min;
    return { name, priority: component.priority ?? PRIORITY_DEFAULT, least, wanted };
  });
  const cuts = shareBudget(claims, budgetCpu);
  return decisions.map((decision) => {
    const cut = cuts.get(decision.node.name);
    if (cut === undefined || decision.input === null) return decision;
    const own = decision.input.budgetCpu ?? Number.POSITIVE_INFINITY;
    const input = { ...decision.input, budgetCpu: Math.min(own, cut) };
    return { ...decision, plan: planComponent(input, decision.memory.decision) };
  });
}

/** Cores for all instances of a component, and for one. */
interface Capacity {
  cpu: number;
  instanceCpu: number;
}

/** What the hosts that may take instances can give; null before any is there. */
function capacityOf(observed: Observed): Tick['capacity'] {
  const hosts = usableHosts(observed);
  if (hosts.length === 0) return null;
  const sum = (of: readonly number[]) => of.reduce((total, each) => total + each, 0);
  const [cores, own] = [hosts.map(({ info }) => info.cores), hosts.map(({ info }) => info.ownCores ?? 0)];
  return {
    shared: { cpu: sum(cores) * CPU_OVERCOMMIT, instanceCpu: Math.max(...cores) },
    own: { cpu: sum(own), instanceCpu: Math.max(...own) },
    hosts: hosts.length,
  };
}

/** A component of an app's call graph. */
interface Node {
  name: string;
  key: string;
  component: Component;
  /** Names of those that may call it. */
  callers: readonly string[];
  /** It calls others. */
  calls: boolean;
}

/** Callers first. Changes only with the manifest. */
const graphs = new WeakMap<Manifest, readonly Node[]>();

function graphOf(manifest: Manifest): readonly Node[] {
  let nodes = graphs.get(manifest);
  if (nodes === undefined) {
    const { app, components } = manifest;
    const callers = callersOf(components);
    nodes = callersFirst(components).map((name): Node => {
      const component = components[name] as Component;
      const calls = component.calls.length > 0;
      return { name, key: interned(componentKey(app, name)), component, callers: callers.get(name) ?? [], calls };
    });
    graphs.set(manifest, nodes);
  }
  return nodes;
}

/**
 * A history in which the present plan was just needed: an app that has only started, and a coordinator that has only
 * started, wait out the calm before anything shrinks.
 */
function holding({ count, size }: Target, nowMs: number): PlanHistory {
  if (count === 0) return newHistory();
  const atMs = nowMs - 1;
  return { needs: [atMs, count * size.cpu], counts: [atMs, count], memory: [], workedAtMs: atMs };
}

/** At the percentile of the objective. */
function latencyFor({ objective }: Component, { latencies }: ComponentMemory): number | null {
  if (objective.kind !== 'latency') return percentileMs(latencies.sum, 99);
  return tailMs(latencies.sum, objective.percentile);
}
