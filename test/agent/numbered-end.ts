import type { ChannelFds } from '../../native/index.js';
import { RingLink } from '../../native/ring-link.js';
import type { ShoalError } from '../../protocol/errors.js';

/**
 * An instance's end of a channel, which sends records that carry their number and checks that those that come have the
 * numbers 0, 1, 2, … : each once, in order.
 */
export class NumberedEnd {
  received = 0;
  sent = 0;
  closed: { error: ShoalError | undefined } | undefined;
  /** What was wrong with a record. */
  wrong: string | undefined;
  readonly #link: RingLink;
  #toSend = 0;
  #onChange = () => {};

  constructor(fds: ChannelFds, side: 0 | 1) {
    this.#link = new RingLink(
      fds,
      side,
      {
        onRecord: (bytes, offset, length) => this.#take(Buffer.from(bytes.buffer, bytes.byteOffset + offset, length)),
        onRoom: () => this.#pump(),
        onClose: (error) => {
          this.closed = { error };
          this.#onChange();
        },
      },
      0,
    );
  }

  send(count: number): void {
    this.#toSend += count;
    this.#pump();
  }

  /** Until the condition holds; rejects when a record is wrong. */
  async until(condition: (end: this) => boolean): Promise<void> {
    while (!condition(this)) {
      if (this.wrong !== undefined) throw new Error(this.wrong);
      await new Promise<void>((resolve) => {
        this.#onChange = resolve;
      });
    }
    if (this.wrong !== undefined) throw new Error(this.wrong);
  }

  close(): void {
    this.#link.close();
  }

  #pump(): void {
    while (this.sent < this.#toSend && this.#link.send(record(this.sent))) this.sent += 1;
    this.#onChange();
  }

  #take(bytes: Buffer): void {
    if (!bytes.equals(record(this.received))) this.wrong = `record ${this.received} is not what was sent`;
    this.received += 1;
    this.#onChange();
  }
}

function record(number: number): Buffer {
  const bytes = Buffer.alloc(8 + ((number * 7919) % 500), number & 255);
  bytes.writeDoubleLE(number);
  return bytes;
}
