import type { Logger } from 'pino';
import { LeftOutCounter } from './left-out.js';

/** Lines of the log: whoever is refused can ask as fast as it likes. */
const LINE_RATES = { perAddress: { perSecond: 1, burst: 60 }, inAll: { perSecond: 20, burst: 600 } };
const TOLD_EVERY_MS = 10_000;

interface Refused {
  who?: string;
  [field: string]: unknown;
}

/** The log of what is refused, bounded; how much was left out, and of whom, is told by a line of its own. */
export class RefusalLog {
  readonly #log: Logger;
  readonly #tellEveryMs: number;
  readonly #counter = new LeftOutCounter(LINE_RATES);
  #timer: NodeJS.Timeout | null = null;

  constructor(log: Logger, tellEveryMs: number = TOLD_EVERY_MS) {
    this.#log = log;
    this.#tellEveryMs = tellEveryMs;
  }

  /** `from`: the address of whoever is refused; `who`: a name that has been proven, which is bounded by itself. */
  warn(from: string, what: Refused, message: string): void {
    if (this.#counter.take(what.who ?? from)) this.#log.warn({ ...what, from }, message);
    else this.#timer ??= setTimeout(() => this.#tell(), this.#tellEveryMs).unref();
  }

  /** Tells what has not been told yet. */
  close(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#tell();
  }

  #tell(): void {
    this.#timer = null;
    const leftOut = this.#counter.drain();
    if (leftOut !== null) this.#log.warn({ audit: true, ...leftOut }, 'refused requests were left out of this log');
  }
}
