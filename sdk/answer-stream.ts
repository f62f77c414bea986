import { LIMITS } from '../protocol/limits.js';
import { StreamReader } from './stream-reader.js';

/** The answer of a call as a stream. The call is made when the first item is asked for, and cancelled by leaving early. */
export class AnswerStream implements AsyncIterableIterator<unknown, undefined> {
  readonly reader: StreamReader;
  /** Tells the callee; set by the call once it is sent. */
  onCredit: (bytes: number) => void = () => {};
  readonly #cancel = new AbortController();
  readonly #signal: AbortSignal | undefined;
  readonly #call: (answer: AnswerStream, signal: AbortSignal) => Promise<unknown>;
  #began = false;

  /** `call` resolves when the stream has ended. */
  constructor(call: (answer: AnswerStream, signal: AbortSignal) => Promise<unknown>, signal: AbortSignal | undefined) {
    this.#call = call;
    this.#signal = signal;
    this.reader = new StreamReader(LIMITS.streamWindowBytes, {
      onCredit: (bytes) => this.onCredit(bytes),
      onStop: () => this.#cancel.abort(),
    });
  }

  next(): Promise<IteratorResult<unknown, undefined>> {
    if (!this.#began) {
      this.#began = true;
      void this.#run();
    }
    return this.reader.next();
  }

  return(): Promise<IteratorResult<unknown, undefined>> {
    this.#began = true;
    return this.reader.return();
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async #run(): Promise<void> {
    const abort = () => this.#cancel.abort();
    this.#signal?.addEventListener('abort', abort);
    if (this.#signal?.aborted) abort();
    try {
      await this.#call(this, this.#cancel.signal);
      this.reader.end();
    } catch (error) {
      this.reader.end(error as Error);
    } finally {
      this.#signal?.removeEventListener('abort', abort);
    }
  }
}
