import { lastKnown } from './last-known.js';

/**
 * Two coefficients learned online: y ≈ a·x + b·z with a, b ≥ 0, from weighted sums that forget.
 *
 * Least squares on decayed sums is recursive least squares with a forgetting factor (Ljung, System Identification, 2nd
 * ed. 1999, section 11.2). What lies far off the fit weighs less, as in Huber, Annals of Mathematical Statistics 35
 * (1964) 73. Each coefficient is drawn towards a prior by a share of its own weight (ridge), which settles it where the
 * data cannot tell the two apart and hardly touches it elsewhere; the second one may start with some seconds of it. Errors
 * that stay on one side say that the truth has moved: then the past is forgotten faster. Plain data, changed in place.
 */
export interface Fit {
  xx: number;
  xz: number;
  zz: number;
  xy: number;
  zy: number;
  /** Seconds of learning that the sums hold. */
  weight: number;
  /** Usual absolute error of the fit. */
  scale: number;
  /** Usual error with its sign. */
  bias: number;
}

export interface Prior {
  a: number;
  b: number;
  /** How strongly each is drawn, as a share of what the data weigh. */
  pullA: number;
  pullB: number;
  /** And the second one as if values had told it for so many seconds at z = 1. */
  secondsB?: number;
}

export function newFit(): Fit {
  return { xx: 0, xz: 0, zz: 0, xy: 0, zy: 0, weight: 0, scale: 0, bias: 0 };
}

/** Half of what was learned is forgotten in so long; faster once the truth has moved. */
const HALF_LIFE_SECONDS = 1_200;
const HALF_LIFE_MOVED_SECONDS = 6;
const keptAfter = lastKnown((halfLives) => 0.5 ** halfLives);
/** The usual error is that of about so many values. */
const SCALE_VALUES = 30;
/** Errors beyond so many usual ones weigh less; beyond so many they count as this. */
const FAR = 3;
const FARTHEST = 5;
/** A bias of this share of the usual error, and of this share of the value: the errors lie on one side, and matter. */
const MOVED = 0.8;
const MATTERS = 0.15;

/**
 * `seconds` is the time that the value stands for, `told` how much it tells, up to 1: what tells little moves little, makes
 * little be forgotten, and may lie further off. The fit given is changed and returned.
 */
export function learnFit(fit: Fit, x: number, z: number, y: number, seconds: number, prior: Prior, told = 1): Fit {
  if (!(told > 0)) return fit;
  const { a, b } = solveFit(fit, prior);
  const first = fit.weight === 0;
  const error = first ? 0 : y - a * x - b * z;
  const scale0 = first ? Math.abs(y) * 0.1 : fit.scale;
  const most = (FARTHEST * scale0) / Math.sqrt(told);
  const bounded = Math.max(-most, Math.min(most, error));
  const scale = scale0 + (told * (Math.abs(bounded) * Math.sqrt(told) - scale0)) / SCALE_VALUES;
  const bias = fit.bias + (told * (bounded - fit.bias)) / SCALE_VALUES;
  const moved = Math.abs(bias) > MOVED * scale && Math.abs(bias) > MATTERS * Math.abs(y);
  const keep = keptAfter((told * seconds) / (moved ? HALF_LIFE_MOVED_SECONDS : HALF_LIFE_SECONDS));
  const far = Math.abs(error) * Math.sqrt(told);
  const w = told * seconds * (far > FAR * scale && far > 0 ? (FAR * scale) / far : 1);
  fit.xx = keep * fit.xx + w * x * x;
  fit.xz = keep * fit.xz + w * x * z;
  fit.zz = keep * fit.zz + w * z * z;
  fit.xy = keep * fit.xy + w * x * y;
  fit.zy = keep * fit.zy + w * z * y;
  fit.weight = keep * fit.weight + w;
  fit.scale = scale;
  fit.bias = bias;
  return fit;
}

/** The prior where nothing has been learned. */
export function solveFit(fit: Fit, prior: Prior): { a: number; b: number } {
  const { xx, xz, xy } = fit;
  const zz = fit.zz + (prior.secondsB ?? 0);
  const zy = fit.zy + (prior.secondsB ?? 0) * prior.b;
  if (!(xx > 0) && !(zz > 0)) return { a: prior.a, b: prior.b };
  const p = xx * (1 + prior.pullA);
  const q = zz * (1 + prior.pullB);
  const u = xy + xx * prior.pullA * prior.a;
  const v = zy + zz * prior.pullB * prior.b;
  const determinant = p * q - xz * xz;
  if (determinant > 1e-12 * p * q) {
    const a = (u * q - v * xz) / determinant;
    const b = (p * v - xz * u) / determinant;
    if (a >= 0 && b >= 0) return { a, b };
    if (a < 0) return { a: 0, b: Math.max(0, q > 0 ? v / q : prior.b) };
    return { a: Math.max(0, u / p), b: 0 };
  }
  return q > 0 ? { a: 0, b: Math.max(0, v / q) } : { a: Math.max(0, u / p), b: prior.b };
}
