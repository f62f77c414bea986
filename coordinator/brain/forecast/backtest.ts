import type { Method } from './methods.js';

/** Moments in the past from which methods forecast what is known by now. */
export interface Origins {
  /** Values known at each, the oldest first. */
  counts: number[];
  /** Steps forecast from each. */
  steps: number;
}

const ORIGINS_MAX = 8;
/** Of the steps forecast, the share from one origin to the next. */
const SPACING = 0.5;

/** The newest origins before `count` values that leave `least` to learn from; none when there are too few values. */
export function chooseOrigins(count: number, steps: number, least: number): Origins {
  const tested = Math.min(steps, count - least);
  if (tested < 1) return { counts: [], steps: 0 };
  const spacing = Math.max(1, Math.round(tested * SPACING));
  const number = Math.min(ORIGINS_MAX, 1 + Math.floor((count - tested - least) / spacing));
  const counts = Array.from({ length: number }, (_, i) => count - tested - (number - 1 - i) * spacing);
  return { counts, steps: tested };
}

/**
 * What the method would have forecast at each origin, knowing only the values before; null when it cannot at one of them.
 * A dear method learns at the oldest origin only and takes in what came after, which is as honest and somewhat strict.
 */
export function replay(method: Method, values: readonly number[], { counts, steps }: Origins): number[][] | null {
  const trials: number[][] = [];
  let go = null;
  for (const count of counts) {
    const known = values.slice(0, count);
    if (go === null || !method.dear) go = method.learn(known);
    const points = go?.(known, steps);
    if (points === undefined || !points.every(Number.isFinite)) return null;
    trials.push(points);
  }
  return trials;
}
