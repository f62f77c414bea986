import type { ForecastInterval } from './types.js';

/** A forecast in points, and its intervals. */
export interface Stretched {
  points: number[];
  intervals: ForecastInterval[];
}

/**
 * The newest values lie far off the usual course, and nothing in the past tells whether that is over at once, back at the
 * level `before`, or has come to stay (`now`): points are kept between both, since methods that were fitted to the usual
 * course go anywhere from there, and intervals stretch over both, each with its own width.
 */
export function undecided(
  points: readonly number[],
  intervals: readonly ForecastInterval[],
  before: number,
  now: number,
): Stretched {
  const [least, most] = [Math.min(before, now), Math.max(before, now)];
  return {
    points: points.map((point) => Math.min(most, Math.max(least, point))),
    intervals: intervals.map(({ level, lower, upper }) => ({
      level,
      lower: lower.map((bound, h) => least - ((points[h] as number) - bound)),
      upper: upper.map((bound, h) => most + (bound - (points[h] as number))),
    })),
  };
}
