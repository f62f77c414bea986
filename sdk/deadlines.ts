/** What is given up when its time has come. */
export interface Expiring {
  /** By performance.now(). */
  readonly deadlineMs: number;
  expire(): void;
}

/** No look comes sooner after another: a crowd of short deadlines costs no timer each. */
const LOOK_MS_MIN = 2;

/**
 * The deadlines of all calls under way, by one timer: a timer for each costs more than a call over a ring. It goes off at the
 * first deadline that it heard of, even when that was met meanwhile, and then waits for the first of those that are left.
 * With no call under way it is not set again. It keeps no process alive.
 */
export class Deadlines {
  readonly #all = new Set<Expiring>();
  readonly #look = () => this.#expire();
  #timer: NodeJS.Timeout | undefined;
  #dueMs = Number.POSITIVE_INFINITY;

  add(one: Expiring): void {
    this.#all.add(one);
    if (one.deadlineMs < this.#dueMs) this.#wait(one.deadlineMs);
  }

  delete(one: Expiring): void {
    this.#all.delete(one);
  }

  #wait(dueMs: number): void {
    clearTimeout(this.#timer);
    this.#dueMs = dueMs;
    this.#timer = setTimeout(this.#look, Math.max(LOOK_MS_MIN, dueMs - performance.now())).unref();
  }

  #expire(): void {
    this.#dueMs = Number.POSITIVE_INFINITY;
    const nowMs = performance.now();
    let nextMs = Number.POSITIVE_INFINITY;
    for (const one of this.#all) {
      if (one.deadlineMs > nowMs) nextMs = Math.min(nextMs, one.deadlineMs);
      else {
        this.#all.delete(one);
        one.expire();
      }
    }
    // What expired may have begun another call.
    if (nextMs < this.#dueMs) this.#wait(nextMs);
  }
}
