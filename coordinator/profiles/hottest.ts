import { type Shown, shownStacks } from './comparison.js';

/** A function with the time spent in it, and in it with all that it calls. */
export interface HotFunction {
  name: string;
  file: string;
  selfSeconds: number;
  totalSeconds: number;
  /** Samples, or what else was counted, in the function itself. */
  count: number;
  baseSelfSeconds: number;
  baseTotalSeconds: number;
}

/** By the time in the functions themselves, most first, then by how often they were seen; at most so many. */
export function hottest(shown: Shown, most: number): HotFunction[] {
  const functions = new Map<string, HotFunction>();
  for (const { frames, seconds, baseSeconds, count } of shownStacks(shown)) {
    const seen = new Set<HotFunction>();
    for (const [place, { name, file }] of frames.entries()) {
      const key = `${file}\0${name}`;
      let hot = functions.get(key);
      if (hot === undefined) {
        hot = { name, file, selfSeconds: 0, totalSeconds: 0, count: 0, baseSelfSeconds: 0, baseTotalSeconds: 0 };
        functions.set(key, hot);
      }
      if (place === 0) {
        hot.selfSeconds += seconds;
        hot.count += count;
        hot.baseSelfSeconds += baseSeconds;
      }
      // One that calls itself is in the stack more than once, but its time is spent once.
      if (seen.has(hot)) continue;
      seen.add(hot);
      hot.totalSeconds += seconds;
      hot.baseTotalSeconds += baseSeconds;
    }
  }
  const heat = (each: HotFunction) => Math.max(each.selfSeconds, each.baseSelfSeconds);
  return [...functions.values()].sort((a, b) => heat(b) - heat(a) || b.count - a.count).slice(0, most);
}
