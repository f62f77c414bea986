/** Evenly spread in [0, 1) from a seed (mulberry32): the same seed, the same numbers. */
export function randomFrom(seed: number): () => number {
  let a = seed | 0;
  return () => {
    a = (a + 0x6d2b79f5) | 0;
    let x = Math.imul(a ^ (a >>> 15), 1 | a);
    x = (x + Math.imul(x ^ (x >>> 7), 61 | x)) ^ x;
    return ((x ^ (x >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Standard normal (Box & Muller, Ann. Math. Statist. 29 (1958) 610). */
export function normalFrom(random: () => number): number {
  return Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
}

/**
 * Quantile of the standard normal distribution, `share` in (0, 1), to about 1e-9: the rational approximation of
 * Acklam (2003) with one step of Halley's method upon the error function below.
 */
export function normalQuantile(share: number): number {
  if (!(share > 0 && share < 1)) return share <= 0 ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY;
  if (share > 0.5) return -normalQuantile(1 - share);
  const x = share < 0.02425 ? tail(Math.sqrt(-2 * Math.log(share))) : middle(share - 0.5);
  const error = normalShare(x) - share;
  const u = error * Math.sqrt(2 * Math.PI) * Math.exp((x * x) / 2);
  return x - u / (1 + (x * u) / 2);
}

/**
 * Quantile of Student's t, the share below it given, with at least 2 degrees of freedom, which need not be whole; to 1 % up to
 * shares of 0.98, somewhat low beyond. Fisher & Cornish's expansion about the normal one: Abramowitz & Stegun, Handbook of
 * Mathematical Functions (1964), 26.7.5.
 */
export function studentQuantile(share: number, degrees: number): number {
  const z = normalQuantile(share);
  const q = z * z;
  const terms = [
    (q + 1) / 4,
    ((5 * q + 16) * q + 3) / 96,
    (((3 * q + 19) * q + 17) * q - 15) / 384,
    ((((79 * q + 776) * q + 1482) * q - 1920) * q - 945) / 92_160,
  ];
  return z * terms.reduce((sum, term, i) => sum + term / degrees ** (i + 1), 1);
}

/** Distribution function of the standard normal for x ≤ 0, by the continued fraction of its tail or a power series. */
function normalShare(x: number): number {
  const density = Math.exp((-x * x) / 2) / Math.sqrt(2 * Math.PI);
  if (x > -3) {
    let sum = x;
    let term = x;
    for (let i = 3; Math.abs(term) > 1e-17; i += 2) {
      term *= (x * x) / i;
      sum += term;
    }
    return 0.5 + sum * density;
  }
  let fraction = 0;
  for (let i = 60; i >= 1; i--) fraction = i / (-x + fraction);
  return density / (-x + fraction);
}

function tail(q: number): number {
  const top =
    ((((-7.784894002430293e-3 * q - 0.3223964580411365) * q - 2.400758277161838) * q - 2.549732539343734) * q +
      4.374664141464968) *
      q +
    2.938163982698783;
  const below =
    (((7.784695709041462e-3 * q + 0.3224671290700398) * q + 2.445134137142996) * q + 3.754408661907416) * q + 1;
  return top / below;
}

function middle(q: number): number {
  const r = q * q;
  const top =
    (((((-39.69683028665376 * r + 220.9460984245205) * r - 275.9285104469687) * r + 138.357751867269) * r -
      30.66479806614716) *
      r +
      2.506628277459239) *
    q;
  const below =
    ((((-54.47609879822406 * r + 161.5858368580409) * r - 155.6989798598866) * r + 66.80131188771972) * r -
      13.28068155288572) *
      r +
    1;
  return top / below;
}
