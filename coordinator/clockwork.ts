/** Monotonic time and timers, passed in so that a simulation can own both. */
export interface Clockwork {
  /** Ms that only rise, whatever happens to the clock on the wall. */
  nowMs(): number;
  /** Runs the action once, `ms` from now. Returns a function that calls it off. */
  after(ms: number, action: () => void): () => void;
}

export const CLOCKWORK: Clockwork = {
  nowMs: () => performance.now(),
  after(ms, action) {
    const timer = setTimeout(action, ms);
    return () => clearTimeout(timer);
  },
};

/** Resolves `ms` from now. */
export function pause(clockwork: Clockwork, ms: number): Promise<void> {
  return new Promise((resolve) => {
    clockwork.after(ms, resolve);
  });
}
