import { LIMITS } from '../protocol/limits.js';

const { streamWindowBytes, streamWindowBytesMin, streamsOfCallerBytes, streamsOfCallerHeldBytesMax } = LIMITS;

/**
 * What the inputs of one caller's calls may take here, all together. Windows get smaller as more streams are open, half of what
 * is left each, but never so small that a stream stands still. An item may be larger than its window; what came and was not
 * read is therefore counted as well, and bounded by itself.
 */
export class StreamMemory {
  #reserved = 0;
  #held = 0;

  /** The window of one more stream, in bytes. To be given back. */
  reserve(): number {
    const half = Math.floor((streamsOfCallerBytes - this.#reserved) / 2);
    const window = Math.max(streamWindowBytesMin, Math.min(streamWindowBytes, half));
    this.#reserved += window;
    return window;
  }

  giveBack(window: number): void {
    this.#reserved -= window;
  }

  /** So much has come; false, and not counted, when that is more than may be held. */
  hold(bytes: number): boolean {
    if (this.#held + bytes > streamsOfCallerHeldBytesMax) return false;
    this.#held += bytes;
    return true;
  }

  release(bytes: number): void {
    this.#held -= bytes;
  }

  /** Bytes of windows, and of items that came. */
  get use(): { reserved: number; held: number } {
    return { reserved: this.#reserved, held: this.#held };
  }
}
