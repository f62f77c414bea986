/** Times in ms, of the host's own clock that only goes forward. */
export interface CopyTiming {
  /** So long a copy follows nobody else after it has said that it holds something. */
  leaseMs: number;
  /** Clocks of two hosts run at most this share apart. */
  clockDriftMax: number;
  /** A question that has no answer is asked again after this, then after twice as long, up to RETRY_GROWTH_MAX times. */
  retryMs: number;
  /** A copy that has not answered for so long is reported. */
  silentMs: number;
  /** An owner asks for new leases this often. */
  renewMs: number;
  /** Bytes of entries, and count of writes, in one message. */
  partBytesMax: number;
  recordsMax: number;
  /** Writes that are not yet held by all; calls beyond wait. */
  pendingMax: number;
  /** Calls that wait, for a lease or for a pass to end; more are told to come later. */
  waitingMax: number;
}

export const COPY_TIMING: CopyTiming = {
  leaseMs: 2_000,
  clockDriftMax: 0.05,
  retryMs: 50,
  silentMs: 1_000,
  renewMs: 500,
  partBytesMax: 128 * 1024,
  recordsMax: 256,
  pendingMax: 1_024,
  waitingMax: 1_024,
};

/** What is not answered may not have been read yet: to say it again and again would bury a host that is slow. */
const RETRY_GROWTH_MAX = 32;

/** How long to wait after the question was repeated so many times. */
export function retryAfterMs(repeats: number, { retryMs }: CopyTiming): number {
  return retryMs * Math.min(RETRY_GROWTH_MAX, 2 ** repeats);
}
