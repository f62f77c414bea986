import type { Entry } from './etcd.js';

/** Of whose lease a beat is, for how many seconds it holds, and the how manieth it is. */
export function beatText(lease: bigint, seconds: number, count: number): string {
  return `${lease}:${seconds}:${count}`;
}

/**
 * Whether a leader is silent, as one who waits sees it: counted from when its last beat was first seen here. The beat was
 * asked for before that, and the leader counts from when it asked, so that it has stopped by then.
 *
 * A beat is known by the revision that wrote it. Its text may come again: asked for twice by the network, and late, with
 * beats between that nobody saw.
 */
export class Silence {
  #modified = 0;
  #sinceMs = 0;

  /**
   * How long the leader is waited for yet, ms by a clock that only rises; 0: it no longer believes to lead. Infinity where
   * the holder of the lease gives no beats.
   */
  leftMs(lease: bigint, beat: Pick<Entry, 'value' | 'modified'> | undefined, nowMs: number): number {
    const [of, seconds] = beat?.value.toString('utf8').split(':') ?? [];
    if (beat === undefined || of !== String(lease) || !(Number(seconds) > 0)) return Number.POSITIVE_INFINITY;
    if (beat.modified !== this.#modified) {
      this.#modified = beat.modified;
      this.#sinceMs = nowMs;
    }
    return Math.max(0, Number(seconds) * 1_000 - (nowMs - this.#sinceMs));
  }
}
