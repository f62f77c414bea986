import { performance } from 'node:perf_hooks';

/** Milliseconds that the event loop of this process has worked since it began; it does not go on while the loop waits. */
function loopActiveMs(): number {
  return performance.eventLoopUtilization().active;
}

/** The work of one call. */
export interface Work {
  /** Runs the first turn of the call's handler, until it returns or first waits. */
  turn<T>(run: () => T): T;
  /** The call has ended; answers the ms of work that are its own. To be called once. */
  end(): number;
}

/**
 * Splits the time that this process works among the calls under way, so that a call that waits for others or a timer
 * counts for little. A first turn is its call's alone. What follows a wait cannot be told apart without following every
 * promise, which costs more than many a handler: it is shared by all calls under way, as in a processor that they share.
 * `end` of a shared call is that virtual time since its beginning. Threads beside the loop are not seen.
 */
export class WorkClock {
  readonly #activeMs: () => number;
  #atMs: number;
  #underWay = 0;
  /** What each call has got that was under way from the first on. */
  #sharedMs = 0;
  /** Whose turn it is. */
  #turn: { ownMs: number } | null = null;

  constructor(activeMs: () => number = loopActiveMs) {
    this.#activeMs = activeMs;
    this.#atMs = activeMs();
  }

  begin(): Work {
    this.#advance();
    this.#underWay += 1;
    const sinceMs = this.#sharedMs;
    const mine = { ownMs: 0 };
    return {
      turn: (run) => this.#inTurn(mine, run),
      end: () => {
        this.#advance();
        this.#underWay -= 1;
        return mine.ownMs + this.#sharedMs - sinceMs;
      },
    };
  }

  #inTurn<T>(mine: { ownMs: number }, run: () => T): T {
    this.#advance();
    const outer = this.#turn;
    this.#turn = mine;
    try {
      return run();
    } finally {
      this.#advance();
      this.#turn = outer;
    }
  }

  #advance(): void {
    const nowMs = this.#activeMs();
    // The loop's figures come from two clocks and may go back by a hair.
    const elapsedMs = Math.max(0, nowMs - this.#atMs);
    this.#atMs = nowMs;
    if (this.#turn !== null) this.#turn.ownMs += elapsedMs;
    else if (this.#underWay > 0) this.#sharedMs += elapsedMs / this.#underWay;
  }
}
