import type { Size } from '../../protocol/link.js';
import { clamp, cores, finite, type Need, type NeedInput, needNow } from './need.js';

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
  /** For people: what was seen, what it takes, what is done. */
  reason: string;
  history: PlanHistory;
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
  const { need, idle, why } = needNow(input);
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
  const notes = [why];
  if (held.cpu > need.cpu || held.count > need.count) {
    notes.push(`held at ${cores(held.cpu)} cores for ${Math.round(windowMs / 1000)} s of calm`);
  }
  if (wanted > bounds.max) notes.push(`limited to the maximum of ${bounds.max}`);
  else if (wanted < bounds.min) notes.push(`kept at the minimum of ${bounds.min}`);
  if (count > 0 && held.cpu > count * component.size.cpu.max) notes.push('the largest size is not enough');
  const size = { cpu, memory: memory.bytes };
  return {
    count,
    size,
    reason: `${notes.join('; ')}: ${describeStep(current, count, size, idle)}`,
    history: { needs, memory: memory.history },
  };
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

function describeStep(current: PlanInput['current'], count: number, size: Size, idle: boolean): string {
  const shape = `${count} × ${cores(size.cpu)} cores`;
  if (count > current.count) return `${current.count} → ${shape}`;
  if (count < current.count) return count === 0 && idle ? 'to zero' : `${current.count} → ${shape}`;
  return size.cpu === current.size.cpu ? `stays at ${shape}` : `resized in place to ${shape}`;
}
