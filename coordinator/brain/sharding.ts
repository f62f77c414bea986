import type { Size } from '../../protocol/link.js';
import { type ComponentModel, NEW_MODEL } from './component-model.js';
import type { Explanation, Note } from './explanation.js';
import type { Forecast } from './forecast/types.js';
import { clamp, finite, type Need, type NeedInput, needNow } from './need.js';

/**
 * Count and size of a component's instances. Resize in place first, since that takes milliseconds: the instances that
 * run grow up to the largest size. Only then more instances; fewer only once the rest keep room to grow in place.
 * Pure: everything it remembers is in `history`, which the caller keeps and passes in again.
 */
export interface PlanInput extends NeedInput {
  /** Bytes: the largest use of any instance now; 0 when unknown. */
  memoryUsedMax: number;
  history: PlanHistory;
  /** The highest need of so long ago holds; 30 s unless told. */
  downWindowMs?: number;
  /** What was learned until now; nothing unless told. */
  model?: ComponentModel;
  /** Length of a tick in seconds: so long does a decision hold. 1 unless told. */
  stepSeconds?: number;
  /** Calls that ended in the span, per second. Where unknown, from arrivals and the change of `outstanding`. */
  finishedPerSecond?: number;
  /** Instances that serve now, and the cores that they have in all; all of `current` unless told. */
  ready?: { count: number; cpu: number };
  /** Seconds from a decision until a new instance serves; 5 unless told. */
  startSeconds?: number;
  /** Of the demand in cores, nearest step first; `forecastUpperCpu` stands in. */
  forecast?: { stepSeconds: number; path: Forecast };
  /** No sample came for this tick: the rest of the input is old, and nothing may shrink. */
  lost?: boolean;
  /** Cores that the component may hold in all, by its own or its app's budget. */
  budgetCpu?: number;
  /** What the hosts can give: cores to the component in all, and cores to one instance. */
  capacity?: { cpu: number; instanceCpu: number };
  /** A new instance is slow to come (state is handed over, an image is fetched): cores × seconds that it costs. */
  startCostCpu?: number;
}

/** Needs that still hold. Plain data; survives a change of coordinator. */
export interface PlanHistory {
  needs: Need[];
  memory: { atMs: number; bytes: number }[];
}
export const EMPTY_HISTORY: PlanHistory = { needs: [], memory: [] };

export interface Plan {
  count: number;
  size: Size;
  history: PlanHistory;
  model: ComponentModel;
  explanation: Explanation;
}

const DOWN_WINDOW_MS = 30_000;
/** Memory shrinks far more slowly: a wrong guess kills. */
const MEMORY_WINDOW_MS = 300_000;
const MEMORY_HEADROOM = 1.3;
const MEMORY_HEADROOM_BYTES = 16 * 2 ** 20;
const MEMORY_STEP_BYTES = 4 * 2 ** 20;
const CPU_STEP = 0.01;
/** Fewer instances only if they then need at most this share of the largest size. */
const CONSOLIDATE_AT = 0.7;
/** A size this little below the present one is not worth a resize. */
const DEAD_BAND = 0.1;
/** Bounds the history whatever the rate of calls. */
const HISTORY_MAX = 512;

