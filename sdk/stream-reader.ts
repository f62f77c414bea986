import { ShoalError } from '../protocol/errors.js';
import { decodeBody } from '../protocol/frame.js';
import { LIMITS } from '../protocol/limits.js';
import type { StreamMemory } from './stream-memory.js';
import { itemCost, ReceiveWindow } from './stream-window.js';

export interface StreamReaderEvents {
  /** The first item is asked for, or what was read is to be given back to the writer: so many bytes. */
  onCredit(bytes: number): void;
  /** The reader leaves before the end: no more items are wanted. */
  onStop(): void;
}

interface Waiting {
  resolve(step: IteratorResult<unknown, undefined>): void;
  reject(error: Error): void;
}

/**
 * The reading end of a stream: an async iterable, to be gone through once. Holds unread at most the window
 * (LIMITS.streamWindowBytes) and one item. What came before the end of the stream, or before its writer died, is read
 * before that; a cancelled stream ends at once.
 */
export class StreamReader implements AsyncIterableIterator<unknown, undefined> {
  readonly #events: StreamReaderEvents;
  readonly #window: ReceiveWindow;
  readonly #items: Uint8Array[] = [];
  readonly #waiting: Waiting[] = [];
  readonly #memory: StreamMemory | undefined;
  #reserved = 0;
  #bytes = 0;
  #begun = false;
  #ended = false;
  /** Thrown once, after the last item. */
  #error: Error | undefined;

  /** `granted`: what the writer may send before it hears of more. `memory`: what this stream shares with others. */
  constructor(granted: number, events: StreamReaderEvents, memory?: StreamMemory) {
    this.#memory = memory;
    this.#window = new ReceiveWindow(granted);
    this.#events = events;
  }

  /** Whether an item has ever come. */
  get begun(): boolean {
    return this.#begun;
  }

  /** Bytes of items that came and were not read. */
  get unreadBytes(): number {
    return this.#bytes;
  }

  /** An item has come. Throws SHOAL_E_FRAME when there was no credit for it. */
  take(bytes: Uint8Array): void {
    if (this.#ended) return;
    this.#window.arrived(bytes.length);
    this.#begun = true;
    if (this.#memory?.hold(itemCost(bytes.length)) === false) {
      this.#refuse();
      return;
    }
    // What came in a larger piece of memory must not hold on to all of that.
    this.#items.push(bytes.buffer.byteLength > 2 * bytes.length ? copyOf(bytes) : bytes);
    this.#bytes += bytes.length;
    const waiting = this.#waiting.shift();
    if (waiting !== undefined) this.#hand(waiting);
  }

  /** No more items come; `error`: why, when that is not the stream's own end. */
  end(error?: Error): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#error = error;
    this.#memory?.giveBack(this.#reserved);
    if (error instanceof ShoalError && error.code === 'SHOAL_E_CANCELLED') this.#drop();
    for (const waiting of this.#waiting.splice(0)) this.#hand(waiting);
  }

  /** Nobody reads it any more: what is left goes. `error`: for who reads it all the same. */
  close(error: ShoalError): void {
    this.end(error);
    if (this.#items.length === 0) return;
    this.#drop();
    this.#error = error;
  }

  next(): Promise<IteratorResult<unknown, undefined>> {
    if (!this.#ended && !this.#window.opened) this.#open();
    return new Promise((resolve, reject) => {
      const waiting = { resolve, reject };
      if (this.#items.length > 0 || this.#ended) this.#hand(waiting);
      else this.#waiting.push(waiting);
    });
  }

  /** What a `for await` calls that is left early. */
  async return(): Promise<IteratorResult<unknown, undefined>> {
    this.#leave();
    return { done: true, value: undefined };
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  #open(): void {
    this.#reserved = this.#memory?.reserve() ?? 0;
    this.#events.onCredit(this.#window.open(this.#reserved || LIMITS.streamWindowBytes));
  }

  /** Its caller has more unread here than it may. */
  #refuse(): void {
    const most = LIMITS.streamsOfCallerHeldBytesMax;
    this.#drop();
    this.end(new ShoalError('SHOAL_E_OVERLOADED', `streams of one caller have more than ${most} bytes unread`));
    this.#events.onStop();
  }

  #leave(): void {
    const early = !this.#ended;
    this.#drop();
    this.#error = undefined;
    this.end();
    if (early) this.#events.onStop();
  }

  #drop(): void {
    for (const { length } of this.#items) this.#memory?.release(itemCost(length));
    this.#items.length = 0;
    this.#bytes = 0;
  }

  #hand({ resolve, reject }: Waiting): void {
    const bytes = this.#items.shift();
    const error = this.#error;
    if (bytes !== undefined) {
      this.#bytes -= bytes.length;
      this.#memory?.release(itemCost(bytes.length));
      const credit = this.#window.read(bytes.length);
      if (credit > 0 && !this.#ended) this.#events.onCredit(credit);
      try {
        resolve({ done: false, value: decodeBody(bytes) });
      } catch (broken) {
        // A loop that meets an error does not come back to leave.
        this.#leave();
        reject(broken as ShoalError);
      }
    } else if (error !== undefined) {
      this.#error = undefined;
      reject(error);
    } else resolve({ done: true, value: undefined });
  }
}

function copyOf(bytes: Uint8Array): Buffer {
  const copy = Buffer.allocUnsafeSlow(bytes.length);
  copy.set(bytes);
  return copy;
}
