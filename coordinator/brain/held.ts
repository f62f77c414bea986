/**
 * The highest value of a window that slides: only values that may still become the highest are kept, each lower than the
 * one before it (the monotonic queue of Lemire, Nordic Journal of Computing 13 (2006) 328). Pairs of a time in ms and a
 * value, one after the other as plain numbers, so that noting one makes no object. Changed in place.
 */
export type Held = number[];

/** Bounds the list whatever the rate of calls. */
const HELD_MAX = 512;
const PAIR = 2;

/** The highest value after `sinceMs` and up to `nowMs`; 0 without any. */
export function highestHeld(held: Held, sinceMs: number, nowMs: number): number {
  for (let i = 0; i < held.length; i += PAIR) {
    const atMs = held[i] as number;
    if (atMs > sinceMs && atMs <= nowMs) return held[i + 1] as number;
  }
  return 0;
}

/** Notes a value, and forgets those up to `sinceMs`. */
export function hold(held: Held, atMs: number, value: number, sinceMs: number): void {
  forget(held, sinceMs);
  let end = held.length;
  while (end > 0 && ((held[end - 1] as number) <= value || (held[end - PAIR] as number) > atMs)) end -= PAIR;
  if (end === PAIR * HELD_MAX) {
    held.splice(0, PAIR);
    end -= PAIR;
  }
  // In the place of what is outdone: a list that is first cut would be allocated anew.
  held[end] = atMs;
  held[end + 1] = value;
  if (held.length > end + PAIR) held.length = end + PAIR;
}

/** Forgets the values up to `sinceMs`. */
export function forget(held: Held, sinceMs: number): void {
  let count = 0;
  while (count < held.length && (held[count] as number) <= sinceMs) count += PAIR;
  if (count > 0) held.splice(0, count);
}
