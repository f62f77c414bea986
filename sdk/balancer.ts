/** Source of random numbers in [0, 1). */
export type Random = () => number;

/**
 * Of two candidates chosen at random the one with fewer calls outstanding: nearly as even as asking all, without herds
 * (Mitzenmacher, The Power of Two Choices in Randomized Load Balancing, IEEE TPDS 12 (2001) 1094).
 */
export function pickLessLoaded<T>(
  candidates: readonly T[],
  outstanding: (candidate: T) => number,
  random: Random,
): T | undefined {
  const count = candidates.length;
  if (count <= 1) return candidates[0];
  const first = Math.floor(random() * count);
  // Never the same one twice.
  const second = (first + 1 + Math.floor(random() * (count - 1))) % count;
  const a = candidates[first] as T;
  const b = candidates[second] as T;
  return outstanding(b) < outstanding(a) ? b : a;
}
