const EPSILON = 1e-12;
/** From this shape on the normal approximation is good to better than 1e-4. */
const SHAPE_LARGE = 400;

/**
 * P(X > x) of a gamma with this shape and mean: the regularised upper incomplete gamma function, by its series below the
 * mean and its continued fraction above (Abramowitz & Stegun 6.5.29 and 6.5.31); for large shapes by Wilson and Hilferty,
 * Proc. Natl. Acad. Sci. 17 (1931) 684.
 */
export function gammaTail(shape: number, mean: number, x: number): number {
  if (x <= 0) return 1;
  if (shape > SHAPE_LARGE) {
    const spread = 1 / (9 * shape);
    return normalTail((Math.cbrt(x / mean) - (1 - spread)) / Math.sqrt(spread));
  }
  const z = (x / mean) * shape;
  const front = Math.exp(shape * Math.log(z) - z - logGamma(shape));
  if (z < shape + 1) {
    let term = 1 / shape;
    let sum = term;
    for (let n = 1; term > sum * EPSILON; n += 1) {
      term *= z / (shape + n);
      sum += term;
    }
    return 1 - front * sum;
  }
  // Lentz's method.
  let b = z + 1 - shape;
  let c = 1e300;
  let d = 1 / b;
  let fraction = d;
  for (let n = 1; n < 1000; n += 1) {
    const a = n * (shape - n);
    b += 2;
    d = 1 / (a * d + b);
    c = b + a / c;
    fraction *= c * d;
    if (Math.abs(c * d - 1) < EPSILON) break;
  }
  return front * fraction;
}

/** ln Γ(x) for x > 0: Stirling's series after the recurrence has brought x above 10. */
export function logGamma(x: number): number {
  let shift = 0;
  let at = x;
  while (at < 10) {
    shift -= Math.log(at);
    at += 1;
  }
  const i = 1 / at;
  const i2 = i * i;
  const series = i * (1 / 12 - i2 * (1 / 360 - i2 * (1 / 1260 - i2 / 1680)));
  return shift + (at - 0.5) * Math.log(at) - at + 0.5 * Math.log(2 * Math.PI) + series;
}

/** P(Z > z) of the standard normal, to 1e-7 (Abramowitz & Stegun 26.2.17). */
export function normalTail(z: number): number {
  if (z < 0) return 1 - normalTail(-z);
  const t = 1 / (1 + 0.2316419 * z);
  const poly = t * (0.31938153 + t * (-0.356563782 + t * (1.781477937 + t * (-1.821255978 + t * 1.330274429))));
  return (Math.exp((-z * z) / 2) / Math.sqrt(2 * Math.PI)) * poly;
}
