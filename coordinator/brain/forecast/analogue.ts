/** Windows of the past that resemble the last one most tell how it goes on, so many of them. */
const NEIGHBOURS = 4;
/** By which share a window seems less alike for each short season that its place in the long one is away. */
const PLACE_PENALTY = 0.3;
/** Mean square by which even equal windows differ, as a share of the last window's variance. */
const NOISE = 1e-3;

/**
 * The next `steps` values as what followed on the windows, two short seasons long and ending at the same place of it,
 * whose course is nearest to the last one's, each moved to its level. Nearest neighbours: Yakowitz, J. Time Ser. Anal. 8
 * (1987) 235; for loads of a day, Dudek's pattern similarity.
 */
export function continueByAnalogy(
  values: readonly number[],
  steps: number,
  seasons: readonly number[],
): number[] | null {
  const short = seasons[0] ?? 1;
  const long = seasons.at(-1) ?? 1;
  const n = values.length;
  const width = 2 * short;
  if (n < width + short) return null;
  const meanOf = (end: number): number => {
    let sum = 0;
    for (let i = end - width; i < end; i++) sum += values[i] as number;
    return sum / width;
  };
  const level = meanOf(n);
  let variance = 0;
  for (let i = n - width; i < n; i++) variance += ((values[i] as number) - level) ** 2 / width;
  const unit = variance > 0 ? variance : 1;
  const windows: { end: number; distance: number; level: number }[] = [];
  for (let end = n - short; end >= width; end -= short) {
    const own = meanOf(end);
    let distance = 0;
    for (let i = 1; i <= width; i++) {
      distance += ((values[end - i] as number) - own - (values[n - i] as number) + level) ** 2 / width;
    }
    const away = (n - end) % long;
    const penalty = 1 + (PLACE_PENALTY * Math.min(away, long - away)) / short;
    windows.push({ end, distance: (distance / unit) * penalty, level: own });
  }
  windows.sort((a, b) => a.distance - b.distance);
  const points: number[] = [];
  for (let h = 0; h < steps; h++) {
    let sum = 0;
    let weights = 0;
    let used = 0;
    for (const window of windows) {
      const follower = values[window.end + h];
      if (follower === undefined) continue;
      const weight = 1 / (window.distance + NOISE);
      sum += weight * (follower - window.level + level);
      weights += weight;
      used += 1;
      if (used === NEIGHBOURS) break;
    }
    // Beyond what any window is followed by, the course repeats.
    points.push(used > 0 ? sum / weights : (points[h - short] ?? level));
  }
  return points;
}
