import type { ShoalError } from '../protocol/errors.js';
import { LIMITS } from '../protocol/limits.js';

/**
 * When the agent of this host is dialled again, which may come and go: later and later while nothing sensible is heard from
 * it, and at once for who waits.
 */
export class Redial {
  readonly #dial: () => void;
  readonly #waiting = new Set<() => void>();
  #timer: NodeJS.Timeout | undefined;
  #delayMs: number = LIMITS.reconnectMsMin;
  #closed = false;

  constructor(dial: () => void) {
    this.#dial = dial;
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** The connection is there. */
  connected(): void {
    for (const wake of [...this.#waiting]) wake();
  }

  /** What came over it makes sense. */
  heard(): void {
    this.#delayMs = LIMITS.reconnectMsMin;
  }

  /** The connection is lost, or did not come about. */
  later(): void {
    if (this.#closed) return;
    this.#timer = setTimeout(() => this.#again(), this.#delayMs);
    this.#delayMs = Math.min(LIMITS.reconnectMsMax, this.#delayMs * 2);
  }

  /** For who needs a connection and has none: dials at once, since the agent may be back. Rejects after so many ms. */
  untilConnected(ms: number, away: () => ShoalError): Promise<void> {
    return new Promise((resolve, reject) => {
      const done = () => {
        clearTimeout(timer);
        this.#waiting.delete(wake);
      };
      const wake = () => {
        done();
        resolve();
      };
      const timer = setTimeout(() => {
        done();
        reject(away());
      }, ms);
      this.#waiting.add(wake);
      if (this.#timer === undefined) return;
      clearTimeout(this.#timer);
      this.#delayMs = LIMITS.reconnectMsMin;
      this.#again();
    });
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  #again(): void {
    this.#timer = undefined;
    this.#dial();
  }
}
