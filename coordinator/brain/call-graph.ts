import type { Component } from '../../protocol/manifest.js';
import { lastKnown, shareOver } from './last-known.js';

/**
 * How many requests a component gets for each request of one of its callers. Learned together for all callers by least
 * squares that forget, on smoothed rates, since what is called arrives a little later than what calls; kept at or above 0
 * by coordinate descent (Franc, Hlaváč & Navara, CAIP 2005), a sweep a tick from the last solution. Plain data, changed
 * in place.
 */
export interface CallRatios {
  /** Names in order; the lists below go along. */
  callers: string[];
  ratios: number[];
  /** Smoothed requests per second: of the callers, and own. */
  rates: number[];
  own: number;
  /** Sums of products of the callers' rates with each other, row by row, and with its own. */
  gram: number[];
  moment: number[];
}

export function newRatios(): CallRatios {
  return { callers: [], ratios: [], rates: [], own: 0, gram: [], moment: [] };
}

const HALF_LIFE_SECONDS = 600;
const smoothShare = shareOver(5);
const keptAfter = lastKnown((seconds) => 0.5 ** (seconds / HALF_LIFE_SECONDS));

/** `callers`: requests per second by name. What is given is changed; it begins anew when the callers are others. */
export function learnRatios(
  known: CallRatios,
  arrivedPerSecond: number,
  callers: ReadonlyMap<string, number>,
  seconds: number,
): void {
  const count = callers.size;
  if (count === 0 && known.callers.length === 0) return;
  const before = isOf(known, callers);
  if (!before) beginAnew(known, callers);
  const { ratios, rates, moment, gram } = known;
  const share = before ? smoothShare(seconds) : 1;
  const keep = keptAfter(seconds);
  known.own += share * (arrivedPerSecond - known.own);
  for (let i = 0; i < count; i += 1) {
    const rate = rates[i] as number;
    rates[i] = rate + share * ((callers.get(known.callers[i] as string) ?? 0) - rate);
  }
  for (let i = 0; i < count; i += 1) {
    const rate = rates[i] as number;
    moment[i] = keep * (moment[i] as number) + seconds * rate * known.own;
    for (let j = 0; j < count; j += 1) {
      const at = i * count + j;
      gram[at] = keep * (gram[at] as number) + seconds * rate * (rates[j] as number);
    }
  }
  for (let i = 0; i < count; i += 1) {
    const weight = gram[i * count + i] as number;
    if (!(weight > 0)) continue;
    let rest = moment[i] as number;
    for (let j = 0; j < count; j += 1) if (j !== i) rest -= (gram[i * count + j] as number) * (ratios[j] as number);
    ratios[i] = Math.max(0, rest / weight);
  }
}

function isOf(
  { callers: names, ratios, rates, moment, gram }: CallRatios,
  callers: ReadonlyMap<string, number>,
): boolean {
  const count = callers.size;
  const whole = [names, ratios, rates, moment].every(({ length }) => length === count) && gram.length === count ** 2;
  return whole && names.every((name) => callers.has(name));
}

function beginAnew(known: CallRatios, callers: ReadonlyMap<string, number>): void {
  const zeros = (count: number) => new Array<number>(count).fill(0);
  known.callers = [...callers.keys()].sort();
  known.ratios = zeros(callers.size);
  known.rates = zeros(callers.size);
  known.moment = zeros(callers.size);
  known.gram = zeros(callers.size ** 2);
  known.own = 0;
}

export function ratioOf({ callers, ratios }: CallRatios, caller: string): number {
  return ratios[callers.indexOf(caller)] ?? 0;
}

/** Names with each caller before those that it calls; where they call in a circle, one of them is first, by name. */
export function callersFirst(components: Readonly<Record<string, Component>>): string[] {
  const names = Object.keys(components).sort();
  const done = new Set<string>();
  const order: string[] = [];
  const visit = (name: string): void => {
    if (done.has(name)) return;
    done.add(name);
    const callees = (components[name]?.calls ?? []).toSorted().toReversed();
    for (const callee of callees) if (Object.hasOwn(components, callee)) visit(callee);
    order.push(name);
  };
  for (const name of names.toReversed()) visit(name);
  return order.reverse();
}

/** By component: those that may call it, itself left out. */
export function callersOf(components: Readonly<Record<string, Component>>): Map<string, string[]> {
  const callers = new Map<string, string[]>();
  for (const [caller, { calls }] of Object.entries(components)) {
    for (const callee of calls) {
      if (callee === caller || !Object.hasOwn(components, callee)) continue;
      callers.set(callee, [...(callers.get(callee) ?? []), caller]);
    }
  }
  return callers;
}
