/** No beat is like another one: of whose lease, for how many seconds it holds, and the how manieth. */
export function beatText(lease: bigint, seconds: number, count: number): string {
  return `${lease}:${seconds}:${count}`;
}

/**
 * Whether a leader is silent, as one who waits sees it: counted from when its last beat was first seen here. The beat was
 * asked for before that, and the leader counts from when it asked, so that it has stopped by then.
 */
export class Silence {
  #beat: string | null = null;
  #sinceMs = 0;

  /**
   * How long the leader is waited for yet, ms by a clock that only rises; 0: it no longer believes to lead. Infinity where
   * the holder of the lease gives no beats.
   */
  leftMs(lease: bigint, beat: string | undefined, nowMs: number): number {
    const [of, seconds] = beat?.split(':') ?? [];
    if (beat === undefined || of !== String(lease) || !(Number(seconds) > 0)) return Number.POSITIVE_INFINITY;
    if (beat !== this.#beat) {
      this.#beat = beat;
      this.#sinceMs = nowMs;
    }
    return Math.max(0, Number(seconds) * 1_000 - (nowMs - this.#sinceMs));
  }
}
