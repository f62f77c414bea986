/**
 * Shares in which the instances of a component get calls. One that stays slower or hotter than the others, for example
 * since its host is noisy, gets less; the callers' balancers go by it. Bounded, so that everybody still serves and is
 * seen to recover, and slow, so that it acts on what lasts and comes to rest: a lower weight shortens an instance's
 * queue, which raises the weight it deserves, so the two meet. Pure.
 */
export interface Pace {
  id: string;
  weight: number;
  /** Mean time of a call in ms; null: not known, or too new to be judged. */
  latencyMs: number | null;
  /** Share of its CPU that it uses. */
  utilisation: number;
}

export const WEIGHT_MIN = 0.25;
/** Weights change by at most so much in one turn: down, and back up. */
export const WEIGHT_STEP = { down: 0.1, up: 0.05 };
/** Weights are multiples of it. */
const GRAIN = 0.05;
/** So many times slower than the others before anything is done, and to be the same as they again. */
const SLOW = { from: 1.5, until: 1.2 };
/** Less difference from the weight that it deserves is left alone. */
const TOLERANCE = 0.075;
/** Below it CPU is no reason why an instance should be relieved. */
const UTILISATION_MIN = 0.6;

/** The weights that change, by instance. */
export function nextWeights(paces: readonly Pace[]): Map<string, number> {
  const judged = paces.filter(({ latencyMs }) => latencyMs !== null);
  if (isEven(rangeOf(judged))) return new Map();
  const changes = new Map<string, number>();
  const usual = lowerMedian(judged.map(({ latencyMs }) => latencyMs ?? 0));
  const usualUtilisation = lowerMedian(judged.map(({ utilisation }) => utilisation));
  for (const pace of judged) {
    const slow = judged.length < 2 ? 1 : slownessOf(pace, usual, usualUtilisation);
    const next = stepTowards(pace.weight, slow);
    if (next !== pace.weight) changes.set(pace.id, next);
  }
  return changes;
}

/** How far apart instances are. */
export interface PaceRange {
  /** Ms of a call at the fastest and at the slowest one. */
  least: number;
  most: number;
  /** Highest share of its CPU that one uses. */
  utilisation: number;
  /** All have the whole weight. */
  isWhole: boolean;
}

export function newRange(): PaceRange {
  return { least: Number.POSITIVE_INFINITY, most: 0, utilisation: 0, isWhole: true };
}

/** None is so much slower or hotter than any other that it could lose some weight, nor has one lost any. So it is with most. */
export function isEven({ least, most, utilisation, isWhole }: PaceRange): boolean {
  return isWhole && utilisation < UTILISATION_MIN && most < SLOW.from * least;
}

export function rangeOf(paces: readonly Pace[]): PaceRange {
  const range = newRange();
  for (const { weight, latencyMs, utilisation } of paces) {
    if (latencyMs !== null) widen(range, latencyMs);
    if (utilisation > range.utilisation) range.utilisation = utilisation;
    if (weight !== 1) range.isWhole = false;
  }
  return range;
}

/** Takes in how long a call takes at one more instance. */
export function widen(range: PaceRange, latencyMs: number): void {
  if (latencyMs < range.least) range.least = latencyMs;
  if (latencyMs > range.most) range.most = latencyMs;
}

/** How many times slower or hotter than usual; below 1: faster and cooler. */
function slownessOf({ latencyMs, utilisation }: Pace, usual: number, usualUtilisation: number): number {
  const slower = usual > 0 ? (latencyMs ?? 0) / usual : 1;
  const hot = utilisation >= UTILISATION_MIN && usualUtilisation > 0;
  return Math.max(slower, hot ? utilisation / usualUtilisation : 0);
}

function stepTowards(weight: number, slowness: number): number {
  if (weight >= 1 && slowness < SLOW.from) return 1;
  const deserved = slowness <= SLOW.until ? 1 : Math.max(WEIGHT_MIN, 1 / slowness);
  const change = deserved - weight;
  if (Math.abs(change) < TOLERANCE && deserved < 1) return weight;
  const step = Math.max(-WEIGHT_STEP.down, Math.min(WEIGHT_STEP.up, change));
  const next = Math.round((weight + step) / GRAIN) * GRAIN;
  return Math.min(1, Math.max(WEIGHT_MIN, Number(next.toFixed(2))));
}

/** The middle one, of two middle ones the lower: more than half the instances are as slow or slower. */
function lowerMedian(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor((values.length - 1) / 2)] ?? 0;
}
