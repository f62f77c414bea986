import type { Change } from '../../protocol/state-copies.js';

/** Before the names of callers: no key of a component begins so. */
const CALLER_PREFIX = '\u0000';

/** A call of a caller that has one at a time under way. Numbers rise. */
export interface NumberedCall {
  caller: string;
  number: number;
}

type Kept = [number: number, result: unknown];

/**
 * Runs a call that writes at most once: its answer is kept beside what it wrote, in the same record, so that wherever the
 * write is, its answer is, too. A call that comes again is answered from there. One that is older than the caller's last
 * has nobody who waits for it: it is not run, and answers undefined.
 */
export function once(
  store: { get(key: string): unknown },
  { caller, number }: NumberedCall,
  run: () => { result: unknown; changes: Change[] },
): { result: unknown; changes: Change[] } {
  const key = CALLER_PREFIX + caller;
  const [lastNumber, lastResult] = keptOf(store, caller);
  if (number <= lastNumber) return { result: number === lastNumber ? lastResult : undefined, changes: [] };
  const { result, changes } = run();
  if (changes.length === 0) return { result, changes };
  const kept: Kept = [number, result];
  return { result, changes: [...changes, [key, kept]] };
}

/** Of the last call of the caller that wrote; 0: none has. */
export function lastNumberOf(store: { get(key: string): unknown }, caller: string): number {
  return keptOf(store, caller)[0];
}

function keptOf(store: { get(key: string): unknown }, caller: string): Kept {
  return (store.get(CALLER_PREFIX + caller) as Kept | undefined) ?? [0, undefined];
}
