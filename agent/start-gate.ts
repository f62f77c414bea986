import assert from 'node:assert/strict';

/** What is not up by then has its reasons, and others go on. */
export const START_HELD_MS_MAX = 2_000;

/**
 * So few processes start at once that each is up soon: a thousand that load themselves side by side would all be late, and
 * those that were given up would start anew. A place is held until its process is up or has ended, and at most for a while, so
 * that one with a slow image, or one that never gets ready, holds up nobody. Who came first goes first.
 */
export class StartGate {
  readonly #heldMsMax: number;
  readonly #waiting: (() => void)[] = [];
  #free: number;

  constructor(places: number, heldMsMax: number) {
    assert(places > 0);
    this.#free = places;
    this.#heldMsMax = heldMsMax;
  }

  /** Resolves with what gives the place back; safe to call again. */
  async enter(): Promise<() => void> {
    if (this.#free > 0) this.#free -= 1;
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
    let held = true;
    const leave = () => {
      if (!held) return;
      held = false;
      clearTimeout(timer);
      const next = this.#waiting.shift();
      if (next === undefined) this.#free += 1;
      else next();
    };
    const timer = setTimeout(leave, this.#heldMsMax);
    timer.unref();
    return leave;
  }
}
