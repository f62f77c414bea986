import type { Size } from '../../protocol/link.js';
import type { Component } from '../../protocol/manifest.js';
import type { ComponentModel } from './component-model.js';
import type { Note } from './explanation.js';
import {
  AIM_BASES,
  AT,
  bitOf,
  DEMAND_BASES,
  hasNote,
  OBJECTIVES,
  PREDICTORS,
  type Row,
  START_KINDS,
  writeOption,
  writeShape,
  writeTime,
  writeWord,
} from './explanation-row.js';
import { forget, type Held, highestHeld, hold } from './held.js';
import { latencyAt, learnedCurve } from './latency-model.js';
import { leadMargin, learnLead, trustOf } from './lead-forecast.js';
import {
  type Aim,
  aimOf,
  clamp,
  countFor,
  cpuFor,
  type Load,
  levelFor,
  reachedCpu,
  sizeFor,
  utilisationOf,
} from './need.js';
import { foretoldBy, marginShare, noteForecast } from './next-demand.js';
import { coveredShare, finite, finiteBytes, type Seen, type Sensed } from './sense.js';
import type { StartAhead } from './start-time.js';
import { slowCause } from './time-use.js';

/**
 * Count and size of a component's instances, from what `sense` made of a tick. The size follows the demand of the next
 * tick, since a resize in place is nearly free; the count follows the demand at the time that a new instance takes to
 * serve, and falls only when what it holds has come to cost as much as making it anew would. Pure, but that why is written
 * into the row given: what it goes by is in `history` and the model, which `learnForecast` and `noteNeeds` change in place,
 * once a tick each.
 */
export interface PlanInput {
  component: Component;
  nowMs: number;
  seen: Seen;
  sensed: Sensed;
  /** What is planned for now. */
  current: { count: number; size: Size };
  /** Bytes: the largest use of any instance now; 0 when unknown. */
  memoryUsedMax: number;
  history: PlanHistory;
  /** Until a new instance serves. */
  start: StartAhead;
  /** Absent: there is no forecast. */
  forecast?: DemandAhead;
  /** Cores more than now that callers, which are about to grow, will ask for. */
  calledForCpu?: number;
  /** Some instances sent no sample for this tick: nothing may shrink. */
  lost?: boolean;
  /** Cores that the component may hold in all, by its own or its app's budget. */
  budgetCpu?: number | undefined;
  /** What the hosts can give: cores to the component in all, and cores to one instance. */
  capacity?: { cpu: number; instanceCpu: number } | undefined;
  /** Cores that each instance can have where it is, the one that goes last first; absent: as much as its size may be. */
  reachCpu?: readonly number[];
  /** A new instance is slow to come (state is handed over): cores × seconds that it costs. */
  startCostCpu?: number;
}

/** Forecast of the demand, in cores. */
export interface DemandAhead {
  /** Mean in the next tick. */
  nextCpu: number;
  /** Highest mean within the time that a new instance needs. */
  leadCpu: number;
  /** Highest mean within so many seconds; asked only when instances could go. */
  highestWithin(seconds: number): number;
}

/** Needs that still hold. Plain data, changed in place. */
export interface PlanHistory {
  /** Cores in all. */
  needs: Held;
  counts: Held;
  /** Bytes of one instance. */
  memory: Held;
  /** When it was last not idle; 0: never. */
  workedAtMs: number;
}

export function newHistory(): PlanHistory {
  return { needs: [], counts: [], memory: [], workedAtMs: 0 };
}

export interface Plan {
  count: number;
  size: Size;
  /** Cores that this plan foresees beyond the present demand, for those that are called from here. */
  growthCpu: number;
  /** As `readRow` tells. */
  why: Row;
}

