/** One question to a host with another clock, in ms of the clock of who says so. */
export interface ClockTrip {
  sentMs: number;
  /** By the other clock. */
  heardMs: number;
  backMs: number;
}

export interface ClockOffset {
  /** The other clock less the own one. */
  offsetMs: number;
  /** It is at most so far off. */
  errorMs: number;
}

/** Clocks of two hosts run at most this share apart. */
const DRIFT_MAX = 0.001;

/**
 * How far the other clock is ahead at a moment of the own one. It was heard between sent and back, nobody knows when; of all trips
 * that one counts which leaves the least unknown, what clocks may have run apart since included (Cristian, Probabilistic
 * clock synchronization, 1989). Null without a trip.
 */
export function offsetAt(trips: readonly ClockTrip[], atMs: number): ClockOffset | null {
  let best: ClockOffset | null = null;
  for (const { sentMs, heardMs, backMs } of trips) {
    const awayMs = Math.max(0, sentMs - atMs, atMs - backMs);
    const errorMs = (backMs - sentMs) / 2 + awayMs * DRIFT_MAX;
    if (best === null || errorMs < best.errorMs) best = { offsetMs: heardMs - (sentMs + backMs) / 2, errorMs };
  }
  return best;
}
