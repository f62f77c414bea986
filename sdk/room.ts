import { LIMITS } from '../protocol/limits.js';

/** Streams send no more while so many bytes wait in a channel: then a call is behind little, whatever streams there are. */
const QUEUED_BYTES_MAX = LIMITS.ringBytes;

/** Streams that wait for a channel to take what it has. */
export class Room {
  #opened: Promise<void> | undefined;
  #open: (() => void) | undefined;

  /** Undefined when so few bytes wait that more may be sent. */
  until(queuedBytes: number): Promise<void> | undefined {
    if (queuedBytes <= QUEUED_BYTES_MAX) return undefined;
    this.#opened ??= new Promise((resolve) => {
      this.#open = resolve;
    });
    return this.#opened;
  }

  /** The channel has sent all that waited, or is closed. */
  open(): void {
    this.#open?.();
    this.#opened = undefined;
    this.#open = undefined;
  }
}
