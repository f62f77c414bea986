/** A known event: demand is so many times what it would be without, from one time to another. */
export interface KnownEvent {
  fromMs: number;
  /** The first moment after it. */
  toMs: number;
  /** At least 0. */
  factor: number;
}

/** The product of the factors of all events at a time; 1 without any. */
export function factorAt(events: readonly KnownEvent[], atMs: number): number {
  let factor = 1;
  for (const { fromMs, toMs, factor: each } of events) if (atMs >= fromMs && atMs < toMs) factor *= each;
  return Number.isFinite(factor) && factor >= 0 ? factor : 1;
}
