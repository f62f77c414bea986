import type { Component } from '../../protocol/manifest.js';
import type { AimBasis } from './explanation.js';
import { type LatencyCurve, latencyAt, sizeForLatency } from './latency-model.js';
import { SATURATED } from './sense.js';
import type { SlowCause } from './time-use.js';

/** What a component has to be able to carry. Cores. */
export interface Load {
  /** Expected. */
  cpu: number;
  /** With the margin for what was misjudged lately. */
  upperCpu: number;
  /** To carry whatever the objective. */
  floorCpu: number;
}

/** Why and how the objective is turned into cores; made once a tick for a component. */
export interface Aim {
  component: Component;
  /** Null unless the objective is a latency, and one was seen. */
  curve: LatencyCurve | null;
  basis: AimBasis;
  /** Utilisation aimed at where there is no curve. */
  utilisation: number;
  /** Latency aimed at; with a curve only. */
  boundMs?: number;
  /** Cores that each of those that are there can have where it is, the one that goes last first. Absent: the largest size. */
  reach?: readonly number[];
}

const QUEUE_UTILISATION = 0.8;
const UNKNOWN_UTILISATION = 0.6;
const UNREACHED_STRETCH = 2;
/** Where CPU is not what is short, waiting for it shall not take longer than this share of all else. */
const OTHER_SHARE = 0.25;
/** A latency objective is aimed at with so much to spare. */
const BOUND_SHARE = 0.95;
/** More instances than so many times the fewest are not looked at: they would not help. */
const COUNT_STEPS_MAX = 24;

/**
 * `curve` as learned; null before any latency was seen. `cause`: what was measured to make it slow, if anything: it goes
 * before the curve, which may have taken a wait for CPU for something else, or what callees do for want of CPU.
 */
export function aimOf(
  component: Component,
  curve: LatencyCurve | null,
  latencyMs: number | null,
  cause: SlowCause | null = null,
): Aim {
  const { objective, size } = component;
  if (objective.kind === 'utilisation') {
    return { component, curve: null, basis: 'target', utilisation: clamp(objective.target, 0.05, 1) };
  }
  if (objective.kind === 'queue') return { component, curve: null, basis: 'queue', utilisation: QUEUE_UTILISATION };
  if (curve === null) return { component, curve: null, basis: 'unknown', utilisation: UNKNOWN_UTILISATION };
  const aimed = objective.targetMs * BOUND_SHARE;
  // A bound that the largest size without any queue just misses: waiting is held at as long as the work itself.
  const speed = Math.min(1, size.cpu.max);
  const reachable = curve.otherMs + (UNREACHED_STRETCH * curve.cpuMs) / speed;
  const missed = latencyMs !== null && latencyMs > objective.targetMs;
  const isOther = curve.otherMs >= aimed || (missed && cause === 'callees');
  if (isOther && cause !== 'cpu') {
    // More CPU would not do, but far less would make it worse still, and look like another reason than CPU for ever.
    const boundMs = Math.max(reachable, curve.otherMs * (1 + OTHER_SHARE));
    return { component, curve, basis: 'not-cpu', utilisation: UNKNOWN_UTILISATION, boundMs };
  }
  const beyond = latencyAt(curve, { demandCpu: 0, count: 1, cpu: size.cpu.max }) >= aimed;
  const basis = missed ? 'missed' : 'learned';
  return { component, curve, basis, utilisation: UNKNOWN_UTILISATION, boundMs: beyond ? reachable : aimed };
}

/** Cores without which it does not keep up, or is busier than it shall be where no curve says how busy it may be. */
function leastCpu({ curve, basis, utilisation }: Aim, { cpu, upperCpu, floorCpu }: Load): number {
  const byCurve = curve !== null && basis !== 'not-cpu';
  return Math.max(floorCpu, upperCpu / SATURATED, byCurve ? 0 : cpu / utilisation);
}

/** Cores that each of `count` instances needs; null when the largest size does not keep the objective. */
export function sizeFor(aim: Aim, load: Load, count: number): number | null {
  const { component, curve } = aim;
  const { min, max } = component.size.cpu;
  const floor = leastCpu(aim, load) / count;
  if (floor > max + 1e-9) return null;
  if (component.objective.kind !== 'latency' || curve === null) {
    return clamp(floor, min, max);
  }
  const { targetMs } = component.objective;
  const bound = aim.boundMs ?? targetMs * BOUND_SHARE;
  const size = sizeForLatency(curve, bound, load.cpu, count, { min: clamp(floor, min, max), max });
  if (size !== null) return Math.max(size, clamp(floor, min, max));
  // What is to spare is for sizes: another instance would cost far more than it is worth.
  const holds = aim.basis !== 'not-cpu' && sizeForLatency(curve, targetMs, load.cpu, count, { min: max, max }) !== null;
  return holds ? max : null;
}

/** Cores that the load needs in `count` instances, were there no largest size. */
export function cpuFor(aim: Aim, load: Load, count: number): number {
  const size = sizeFor(aim, load, count);
  if (size !== null) return size * count;
  const { component, curve } = aim;
  const least = leastCpu(aim, load);
  if (curve === null) return least;
  return Math.max(least, roomyCountFor(aim, load) * component.size.cpu.max);
}

/** The fewest instances that carry the load, whatever the manifest allows. */
export function countFor(aim: Aim, load: Load): number {
  const roomy = roomyCountFor(aim, load);
  const { reach, component } = aim;
  if (reach === undefined) return roomy;
  const { max } = component.size.cpu;
  let count = roomy;
  while (count < roomy + reach.length && reachedCpu(aim, max, count) < cpuFor(aim, load, count) - 1e-9) count += 1;
  return count;
}

/** Cores that so many instances get of a size where some are held to what they can have. */
export function reachedCpu({ reach }: Aim, cpu: number, count: number): number {
  if (reach === undefined) return cpu * count;
  const held = reach.slice(0, count);
  return held.reduce((sum, most) => sum + Math.min(cpu, most), cpu * (count - held.length));
}

/** Cores that each of `count` instances has to be allowed so that all get `cpu`, where some are held to what they can have. */
export function levelFor({ reach }: Aim, cpu: number, count: number): number {
  if (reach === undefined || reach.length === 0) return cpu / count;
  const held = reach.slice(0, count).sort((a, b) => a - b);
  let left = cpu;
  for (const [i, most] of held.entries()) {
    const share = left / (count - i);
    if (most >= share) return share;
    left -= most;
  }
  return count > held.length ? left / (count - held.length) : (held.at(-1) as number);
}

/** The same were there room for the largest size everywhere. */
function roomyCountFor(aim: Aim, load: Load): number {
  const { component, curve } = aim;
  const { max } = component.size.cpu;
  let count = Math.max(1, Math.ceil(leastCpu(aim, load) / max - 1e-9));
  if (curve === null) return count;
  for (let i = 0; i < COUNT_STEPS_MAX && sizeFor(aim, load, count) === null; i += 1) count += Math.ceil(count * 0.05);
  return count;
}

/** The utilisation aimed at; where a curve was learned, what the load comes to in the cores that it asks for. */
export function utilisationOf({ basis, utilisation }: Aim, load: Load, allotted: number): number {
  const learned = basis === 'learned' || basis === 'missed';
  return learned && allotted > 0 ? Math.min(1, load.cpu / allotted) : utilisation;
}

export function clamp(value: number, min: number, max: number): number {
  return Math.min(max, Math.max(min, value));
}