/** The highest need of CPU of so long ago holds. Sizes grow again within a tick, so that little calm is enough. */
const CPU_CALM_SECONDS = 5;
/** A call that comes after so long without any may find the smallest size; the objective is judged by the minute. */
const IDLE_CALM_SECONDS = 60;
const NO_LOAD: Load = { cpu: 0, upperCpu: 0, floorCpu: 0 };
/**
 * A new instance serves dearer than the others for about so long: its code is not compiled yet, its caches are empty and it
 * has no connections. Who comes and goes costs that each time, however fast it starts.
 */
const WARM_UP_SECONDS = 10;
/** Instances are held at least and at most for so long; the last one at least for longer, since the next call would wait. */
const COUNT_CALM_SECONDS = { min: 10, max: 600, zero: 30 };
/** Memory shrinks far more slowly: a wrong guess kills. */
const MEMORY_WINDOW_MS = 300_000;
const MEMORY_HEADROOM = 1.3;
const MEMORY_HEADROOM_BYTES = 16 * 2 ** 20;
const MEMORY_STEP_BYTES = 4 * 2 ** 20;
/** Memory that is worth a core: machines are sold with 4 to 8 GiB for each. */
const BYTES_PER_CORE = 8 * 2 ** 30;
/** CPU that an instance burns without any work, before it has been learned, and at most. */
const IDLE_CPU = 0.02;
const IDLE_CPU_MAX = 0.1;
/** So much more than the learned idle CPU is still idle. */
const IDLE_SHARE = 1.25;
/** A forecast this far above idle keeps a component from zero, or wakes it. */
const FORECAST_CPU = 0.05;
const CPU_STEP = 0.01;
/** Fewer instances only if they then need at most this share of the largest size. */
const CONSOLIDATE_AT = 0.9;
/** A size this little below the present one is not worth a resize. */
const CPU_DEAD_BAND = 0.05;
const MEMORY_DEAD_BAND = 0.1;

