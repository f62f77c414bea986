import { ShoalError } from '../protocol/errors.js';
import { LIMITS } from '../protocol/limits.js';

/** What an item of so many bytes counts: also an empty one takes memory at the reader. */
export function itemCost(bytes: number): number {
  return bytes + LIMITS.streamItemOverheadBytes;
}

/**
 * The writer's account of what its reader lets it send. An item may be sent as long as there is any credit, whatever its
 * size, so that one larger than the window needs no rule of its own: the reader holds at most the window and one item.
 */
export class SendWindow {
  #credit: number;

  constructor(credit: number) {
    this.#credit = credit;
  }

  get open(): boolean {
    return this.#credit > 0;
  }

  sent(bytes: number): void {
    if (!this.open) throw new ShoalError('SHOAL_E_INTERNAL', 'an item was sent without credit');
    this.#credit -= itemCost(bytes);
  }

  /** Throws SHOAL_E_FRAME for a credit that no reader gives. */
  credited(bytes: number): void {
    if (this.#credit + bytes > LIMITS.streamWindowBytes) {
      throw new ShoalError('SHOAL_E_FRAME', `the reader of a stream gave a credit of ${this.#credit + bytes} bytes`);
    }
    this.#credit += bytes;
  }
}

/** The reader's account: how much more may come, and when to give what was read back to the writer. */
export class ReceiveWindow {
  /** What the writer may still send; below 0 after an item that was larger. */
  #granted: number;
  /** Whether the writer was told of a first credit. */
  #opened: boolean;
  #window: number = LIMITS.streamWindowBytes;
  /** Read, and not yet given back. */
  #read = 0;

  /** `granted`: what the writer was told with the call. */
  constructor(granted: number) {
    this.#granted = granted;
    this.#opened = granted > 0;
  }

  get opened(): boolean {
    return this.#opened;
  }

  /** The credit to tell the writer of before the first item is waited for: all of the window. */
  open(window: number): number {
    this.#opened = true;
    this.#window = window;
    this.#granted = window;
    return window;
  }

  /** Throws SHOAL_E_FRAME when the writer had no credit for it. */
  arrived(bytes: number): void {
    if (this.#granted <= 0) throw new ShoalError('SHOAL_E_FRAME', 'an item of a stream came without credit');
    this.#granted -= itemCost(bytes);
  }

  /** An item was read; answers the credit to give back now, by quarters of the window: 0 for none. */
  read(bytes: number): number {
    this.#read += itemCost(bytes);
    if (this.#read < this.#window / 4) return 0;
    const credit = this.#read;
    this.#granted += credit;
    this.#read = 0;
    return credit;
  }
}
