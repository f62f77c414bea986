/** It runs so much faster or slower than the clock on the wall while it is apart from it. */
const SLEW = 0.25;
/** A clock that was so far off was none: it is set, as when a machine without a battery has asked for the time. */
const APART_MS_MAX = 86_400_000;

/**
 * A clock that follows the one on the wall and never jumps: when that one is set, by an operator or over the network, it
 * nears it in small steps. So a span is at most a third too long and a fifth too short, whatever is done to the clock, and no
 * host is taken for lost or silent because of it. `wall`: ms since the epoch; `monotonic`: ms that only rise.
 */
export function steadyClock(
  wall: () => number = Date.now,
  monotonic: () => number = () => performance.now(),
): () => number {
  let now = wall();
  let sinceMs = monotonic();
  return () => {
    const nowMs = monotonic();
    const passedMs = nowMs - sinceMs;
    sinceMs = nowMs;
    const apartMs = wall() - (now + passedMs);
    const slewMs = SLEW * passedMs;
    const isClock = Math.abs(apartMs) <= APART_MS_MAX;
    now += passedMs + (isClock ? Math.min(slewMs, Math.max(-slewMs, apartMs)) : apartMs);
    return Math.floor(now);
  };
}