/** `why` is written over. */
export function planComponent(input: PlanInput, why: Row): Plan {
  const { component, nowMs, seen, sensed, current } = input;
  const { stepSeconds } = seen;
  const leadSeconds = leadSecondsOf(input.start, stepSeconds);
  const { costCpu, idleCpu } = sensed.costs;
  const { model } = sensed;
  const { next } = model;
  const demandCpu = sensed.demandCpu;
  const trust = input.forecast === undefined ? 0 : trustOf(model.lead);

  // The next tick, and the time at which an instance made now would serve.
  const expected = foretoldBy(next);
  const marginAhead = marginShare(next.margin, expected);
  const calledFor = finite(input.calledForCpu ?? 0);
  const burst = next.burst;
  const soon: Load = {
    cpu: expected,
    upperCpu: Math.max(expected * (1 + marginAhead) + burst, demandCpu + calledFor),
    floorCpu: demandCpu + sensed.backlogCpu,
  };
  const foretold = input.forecast === undefined ? 0 : finite(input.forecast.leadCpu);
  const leadCpu = Math.max(expected, demandCpu + trust * Math.max(0, foretold - demandCpu));
  const lead: Load = {
    cpu: Math.max(leadCpu, demandCpu + calledFor),
    upperCpu: Math.max(soon.upperCpu, leadCpu * (1 + trust * leadMargin(model.lead, leadCpu))),
    floorCpu: soon.floorCpu,
  };

  const idle = isIdle(input, costCpu === null ? 0 : idleCpu, Math.max(expected, trust > 0 ? foretold : 0));
  const limits = limitsOf(input);
  const fitting = fittingSizes(component, limits.instanceCpu);
  const cause = slowCause(seen.time);
  const aim = aimOf(fitting, learnedCurve(model.latency, component.objective, costCpu), sensed.latencyMs, cause);
  if (input.reachCpu !== undefined) aim.reach = input.reachCpu;
  const outstanding = finite(seen.outstanding);
  const queueCount =
    component.objective.kind === 'queue' ? Math.max(1, Math.ceil(outstanding / component.objective.length)) : 1;
  const neededCount = idle ? 0 : Math.max(queueCount, countFor(aim, soon), countFor(aim, lead));

  // Instances: up at once, down when holding has cost as much as making anew.
  const holdCpu =
    Math.max(IDLE_CPU / 2, idleCpu) + current.size.memory / BYTES_PER_CORE + wasteOf(input, aim, soon, neededCount);
  const startCost = (input.start.seconds + WARM_UP_SECONDS) * component.size.cpu.max + finite(input.startCostCpu ?? 0);
  const calmMin = neededCount === 0 ? COUNT_CALM_SECONDS.zero : COUNT_CALM_SECONDS.min;
  const calmSeconds = clamp(startCost / holdCpu, calmMin, COUNT_CALM_SECONDS.max);
  const heldCount = Math.max(neededCount, highestHeld(input.history.counts, nowMs - calmSeconds * 1000, nowMs));
  const wanted = settle(input, aim, {
    neededCount,
    heldCount,
    calmSeconds,
    trust,
    soon,
    demandCpu,
    noise: next.margin.scale,
  });
  const count = clamp(wanted, limits.countMin, limits.countMax);

  // Size: of the next tick, for those instances that serve in it.
  // While others start or wait for room, those that serve carry it all.
  const serving = Math.max(1, seen.ready.count > 0 ? Math.min(count, Math.round(seen.ready.count)) : count);
  const nextMayCome = nowMs - input.history.workedAtMs < IDLE_CALM_SECONDS * 1000;
  const needCpu = idle ? (nextMayCome ? cpuFor(aim, NO_LOAD, serving) : 0) : cpuFor(aim, soon, serving);
  const heldCpu = Math.max(needCpu, highestHeld(input.history.needs, nowMs - cpuCalmMs(stepSeconds), nowMs));
  // Whole steps, so that the budget holds after rounding too.
  const step = cpuStepOf(component);
  const affordable = Math.floor(limits.cpu / Math.max(1, count) / step + 1e-6) * step;
  const most = clamp(Math.min(limits.instanceCpu, affordable), component.size.cpu.min, component.size.cpu.max);
  const cpu = planCpu(levelFor(aim, heldCpu, serving), most, count, input);
  const memory = planMemory(input);
  const size = { cpu, memory };

  let notes = 0;
  if (idle) notes |= bitOf('idle');
  if (input.lost === true) notes |= bitOf('lost-metrics');
  if (burst > 0) notes |= bitOf('burst');
  if (sensed.basis === 'saturated') notes |= bitOf('saturated');
  if (!idle && aim.basis === 'not-cpu') notes |= bitOf(cause === 'callees' ? 'slow-callees' : 'not-cpu');
  if (!idle && aim.basis === 'missed' && cause === 'cpu') notes |= bitOf('cpu-wait');
  if (heldCpu > needCpu || wanted > neededCount) notes |= bitOf('calm');
  if (wanted > limits.countMax) notes |= bitOf(limits.countNote);
  else if (wanted < limits.countMin) notes |= bitOf('count-min');
  if (count > 0 && heldCpu > reachedCpu(aim, most, serving) + 1e-9) {
    const byHosts = fitting !== component || reachedCpu(aim, most, serving) < serving * most;
    notes |= bitOf(affordable < limits.instanceCpu ? limits.cpuNote : byHosts ? 'capacity' : 'size-max');
  }

  const { objective } = component;
  const isLatency = objective.kind === 'latency';
  const hasForecast = input.forecast !== undefined;
  why[AT.atMs] = nowMs;
  why[AT.usedCpu] = finite(seen.usedCpu);
  why[AT.allottedCpu] = finite(seen.ready.cpu);
  why[AT.arrivedPerSecond] = finite(seen.arrivedPerSecond);
  why[AT.finishedPerSecond] = finite(seen.finishedPerSecond);
  why[AT.outstanding] = outstanding;
  why[AT.latencyMs] = sensed.latencyMs ?? Number.NaN;
  writeTime(why, seen.time);
  why[AT.costCpu] = costCpu ?? Number.NaN;
  why[AT.idleCpu] = idleCpu;
  why[AT.unqueuedMs] =
    aim.curve === null ? Number.NaN : latencyAt(aim.curve, { demandCpu: 0, count: 1, cpu: component.size.cpu.max });
  why[AT.startSeconds] = input.start.seconds;
  writeWord(why, AT.startKind, START_KINDS, input.start.kind);
  why[AT.startSeen] = input.start.seen;
  why[AT.demandCpu] = demandCpu;
  writeWord(why, AT.demandBasis, DEMAND_BASES, sensed.basis);
  why[AT.backlogCpu] = sensed.backlogCpu;
  why[AT.nextCpu] = soon.upperCpu;
  writeWord(why, AT.predictor, PREDICTORS, next.chosen);
  why[AT.marginShare] = marginAhead;
  why[AT.aheadSeconds] = hasForecast ? leadSeconds : Number.NaN;
  why[AT.aheadCpu] = hasForecast ? lead.upperCpu : Number.NaN;
  why[AT.trust] = hasForecast ? trust : Number.NaN;
  why[AT.utilisation] = utilisationOf(aim, soon, needCpu);
  writeWord(why, AT.aimBasis, AIM_BASES, aim.basis);
  writeWord(why, AT.objective, OBJECTIVES, objective.kind);
  why[AT.percentile] = isLatency ? objective.percentile : Number.NaN;
  why[AT.targetMs] = isLatency ? objective.targetMs : Number.NaN;
  why[AT.needCpu] = needCpu;
  why[AT.needCount] = neededCount;
  why[AT.heldCpu] = heldCpu;
  why[AT.calmSeconds] = calmSeconds;
  why[AT.notes] = notes;
  why[AT.chosen] = 0;
  writeShape(why, AT.before, current);
  const plan: Plan = { count, size, growthCpu: Math.max(0, lead.cpu - demandCpu), why };
  writeShape(why, AT.after, plan);
  const startCpu = startCost / calmSeconds;
  weigh(
    { aim, load: soon, current: current.count, chosen: plan, neededCount, holdCpu, startCpu },
    component.count,
    why,
  );
  return plan;
}

