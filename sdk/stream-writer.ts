import { Readable } from 'node:stream';
import { encodeBody } from '../protocol/frame.js';
import { SendWindow } from './stream-window.js';

/** What a stream can be made of: a generator, a list, a Node stream or a Web stream. */
export type StreamSource = AsyncIterable<unknown> | Iterable<unknown>;

/** Where items go. */
export interface StreamSink {
  /** An item in msgpack. Throws SHOAL_E_FRAME when it is too large for a message. */
  send(bytes: Uint8Array): void;
  /** Undefined when there is room now. */
  untilRoom(): Promise<void> | undefined;
}

type Steps = Pick<AsyncIterator<unknown>, 'next' | 'return'>;

/** A text is a list of its characters and a buffer one of its bytes, but nobody means that. */
export function isSource(value: unknown): value is StreamSource {
  if (typeof value !== 'object' || value === null || ArrayBuffer.isView(value)) return false;
  return Symbol.asyncIterator in value || Symbol.iterator in value;
}

/** Ends a source that nobody will read, or that has been. */
export async function discard(source: StreamSource): Promise<void> {
  try {
    if (source instanceof Readable) source.destroy();
    else if (!(source instanceof ReadableStream)) await (source as Partial<AsyncIterator<unknown>>).return?.();
    else if (!source.locked) await source.cancel();
  } catch {
    // What it throws at its end is its own matter: there is nobody left to be told.
  }
}

/** What `return` answers ends also a step under way, which generators cannot: those look at the call's signal. */
function stepsOf(source: StreamSource): Steps {
  if (source instanceof Readable) {
    const steps = source[Symbol.asyncIterator]();
    return {
      next: () => steps.next(),
      return: async () => {
        source.destroy();
        return { done: true, value: undefined };
      },
    };
  }
  if (source instanceof ReadableStream) {
    const reader = source.getReader();
    return {
      next: async () => {
        const step = await reader.read();
        return step.done ? { done: true, value: undefined } : { done: false, value: step.value };
      },
      return: async () => {
        await reader.cancel();
        return { done: true, value: undefined };
      },
    };
  }
  return Symbol.asyncIterator in source ? source[Symbol.asyncIterator]() : awaiting(source[Symbol.iterator]());
}

/** A list's promises are awaited, as `for await` does. */
function awaiting(steps: Iterator<unknown>): Steps {
  return {
    next: async () => {
      const step = steps.next();
      return step.done === true ? step : { done: false, value: await step.value };
    },
    return: async () => steps.return?.() ?? { done: true, value: undefined },
  };
}

/**
 * The writing end of a stream. Asks its source for an item only when it may be sent at once, so that nothing is held here:
 * neither while the reader gives no credit nor while the channel is full.
 */
export class StreamWriter {
  readonly #sink: StreamSink;
  readonly #window: SendWindow;
  #steps: Steps | undefined;
  #stopped = false;
  #returned: Promise<unknown> | undefined;
  #wake: (() => void) | undefined;
  /** Called when the first item is sent. */
  onFirst: (() => void) | undefined;

  constructor(sink: StreamSink, credit: number) {
    this.#sink = sink;
    this.#window = new SendWindow(credit);
  }

  /** Throws SHOAL_E_FRAME for a credit that no reader gives. */
  credited(bytes: number): void {
    this.#window.credited(bytes);
    this.#wake?.();
  }

  /** No more items are wanted: the source is ended as by a `break` in a `for await`. */
  stop(): void {
    if (this.#stopped) return;
    this.#stopped = true;
    this.#wake?.();
    this.#return();
  }

  /** Resolves when all is sent or no more is wanted, and the source has ended. Rejects with what the source throws. */
  async run(source: StreamSource): Promise<void> {
    if (this.#stopped) return discard(source);
    const steps = stepsOf(source);
    this.#steps = steps;
    try {
      while (await this.#mayContinue()) {
        const step = await steps.next();
        if (step.done === true) {
          this.#steps = undefined;
          return;
        }
        if (!this.#stopped) this.#send(step.value);
      }
    } catch (error) {
      // A source that was told to end may say so by an error.
      if (!this.#stopped) throw error;
    } finally {
      this.#return();
      await this.#returned;
    }
  }

  #send(value: unknown): void {
    const bytes = encodeBody(value);
    this.#sink.send(bytes);
    this.#window.sent(bytes.length);
    this.onFirst?.();
    this.onFirst = undefined;
  }

  async #mayContinue(): Promise<boolean> {
    while (!this.#stopped) {
      const room = this.#sink.untilRoom();
      if (room !== undefined) await room;
      else if (this.#window.open) return true;
      else
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
    }
    return false;
  }

  /** What the source throws at its end is its own matter: there is nobody left to be told. */
  #return(): void {
    const steps = this.#steps;
    this.#steps = undefined;
    if (steps?.return === undefined) return;
    this.#returned = (async () => steps.return?.())().catch(() => undefined);
  }
}
