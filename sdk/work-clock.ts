import { performance } from 'node:perf_hooks';

/**
 * Milliseconds that the event loop of this process has worked, from any beginning; it does not go on while the loop waits.
 * How long it has waited is asked once until promises have had their turn: before that it cannot have waited again.
 */
function loopClock(): () => number {
  let idleMs: number | undefined;
  const forget = () => {
    idleMs = undefined;
  };
  return () => {
    if (idleMs === undefined) {
      idleMs = performance.eventLoopUtilization().idle;
      process.nextTick(forget);
    }
    return performance.now() - idleMs;
  };
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
  #turn: Work | null = null;

  constructor(activeMs: () => number = loopClock()) {
    this.#activeMs = activeMs;
    this.#atMs = activeMs();
  }

  begin(): Work {
    this.#advance();
    this.#underWay += 1;
    return new Work(this, this.#sharedMs);
  }

  inTurn<T>(work: Work, run: () => T): T {
    this.#advance();
    const outer = this.#turn;
    this.#turn = work;
    try {
      return run();
    } finally {
      this.#advance();
      this.#turn = outer;
    }
  }

  /** Answers what each call has got by now that was under way from the first on. */
  end(): number {
    this.#advance();
    this.#underWay -= 1;
    return this.#sharedMs;
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

/** The work of one call. */
export class Work {
  /** Of its own turns. */
  ownMs = 0;
  readonly #clock: WorkClock;
  readonly #sinceMs: number;

  constructor(clock: WorkClock, sinceMs: number) {
    this.#clock = clock;
    this.#sinceMs = sinceMs;
  }

  /** Runs the first turn of the call's handler, until it returns or first waits. */
  turn<T>(run: () => T): T {
    return this.#clock.inTurn(this, run);
  }

  /** The call has ended; answers the ms of work that are its own. To be called once. */
  end(): number {
    return this.ownMs + this.#clock.end() - this.#sinceMs;
  }
}