/** A plan has to do until what the next one starts will serve. */
export function leadSecondsOf(start: StartAhead, stepSeconds: number): number {
  return start.seconds + stepSeconds;
}

/** What the forecast says is remembered, to be held against what comes; once a tick, before the plan. */
export function learnForecast(
  model: ComponentModel,
  forecast: DemandAhead,
  {
    component,
    stepSeconds,
    demandCpu,
    leadSeconds,
  }: {
    component: Component;
    stepSeconds: number;
    demandCpu: number;
    leadSeconds: number;
  },
): void {
  const ticks = Math.ceil(leadSeconds / stepSeconds);
  noteForecast(model.next, finite(forecast.nextCpu));
  learnLead(model.lead, demandCpu, finite(forecast.leadCpu), ticks, coveredShare(component.objective));
}

/** What the plan found to be needed holds for a while; once a tick, of the plan that is gone by. */
export function noteNeeds(history: PlanHistory, { why }: Plan, input: PlanInput): void {
  const { nowMs, seen, memoryUsedMax } = input;
  if (!hasNote(why, 'idle')) history.workedAtMs = nowMs;
  hold(history.counts, nowMs, why[AT.needCount] as number, nowMs - (why[AT.calmSeconds] as number) * 1000);
  hold(history.needs, nowMs, why[AT.needCpu] as number, nowMs - cpuCalmMs(seen.stepSeconds));
  const used = finiteBytes(memoryUsedMax);
  const since = nowMs - MEMORY_WINDOW_MS;
  if (used > 0) hold(history.memory, nowMs, used, since);
  else forget(history.memory, since);
}

function cpuCalmMs(stepSeconds: number): number {
  return Math.max(CPU_CALM_SECONDS, 2 * stepSeconds) * 1000;
}

