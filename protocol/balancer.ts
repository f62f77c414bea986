/** Source of random numbers in [0, 1). */
export type Random = () => number;

/**
 * Of two candidates drawn at random, each as often as its weight says, the one with fewer calls outstanding for its
 * weight; of equals the first drawn. With equal weights nearly as even as asking all, without herds (Mitzenmacher, The
 * Power of Two Choices in Randomized Load Balancing, IEEE TPDS 12 (2001) 1094); while nothing is outstanding, calls go by
 * the weights. Weights are above 0.
 */
export function pickLessLoaded<T extends { weight: number }>(
  candidates: readonly T[],
  outstanding: (candidate: T) => number,
  random: Random,
): T | undefined {
  if (candidates.length <= 1) return candidates[0];
  const total = candidates.reduce((sum, { weight }) => sum + weight, 0);
  const a = draw(candidates, null, total, random);
  // Never the same one twice.
  const b = draw(candidates, a, total - a.weight, random);
  return outstanding(b) / b.weight < outstanding(a) / a.weight ? b : a;
}

/** A call to another host costs as much as waiting for so many calls on the own one. */
export const NEAR_HEAD_START = 8;

/** One of the same host until those are so much more loaded, for their weights, than one elsewhere. */
export function pickNearer<T extends { weight: number }>(
  nearOnes: readonly T[],
  farOnes: readonly T[],
  outstanding: (candidate: T) => number,
  random: Random,
): T | undefined {
  const near = pickLessLoaded(nearOnes, outstanding, random);
  if (near !== undefined && outstanding(near) / near.weight <= NEAR_HEAD_START) return near;
  const far = pickLessLoaded(farOnes, outstanding, random);
  if (near === undefined || far === undefined) return near ?? far;
  return outstanding(near) / near.weight - outstanding(far) / far.weight > NEAR_HEAD_START ? far : near;
}

function draw<T extends { weight: number }>(
  candidates: readonly T[],
  except: T | null,
  total: number,
  random: Random,
): T {
  let left = random() * total;
  let last: T | undefined;
  for (const each of candidates) {
    if (each === except) continue;
    last = each;
    left -= each.weight;
    if (left < 0) break;
  }
  // Rounding may leave a little after the last one.
  return last as T;
}
