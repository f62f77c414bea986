import { quantile } from './predict.js';
import { bridge } from './start.js';

/** Neighbours at one, two and three seasons' distance on both sides tell what a value should be. */
const REACH = 3;
/** So many robust standard deviations away from them a value is no part of the course. */
const OUTLIER = 10;
/** Steps on either side by which the level is told. */
const NEAR = 12;
/** More in a row are an event or a shift of level, which is to be learnt. */
const RUN_MAX = 3;
/** A median absolute deviation times this is a normal distribution's standard deviation. */
const MAD_TO_DEVIATION = 1.4826;

export interface Cleaned {
  /**
   * Gaps filled and lone outliers replaced by what the same place of the neighbouring seasons says, at the level of the values
   * beside. The newest values stay as they are: what they are the start of is not known yet.
   */
  values: number[];
  /**
   * The same as if newest values far off the usual course were lone outliers too; null where there are none, and with a season:
   * the first hours of a Monday are as far off.
   */
  settled: number[] | null;
}

/** Values to learn from. */
export function cleaned(values: readonly (number | null)[], seasons: readonly number[]): Cleaned {
  const length = seasons.at(-1) ?? 1;
  const rough = bridge(values);
  const n = values.length;
  if (n < 2 * length + RUN_MAX) return { values: rough, settled: null };
  const usual = rough.map((_, i) => usualAt(values, rough, i, length));
  const off = values.map((value, i) => (value === null ? 0 : value - (usual[i] as number)));
  // A shift of level moves all that is near alike.
  const lone = off.map((each, i) => each - middleOf(off.slice(Math.max(0, i - NEAR), i + NEAR + 1)));
  const sizes = lone.filter((_, i) => values[i] !== null).map(Math.abs);
  const deviation =
    MAD_TO_DEVIATION *
    quantile(
      sizes.toSorted((a, b) => a - b),
      0.5,
    );
  const outlies = lone.map((each) => deviation > 0 && Math.abs(each) > OUTLIER * deviation);
  const old = outlies.map((each, i) => each && i < n - RUN_MAX);
  const course = { values, rough, usual, off };
  const newest = n - (outlies.lastIndexOf(false) + 1);
  return {
    values: repaired(course, old),
    settled: seasons.length === 0 && newest > 0 && newest <= RUN_MAX ? repaired(course, outlies) : null,
  };
}

interface Course {
  values: readonly (number | null)[];
  rough: readonly number[];
  usual: readonly number[];
  /** By how much each value is off the usual course. */
  off: readonly number[];
}

/** Gaps and short runs of outliers replaced. */
function repaired({ values, rough, usual, off }: Course, outlies: readonly boolean[]): number[] {
  const n = values.length;
  const clean = rough.slice();
  for (let from = 0; from < n; from++) {
    if (values[from] !== null && outlies[from] !== true) continue;
    let to = from;
    while (to < n && (values[to] === null || outlies[to] === true)) to += 1;
    const gap = values.slice(from, to).some((value) => value === null);
    if (gap || to - from <= RUN_MAX) fill(clean, usual, off, from, to);
    from = to;
  }
  return clean;
}

/** The usual course between two known values, moved to meet both. */
function fill(clean: number[], usual: readonly number[], off: readonly number[], from: number, to: number): void {
  const left = from > 0 ? (off[from - 1] as number) : (off[to] ?? 0);
  const right = off[to] ?? left;
  for (let i = from; i < to; i++) {
    const share = (i - from + 1) / (to - from + 1);
    clean[i] = (usual[i] as number) + left + (right - left) * share;
  }
}

/** Median of the known values a few seasons away; a bridged one where there are none. */
function usualAt(values: readonly (number | null)[], rough: readonly number[], i: number, length: number): number {
  const known: number[] = [];
  for (let k = 1; k <= REACH; k++) {
    for (const at of [i - k * length, i + k * length]) {
      const value = values[at];
      if (value !== null && value !== undefined) known.push(value);
    }
  }
  return known.length === 0 ? (rough[i] as number) : middleOf(known);
}

/** Median. */
function middleOf(values: readonly number[]): number {
  return quantile(
    values.toSorted((a, b) => a - b),
    0.5,
  );
}
