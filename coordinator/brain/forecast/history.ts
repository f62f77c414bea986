/**
 * The past of one series at several step lengths: rings of the means over so many ticks each, NaN where nothing was
 * known. They grow with use up to a bound. Owned and changed in place.
 */
export interface Ring {
  /** Length of its step, in ticks. */
  readonly ticks: number;
  /** It grows up to so many steps. */
  readonly stepsMax: number;
  values: Float32Array;
  /** Steps completed since the series began. */
  count: number;
  /** Of the step under way: ticks passed, ticks known and the sum of their values. */
  passed: number;
  known: number;
  sum: number;
}

const STEPS_AT_FIRST = 64;

export function createRing(ticks: number, stepsMax: number): Ring {
  const values = new Float32Array(Math.min(STEPS_AT_FIRST, stepsMax));
  return { ticks, stepsMax, values, count: 0, passed: 0, known: 0, sum: 0 };
}

/** Takes in a tick, NaN if unknown; answers whether that completed a step. */
export function push(ring: Ring, value: number): boolean {
  ring.passed += 1;
  if (!Number.isNaN(value)) {
    ring.known += 1;
    ring.sum += value;
  }
  if (ring.passed < ring.ticks) return false;
  const { length } = ring.values;
  // Only before it has turned over once, so that the places stay as they are.
  if (ring.count === length && length < ring.stepsMax) {
    const grown = new Float32Array(Math.min(2 * length, ring.stepsMax));
    grown.set(ring.values);
    ring.values = grown;
  }
  ring.values[ring.count % ring.values.length] = ring.known === 0 ? Number.NaN : ring.sum / ring.known;
  ring.count += 1;
  ring.passed = 0;
  ring.known = 0;
  ring.sum = 0;
  return true;
}

/** The value of a step, numbered from the beginning of the series; NaN if unknown, forgotten or still to come. */
export function valueAt(ring: Ring, step: number): number {
  const { count, values } = ring;
  if (step >= count || step < count - values.length || step < 0) return Number.NaN;
  return values[step % values.length] as number;
}

/** The newest steps that are held, oldest first. */
export function newest(ring: Ring, steps = Number.POSITIVE_INFINITY): Float32Array {
  const held = Math.min(ring.count, ring.values.length, steps);
  return Float32Array.from({ length: held }, (_, i) => valueAt(ring, ring.count - held + i));
}
