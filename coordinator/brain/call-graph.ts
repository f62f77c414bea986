import type { Component } from '../../protocol/manifest.js';

/**
 * How many requests a component gets for each request of one of its callers. Learned together for all callers by least
 * squares that forget, on smoothed rates, since what is called arrives a little later than what calls; kept at or above 0
 * by coordinate descent (Franc, Hlaváč & Navara, CAIP 2005), a sweep a tick from the last solution. Plain data.
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

export const NO_RATIOS: CallRatios = { callers: [], ratios: [], rates: [], own: 0, gram: [], moment: [] };

const SMOOTH_SECONDS = 5;
const HALF_LIFE_SECONDS = 600;

/** `callers`: requests per second by name. */
export function learnRatios(
  known: CallRatios,
  arrivedPerSecond: number,
  callers: ReadonlyMap<string, number>,
  seconds: number,
): CallRatios {
  if (callers.size === 0) return known.callers.length === 0 ? known : NO_RATIOS;
  const names = [...callers.keys()].sort();
  const before = names.length === known.callers.length && names.every((name, i) => name === known.callers[i]);
  const count = names.length;
  const zeros = () => new Array<number>(count).fill(0);
  const start = before ? known : { ...NO_RATIOS, ratios: zeros(), rates: zeros(), moment: zeros(), gram: [] };
  const share = before ? 1 - Math.exp(-seconds / SMOOTH_SECONDS) : 1;
  const keep = 0.5 ** (seconds / HALF_LIFE_SECONDS);
  const own = start.own + share * (arrivedPerSecond - start.own);
  const rates = names.map((name, i) => {
    const last = start.rates[i] ?? 0;
    return last + share * ((callers.get(name) ?? 0) - last);
  });
  const moment = rates.map((rate, i) => keep * (start.moment[i] ?? 0) + seconds * rate * own);
  const gram: number[] = [];
  for (let i = 0; i < count; i += 1) {
    for (let j = 0; j < count; j += 1) {
      const product = (rates[i] ?? 0) * (rates[j] ?? 0);
      gram.push(keep * (start.gram[i * count + j] ?? 0) + seconds * product);
    }
  }
  const ratios = start.ratios.slice();
  for (let i = 0; i < count; i += 1) {
    const own = gram[i * count + i] ?? 0;
    if (!(own > 0)) continue;
    let rest = moment[i] ?? 0;
    for (let j = 0; j < count; j += 1) if (j !== i) rest -= (gram[i * count + j] ?? 0) * (ratios[j] ?? 0);
    ratios[i] = Math.max(0, rest / own);
  }
  return { callers: names, ratios, rates, own, gram, moment };
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
