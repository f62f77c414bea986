import { normalFrom, randomFrom } from '../brain/forecast/random.js';

/** A stream of its own for every purpose, so that one policy's draws never shift those of another. */
export function stream(seed: number, purpose: string): () => number {
  // FNV-1a over the purpose, mixed with the seed.
  let hash = 0x811c9dc5 ^ Math.imul(seed, 0x9e3779b1);
  for (let i = 0; i < purpose.length; i += 1) hash = Math.imul(hash ^ purpose.charCodeAt(i), 0x01000193);
  return randomFrom(hash);
}

/** A Poisson number. Exact by multiplication of uniform numbers below a mean of 30, rounded normal above. */
export function poisson(mean: number, random: () => number): number {
  if (!(mean > 0)) return 0;
  if (mean > 30) return Math.max(0, Math.round(mean + Math.sqrt(mean) * normalFrom(random)));
  const limit = Math.exp(-mean);
  let product = random();
  let count = 0;
  while (product > limit) {
    product *= random();
    count += 1;
  }
  return count;
}

/** Gamma with this shape and mean 1 (Marsaglia & Tsang, ACM Trans. Math. Softw. 26 (2000) 363). */
export function gamma(shape: number, random: () => number): number {
  if (shape === Number.POSITIVE_INFINITY) return 1;
  if (shape === 1) return -Math.log(1 - random());
  const boost = shape < 1 ? (1 - random()) ** (1 / shape) : 1;
  const d = (shape < 1 ? shape + 1 : shape) - 1 / 3;
  const c = 1 / Math.sqrt(9 * d);
  for (;;) {
    const x = normalFrom(random);
    const v = (1 + c * x) ** 3;
    if (v <= 0) continue;
    if (Math.log(1 - random()) < (x * x) / 2 + d - d * v + d * Math.log(v)) return (d * v * boost) / shape;
  }
}

/** Log-normal from its median and its 99 % quantile. */
export function logNormal({ p50, p99 }: { p50: number; p99: number }, random: () => number): number {
  return p50 * Math.exp((Math.log(p99 / p50) / 2.326347874040841) * normalFrom(random));
}
