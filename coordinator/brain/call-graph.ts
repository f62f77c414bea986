import type { Component } from '../../protocol/manifest.js';

/**
 * How many requests a component gets for each request of one of its callers. Learned together for all callers by
 * normalised least mean squares (Haykin, Adaptive Filter Theory, 4th ed. 2002, chapter 6), held at or above 0, on
 * smoothed rates, since what is called arrives a little later than what calls. Plain data.
 */
export interface CallRatios {
  /** By caller's name: calls for each of its requests. */
  ratios: Record<string, number>;
  /** Smoothed requests per second: own, and by caller. */
  own: number;
  callers: Record<string, number>;
}

export const NO_RATIOS: CallRatios = { ratios: {}, own: 0, callers: {} };

const SMOOTH_SECONDS = 5;
const STEP = 0.05;

export function learnRatios(
  known: CallRatios,
  arrivedPerSecond: number,
  callers: ReadonlyMap<string, number>,
  seconds: number,
): CallRatios {
  if (callers.size === 0) return known;
  const share = 1 - Math.exp(-seconds / SMOOTH_SECONDS);
  const own = known.own + share * (arrivedPerSecond - known.own);
  const smooth: Record<string, number> = {};
  const ratios: Record<string, number> = {};
  let power = 0;
  let said = 0;
  for (const [name, rate] of callers) {
    const before = Object.hasOwn(known.callers, name) ? (known.callers[name] ?? 0) : 0;
    const now = before + share * (rate - before);
    smooth[name] = now;
    power += now * now;
    said += now * ratioOf(known, name);
  }
  if (!(power > 0)) return { ratios: known.ratios, own, callers: smooth };
  // Where nothing is known yet the first sight is believed.
  const fresh = Object.keys(known.ratios).length === 0;
  const step = ((fresh ? 1 : STEP) * (own - said)) / power;
  for (const [name, rate] of Object.entries(smooth)) ratios[name] = Math.max(0, ratioOf(known, name) + step * rate);
  return { ratios, own, callers: smooth };
}

export function ratioOf({ ratios }: CallRatios, caller: string): number {
  return Object.hasOwn(ratios, caller) ? (ratios[caller] ?? 0) : 0;
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
