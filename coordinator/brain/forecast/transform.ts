/** A scale on which a model works, with its way back. */
export interface Transform {
  /** For people, after a model's name; empty for the values as they are. */
  name: string;
  apply: (value: number) => number;
  invert: (value: number) => number;
}

const AS_IS: Transform = { name: '', apply: (value) => value, invert: (value) => value };
/** Exponents beyond this are no forecast, and would not be finite. */
const LOG_MAX = 700;

/**
 * Scales that suit the values: as they are; also the logarithm when all are positive, or the root when none is negative,
 * where what moves them acts in proportion to their size.
 */
export function transformsFor(values: readonly number[]): Transform[] {
  const lowest = values.reduce((low, value) => Math.min(low, value), Number.POSITIVE_INFINITY);
  if (lowest > 0) {
    return [AS_IS, { name: 'of logarithms', apply: Math.log, invert: (value) => Math.exp(Math.min(LOG_MAX, value)) }];
  }
  if (lowest < 0) return [AS_IS];
  return [AS_IS, { name: 'of roots', apply: Math.sqrt, invert: (value) => Math.max(0, value) ** 2 }];
}