function isIdle({ seen, current }: PlanInput, idleCpu: number, expected: number): boolean {
  const instances = Math.max(1, current.count);
  const working = finite(seen.arrivedPerSecond) > 0 || finite(seen.outstanding) > 0;
  const idle = clamp(IDLE_SHARE * idleCpu, IDLE_CPU, IDLE_CPU_MAX) * instances;
  return !working && finite(seen.usedCpu) <= idle && expected <= Math.max(idle, FORECAST_CPU * instances);
}

interface Limits {
  countMin: number;
  countMax: number;
  countNote: Note;
  /** Cores for one instance, on the hosts that there are. */
  instanceCpu: number;
  /** Cores for all. */
  cpu: number;
  cpuNote: Note;
}

/** Of the manifest, the budget and the hosts, the tightest. The minimum of the manifest is kept whatever else says. */
function limitsOf({ component, budgetCpu, capacity, current }: PlanInput): Limits {
  const { count, size } = component;
  const budget = finiteOrMore(budgetCpu);
  const hosts = finiteOrMore(capacity?.cpu);
  const cpu = Math.max(count.min * size.cpu.min, Math.min(budget, hosts));
  const instanceCpu = clamp(finiteOrMore(capacity?.instanceCpu), size.cpu.min, size.cpu.max);
  const cpuNote = budget <= hosts ? 'budget' : 'capacity';
  // More than fill it at the largest size would only be smaller; those that are there need not go for that.
  const filling = component.objective.kind === 'queue' ? count.max : Math.max(current.count, cpuOver(cpu, instanceCpu));
  const affordable = Math.min(Math.floor(cpu / size.cpu.min + 1e-9), filling);
  const countMax = Math.max(count.min, Math.min(count.max, affordable));
  return {
    countMin: count.min,
    countMax,
    countNote: countMax === count.max ? 'count-max' : cpuNote,
    instanceCpu,
    cpu,
    cpuNote,
  };
}

function cpuOver(cpu: number, each: number): number {
  return Math.ceil(cpu / each - 1e-9);
}

function finiteOrMore(value: number | undefined): number {
  return value === undefined || Number.isNaN(value) ? Number.POSITIVE_INFINITY : Math.max(0, value);
}

/** Cores that each instance too many takes, since smaller ones are slower and no size is below the smallest. */
function wasteOf({ component, current }: PlanInput, aim: Aim, load: Load, neededCount: number): number {
  const fewest = clamp(neededCount, component.count.min, component.count.max);
  const surplus = current.count - fewest;
  if (surplus <= 0) return 0;
  return Math.max(0, heldBy(current.count, aim, load) - heldBy(fewest, aim, load)) / surplus;
}

/** Cores that so many instances would hold for the load. */
function heldBy(count: number, aim: Aim, load: Load): number {
  return count === 0 ? 0 : count * (sizeFor(aim, load, count) ?? aim.component.size.cpu.max);
}

function settle(
  { component, current, lost, forecast }: PlanInput,
  aim: Aim,
  facts: {
    neededCount: number;
    heldCount: number;
    calmSeconds: number;
    trust: number;
    soon: Load;
    demandCpu: number;
    noise: number;
  },
): number {
  const { neededCount, heldCount, calmSeconds, trust, soon, demandCpu, noise } = facts;
  const present = current.count;
  if (heldCount >= present) return heldCount;
  if (lost === true) return present;
  if (heldCount === 0) return 0;
  // What remains keeps room to grow in place, the more the noisier the demand.
  const room = Math.max(1 / CONSOLIDATE_AT, 1 + noise);
  const roomy: Load = { cpu: soon.cpu * room, upperCpu: soon.upperCpu * room, floorCpu: soon.floorCpu * room };
  let fewer = Math.min(present, Math.max(heldCount, countFor(aim, roomy)));
  if (fewer < present && trust > 0 && forecast !== undefined) {
    // Not let go what the forecast wants back before holding has cost as much.
    const highest = demandCpu + trust * Math.max(0, finite(forecast.highestWithin(calmSeconds)) - demandCpu);
    const scale = highest / Math.max(soon.cpu, 1e-9);
    if (scale > 1) {
      const later: Load = { cpu: highest, upperCpu: soon.upperCpu * scale, floorCpu: highest };
      fewer = clamp(countFor(aim, later), fewer, present);
    }
  }
  return Math.max(fewer, Math.min(neededCount, component.count.max));
}

