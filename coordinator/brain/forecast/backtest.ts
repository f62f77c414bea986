import type { Method } from './methods.js';

/** Moments in the past from which methods forecast what is known by now. */
export interface Origins {
  /** Values known at each, the oldest first. */
  counts: number[];
  /** Steps forecast from each. */
  steps: number;
}

/** Whether nothing is forecast from both of two origins: forecasts that share values err together. */
export function areApart({ counts, steps }: Origins, one: number, other: number): boolean {
  return Math.abs((counts[one] as number) - (counts[other] as number)) >= steps;
}

/** The newest ones say how things are now. */
const RECENT_MAX = 8;
/** Of the steps forecast, the share from one of them to the next. */
const SPACING = 0.5;
/** The others lie further back: at the same place of the season, or evenly, so that not all stand in one night. */
const BACK_MAX = 16;
/** Learning at so many of them must do. */
const LEARNT_MAX = 8;

/**
 * Origins before `count` values that leave `least` to learn from: the newest half a horizon apart, and others at the same
 * place of earlier seasons, as far back as there are values; none when those are too few. `season` is the shortest one,
 * undefined where there is none.
 */
export function chooseOrigins(count: number, steps: number, least: number, season?: number): Origins {
  const tested = Math.min(steps, count - least);
  if (tested < 1) return { counts: [], steps: 0 };
  const last = count - tested;
  const room = last - least;
  const spacing = Math.max(1, Math.round(tested * SPACING));
  const back = season === undefined ? Math.floor(room / BACK_MAX) : season * Math.ceil(spacing / season);
  const distances = [
    ...Array.from({ length: RECENT_MAX }, (_, i) => i * spacing),
    ...Array.from({ length: BACK_MAX }, (_, i) => (i + 1) * Math.max(spacing, back)),
  ].filter((distance) => distance <= room);
  const counts = [...new Set(distances)].sort((a, b) => b - a).map((distance) => last - distance);
  return { counts, steps: tested };
}

/**
 * What the method would have forecast at each origin, knowing only the values before; null when it cannot at one of them.
 * What was learnt is kept for a few origins, by a dear method for all of them, and takes in what came after: as honest, and
 * somewhat strict.
 */
export function replay(method: Method, values: readonly number[], { counts, steps }: Origins): number[][] | null {
  const trials: number[][] = [];
  const every = method.dear ? counts.length : Math.ceil(counts.length / LEARNT_MAX);
  let go = null;
  for (const [i, count] of counts.entries()) {
    const known = values.slice(0, count);
    if (i % every === 0) go = method.learn(known);
    const points = go?.(known, steps);
    if (points === undefined || !points.every(Number.isFinite)) return null;
    trials.push(points);
  }
  return trials;
}
