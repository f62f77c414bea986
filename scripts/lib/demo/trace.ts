/** One day of demand, as shares of its peak at even distances. */
export interface Day {
  shares: number[];
}

const DAY_SECONDS = 86_400;

/** Reads `time,value` lines (seconds); of a longer trace the day with the highest sum. Throws with the line that is wrong. */
export function readDay(text: string, name: string): Day {
  const points: { time: number; value: number }[] = [];
  for (const [i, line] of text.split(/\r?\n/).entries()) {
    if (line.trim() === '' || (i === 0 && /^[a-z]/i.test(line))) continue;
    const [time, value, ...more] = line.split(',').map((cell) => (cell.trim() === '' ? Number.NaN : Number(cell)));
    const wrong =
      time === undefined || value === undefined || !Number.isFinite(time) || !(value >= 0) || more.length > 0;
    if (wrong) throw new Error(`${name}:${i + 1}: expected TIME,VALUE in numbers, found ${JSON.stringify(line)}`);
    points.push({ time, value });
  }
  const first = points[0];
  if (first === undefined || points.length < 2) throw new Error(`${name}: at least two points are needed`);
  const days = new Map<number, number[]>();
  for (const { time, value } of points) {
    const day = Math.floor((time - first.time) / DAY_SECONDS);
    days.set(day, [...(days.get(day) ?? []), value]);
  }
  const longest = Math.max(...[...days.values()].map((day) => day.length));
  // A day that is cut off at the end of the trace does not count.
  const whole = [...days.values()].filter((day) => day.length >= longest * 0.9);
  const sum = (day: number[]) => day.reduce((total, value) => total + value, 0);
  const busiest = whole.reduce((best, day) => (sum(day) > sum(best) ? day : best));
  const peak = Math.max(...busiest);
  if (peak === 0) throw new Error(`${name}: its busiest day has no demand`);
  return { shares: busiest.map((value) => value / peak) };
}

/** Share of the peak at a moment of the day, 0 ≤ moment < 1, on the line between the two points around it. */
export function shareAt({ shares }: Day, moment: number): number {
  const at = (moment - Math.floor(moment)) * shares.length;
  const left = shares[Math.floor(at) % shares.length] ?? 0;
  const right = shares[(Math.floor(at) + 1) % shares.length] ?? 0;
  return left + (right - left) * (at - Math.floor(at));
}
