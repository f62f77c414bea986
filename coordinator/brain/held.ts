/**
 * The highest value of a window that slides: only values that may still become the highest are kept, each lower than the
 * one before it (the monotonic queue of Lemire, Nordic Journal of Computing 13 (2006) 328). Changed in place.
 */
export type Held = HeldValue[];

export interface HeldValue {
  atMs: number;
  value: number;
}

/** Bounds the list whatever the rate of calls. */
const HELD_MAX = 512;

/** The highest value after `sinceMs` and up to `nowMs`; 0 without any. */
export function highestHeld(held: Held, sinceMs: number, nowMs: number): number {
  for (const { atMs, value } of held) if (atMs > sinceMs && atMs <= nowMs) return value;
  return 0;
}

/** Notes a value, and forgets those up to `sinceMs`. */
export function hold(held: Held, atMs: number, value: number, sinceMs: number): void {
  forget(held, sinceMs);
  let outdone: HeldValue | undefined;
  for (let last = held.at(-1); last !== undefined && (last.value <= value || last.atMs > atMs); last = held.at(-1)) {
    outdone = held.pop();
  }
  if (held.length === HELD_MAX) held.shift();
  if (outdone === undefined) held.push({ atMs, value });
  else {
    outdone.atMs = atMs;
    outdone.value = value;
    held.push(outdone);
  }
}

/** Forgets the values up to `sinceMs`. */
export function forget(held: Held, sinceMs: number): void {
  let count = 0;
  while (count < held.length && (held[count] as HeldValue).atMs <= sinceMs) count += 1;
  if (count > 0) held.splice(0, count);
}
