import { normalFrom, randomFrom } from '../../../../coordinator/brain/forecast/random.js';

/** A wave of so many steps upon a slow rise, with normal noise of deviation 1; never negative. */
export function noisySine(seed: number, length: number, season: number): number[] {
  const random = randomFrom(seed);
  return Array.from({ length }, (_, i) =>
    Math.max(0, 20 + 0.02 * i + 8 * Math.sin((2 * Math.PI * i) / season) + normalFrom(random)),
  );
}

export function meanAbsolute(errors: readonly number[]): number {
  return errors.reduce((sum, error) => sum + Math.abs(error), 0) / Math.max(1, errors.length);
}