/** How options are weighed against each other. */
interface Scales {
  aim: Aim;
  load: Load;
  current: number;
  chosen: Pick<Plan, 'count' | 'size'>;
  neededCount: number;
  holdCpu: number;
  startCpu: number;
}

/** Writes the count chosen, first, beside the fewest that would do and the present one. */
function weigh(scales: Scales, { min, max }: Component['count'], why: Row): void {
  const picked = clamp(scales.chosen.count, min, max);
  const present = clamp(scales.current, min, max);
  const fewest = clamp(scales.neededCount, min, max);
  let options = 0;
  weighOne(scales, picked, options++, why);
  if (present !== picked) weighOne(scales, present, options++, why);
  if (fewest !== picked && fewest !== present) weighOne(scales, fewest, options++, why);
}

function weighOne(scales: Scales, count: number, index: number, why: Row): void {
  const { aim, load, current, chosen, neededCount, holdCpu, startCpu } = scales;
  const needed = count === 0 ? 0 : sizeFor(aim, load, count);
  const cpu = count === chosen.count ? chosen.size.cpu : (needed ?? aim.component.size.cpu.max);
  const costCores = count * (cpu + holdCpu) + Math.max(0, count - current) * startCpu;
  writeOption(why, index, count, cpu, costCores, count >= Math.min(1, neededCount) && needed !== null);
}

/** Cores of its own are whole. */
function cpuStepOf({ exclusive }: Component): number {
  return exclusive === true ? 1 : CPU_STEP;
}

function planCpu(eachCpu: number, most: number, count: number, { component, current, lost }: PlanInput): number {
  const { min, max } = component.size.cpu;
  const present = current.size.cpu;
  const step = cpuStepOf(component);
  const wanted = clamp(Math.ceil(eachCpu / step - 1e-9) * step, min, most);
  // Without digits such as 0.30000000000000004, which people would have to read.
  const rounded = clamp(Math.round(wanted * 1e4) / 1e4, min, max);
  // Of one that wakes nothing is known, and it has a start to make.
  if (current.count === 0 && count > 0) return most;
  const fits = current.count > 0 && present >= rounded && present <= most + 1e-9;
  if (fits && (lost === true || rounded >= present * (1 - CPU_DEAD_BAND))) return present;
  return rounded;
}

/** The component without sizes that no host has. */
function fittingSizes(component: Component, instanceCpu: number): Component {
  const { cpu, memory } = component.size;
  if (instanceCpu >= cpu.max) return component;
  return { ...component, size: { cpu: { min: cpu.min, max: instanceCpu }, memory } };
}

/** From use with headroom; grows at once, shrinks by the long window. Unknown use: as it is, or the largest size. */
function planMemory({ component, nowMs, memoryUsedMax, history, current }: PlanInput): number {
  const { min, max } = component.size.memory;
  const most = Math.max(finiteBytes(memoryUsedMax), highestHeld(history.memory, nowMs - MEMORY_WINDOW_MS, nowMs));
  const present = finiteBytes(current.size.memory);
  if (most === 0) return present > 0 ? clamp(present, min, max) : max;
  const roomy = Math.max(most * MEMORY_HEADROOM, most + MEMORY_HEADROOM_BYTES);
  const wanted = clamp(Math.ceil(roomy / MEMORY_STEP_BYTES) * MEMORY_STEP_BYTES, min, max);
  const keep = present >= wanted && present <= max && wanted >= present * (1 - MEMORY_DEAD_BAND);
  return keep ? present : wanted;
}