export function planComponent(input: PlanInput): Plan {
  const { component, nowMs, current } = input;
  const bounds = component.count;
  const { need, idle, saturated, aim, latencyMs } = needNow(input);
  const windowMs = input.downWindowMs ?? DOWN_WINDOW_MS;
  const needs = remember(input.history.needs, need, nowMs - windowMs, (a, b) => a.cpu >= b.cpu && a.count >= b.count);
  const held: Need = {
    atMs: nowMs,
    cpu: Math.max(...needs.map((one) => one.cpu)),
    count: Math.max(...needs.map((one) => one.count)),
  };

  const memory = planMemory(input);
  const wanted = planCount(held, input);
  const count = clamp(wanted, bounds.min, bounds.max);
  const cpu = planCpu(held, count, input);
  const notes: Note[] = [];
  if (idle) notes.push('idle');
  if (saturated) notes.push('saturated');
  if (held.cpu > need.cpu || held.count > need.count) notes.push('calm');
  if (wanted > bounds.max) notes.push('count-max');
  else if (wanted < bounds.min) notes.push('count-min');
  if (count > 0 && held.cpu > count * component.size.cpu.max) notes.push('size-max');
  const size = { cpu, memory: memory.bytes };
  const usedCpu = finite(input.demandCpu);
  const requestsPerSecond = finite(input.requestsPerSecond);
  const explanation: Explanation = {
    atMs: nowMs,
    seen: {
      usedCpu,
      allottedCpu: current.count * current.size.cpu,
      arrivedPerSecond: requestsPerSecond,
      finishedPerSecond: finite(input.finishedPerSecond ?? requestsPerSecond),
      outstanding: finite(input.outstanding),
      latencyMs,
    },
    learned: { costCpu: null, idleCpu: 0, unqueuedMs: null },
    demand: {
      cpu: usedCpu,
      basis: saturated ? 'saturated' : 'used',
      backlogCpu: 0,
      nextCpu: usedCpu,
      predictor: 'last',
      marginShare: 0,
    },
    ahead: { seconds: 5, cpu: finite(input.forecastUpperCpu), trust: 1 },
    aim,
    need: { cpu: need.cpu, count: need.count, heldCpu: held.cpu, calmSeconds: windowMs / 1000 },
    options: [{ count, cpu, costCores: count * cpu, meets: count * cpu >= held.cpu - 1e-9 }],
    chosen: 0,
    before: current,
    after: { count, size },
    notes,
  };
  return { count, size, history: { needs, memory: memory.history }, model: input.model ?? NEW_MODEL, explanation };
}

function planCount(held: Need, { component, current }: PlanInput): number {
  if (held.count === 0) return 0;
  const { max } = component.size.cpu;
  const present = Math.max(1, clamp(current.count, component.count.min, component.count.max));
  const fewest = Math.max(held.count, Math.ceil(held.cpu / max - 1e-9));
  if (fewest > present) return fewest;
  const roomy = Math.max(held.count, Math.ceil(held.cpu / (max * CONSOLIDATE_AT) - 1e-9));
  return Math.min(present, roomy);
}

function planCpu(held: Need, count: number, { component, current }: PlanInput): number {
  const { min, max } = component.size.cpu;
  const exact = held.cpu / Math.max(1, count);
  const wanted = clamp(Math.ceil(exact / CPU_STEP - 1e-9) * CPU_STEP, min, max);
  // Without digits such as 0.30000000000000004, which people would have to read.
  const rounded = clamp(Number(wanted.toFixed(4)), min, max);
  const present = current.size.cpu;
  const keep = current.count > 0 && present >= rounded && present <= max && rounded >= present * (1 - DEAD_BAND);
  return keep ? present : rounded;
}

/** From use with headroom; grows at once, shrinks by the long window. Unknown use: as it is, or the largest size. */
function planMemory(input: PlanInput): { bytes: number; history: PlanHistory['memory'] } {
  const { min, max } = input.component.size.memory;
  const since = input.nowMs - MEMORY_WINDOW_MS;
  const used = finite(input.memoryUsedMax);
  const history =
    used === 0
      ? input.history.memory.filter((one) => one.atMs > since && one.atMs <= input.nowMs)
      : remember(input.history.memory, { atMs: input.nowMs, bytes: used }, since, (a, b) => a.bytes >= b.bytes);
  const present = finite(input.current.size.memory);
  const most = Math.max(0, ...history.map((one) => one.bytes));
  if (most === 0) return { bytes: present > 0 ? clamp(present, min, max) : max, history };
  const roomy = Math.max(most * MEMORY_HEADROOM, most + MEMORY_HEADROOM_BYTES);
  const wanted = clamp(Math.ceil(roomy / MEMORY_STEP_BYTES) * MEMORY_STEP_BYTES, min, max);
  const keep = present >= wanted && present <= max && wanted >= present * (1 - DEAD_BAND);
  return { bytes: keep ? present : wanted, history };
}

/** Adds `latest`; drops what is too old and what `latest` outdoes, since it can never again be the highest. */
function remember<T extends { atMs: number }>(
  list: T[],
  latest: T,
  sinceMs: number,
  outdoes: (a: T, b: T) => boolean,
): T[] {
  const kept = list.filter((one) => one.atMs > sinceMs && one.atMs <= latest.atMs && !outdoes(latest, one));
  return [...kept.slice(1 - HISTORY_MAX), latest];
}
