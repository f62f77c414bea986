import { LIMITS } from '../protocol/limits.js';

/** How long to wait before restart number `inARow` (1, 2, …) of a process that keeps ending: doubled each time. */
export function restartDelayMs(inARow: number): number {
  const doubled = LIMITS.restartBackoffMsMin * 2 ** Math.min(30, Math.max(0, inARow - 1));
  return Math.min(LIMITS.restartBackoffMsMax, doubled);
}

/** Restarts in a row after an end: a process that ran long enough begins anew. */
export function restartsInARow(before: number, ranMs: number): number {
  return ranMs >= LIMITS.restartBackoffResetMs ? 1 : before + 1;
}
