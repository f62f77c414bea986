import type { ChannelFds } from '../../native/index.js';
import { RingLink } from '../../native/ring-link.js';
import { ShoalError } from '../../protocol/errors.js';
import { decodeBody, encodeBody } from '../../protocol/frame.js';
import { LIMITS } from '../../protocol/limits.js';
import { TokenBucket } from '../../protocol/token-bucket.js';

/** An agent that lets so much wait is cut off before it fills this one's memory. */
const QUEUED_BYTES_MAX = 2 * LIMITS.frameBytesMax;
/** Says that the other agent has its side: no message is empty. */
const WELCOME = new Uint8Array(0);
/** Two agents that both wait have other things to do. */
const SPIN_MS = 0;

export interface CopyChannelEvents {
  /** Its memory is its own. What it throws ends the channel. */
  message(message: unknown): void;
  /** Once, not after close(): the other side is gone (no error), or something is wrong. */
  closed(error: ShoalError | undefined): void;
}

/**
 * One agent's end of a channel of the fabric with the agent of another host: messages in msgpack, each one record or
 * several. They come whole, in order and at most once, whatever carries them; what waits when the channel ends is lost.
 */
export class CopyChannel {
  readonly #link: RingLink;
  readonly #events: CopyChannelEvents;
  readonly #rate = new TokenBucket(LIMITS.hostMessagesPerSecondMax, LIMITS.hostMessagesBurstMax);
  #paused: NodeJS.Timeout | undefined;
  /** What is left of messages that had no room. */
  readonly #queue: Uint8Array[] = [];
  #queuedBytes = 0;
  /** Of a message that comes in several records. */
  #parts: Uint8Array[] = [];
  #partsBytes = 0;
  #isOpen = false;
  #sentBytes = 0;

  /** Takes the descriptors over. */
  constructor(fds: ChannelFds, side: 0 | 1, events: CopyChannelEvents) {
    this.#events = events;
    const ring = {
      onRecord: (bytes: Uint8Array, offset: number, length: number, more: boolean) =>
        this.#take(bytes.subarray(offset, offset + length), more),
      onRoom: () => this.#flush(),
      onClose: (error: ShoalError | undefined) => this.#end(error),
    };
    this.#link = new RingLink(fds, side, ring, SPIN_MS);
    this.#link.send(WELCOME);
  }

  /** The other agent has its side. */
  get isOpen(): boolean {
    return this.#isOpen;
  }

  /** Bytes of messages, since it was made. */
  get sentBytes(): number {
    return this.#sentBytes;
  }

  /** False: it is not taken. Throws SHOAL_E_FRAME when the message is too large or cannot be encoded. */
  send(message: unknown): boolean {
    if (!this.#isOpen) return false;
    const body = encodeBody(message);
    if (this.#queuedBytes + body.length > QUEUED_BYTES_MAX) {
      this.close();
      this.#events.closed(new ShoalError('SHOAL_E_OVERLOADED', 'the other agent does not read'));
      return false;
    }
    this.#sentBytes += body.length;
    const rest = this.#queue.length > 0 ? body : this.#put(body);
    if (rest !== undefined) {
      this.#queue.push(rest);
      this.#queuedBytes += rest.length;
    }
    return this.#isOpen;
  }

  close(): void {
    this.#isOpen = false;
    this.#queue.length = 0;
    clearTimeout(this.#paused);
    this.#link.close();
  }

  /** Sends what there is room for; answers what is left. */
  #put(body: Uint8Array): Uint8Array | undefined {
    const most = this.#link.lengthMax;
    for (let offset = 0; offset < body.length; offset += most) {
      const end = Math.min(body.length, offset + most);
      if (!this.#link.send(body.subarray(offset, end), end < body.length)) return body.subarray(offset);
    }
    return undefined;
  }

  #flush(): void {
    for (let body = this.#queue[0]; body !== undefined; body = this.#queue[0]) {
      const rest = this.#put(body);
      this.#queuedBytes -= body.length - (rest?.length ?? 0);
      if (rest !== undefined) {
        this.#queue[0] = rest;
        return;
      }
      this.#queue.shift();
    }
  }

  #take(record: Uint8Array, more: boolean): void {
    if (!this.#isOpen) {
      if (record.length !== 0) throw new ShoalError('SHOAL_E_FRAME', 'the other agent did not begin with its welcome');
      this.#isOpen = true;
      return;
    }
    this.#partsBytes += record.length;
    if (record.length === 0 || this.#partsBytes > LIMITS.frameBytesMax) {
      throw new ShoalError('SHOAL_E_FRAME', 'the other agent sent an empty record, or a message that is too long');
    }
    // A record is borrowed, and a message keeps what it is read from.
    this.#parts.push(record.slice());
    if (more) return;
    const body = this.#parts.length === 1 ? (this.#parts[0] as Uint8Array) : Buffer.concat(this.#parts);
    this.#parts = [];
    this.#partsBytes = 0;
    this.#rate.take(1);
    this.#events.message(decodeBody(body));
    this.#slowDown();
  }

  #slowDown(): void {
    const waitMs = this.#rate.debtMs();
    if (waitMs === 0 || this.#paused !== undefined || !this.#isOpen) return;
    this.#link.pause();
    this.#paused = setTimeout(() => {
      this.#paused = undefined;
      this.#link.resume();
    }, waitMs);
  }

  #end(error: ShoalError | undefined): void {
    this.#isOpen = false;
    clearTimeout(this.#paused);
    this.#events.closed(error);
  }
}
