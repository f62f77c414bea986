import { RingLink, type RingLinkEvents, SPIN_MS_MAX } from '../native/ring-link.js';
import type { ChannelFds } from '../native/types.js';
import type { FabricRequest, FabricResponse } from '../protocol/control.js';
import { ShoalError } from '../protocol/errors.js';
import { decodeBody } from '../protocol/frame.js';
import { LIMITS } from '../protocol/limits.js';
import { decodeMessage, encodeMessage } from './call-frames.js';
import type { Carrier, Channel, Listener, PeerAddress } from './carrier.js';
import type { ChannelBroker, Offer } from './channel-broker.js';
import { Room } from './room.js';

/** The callee has so long to take a channel that it was offered. */
const WELCOME_MS_MAX = 2_000;
/** A caller that lets so many bytes of answers wait is not read from until it has taken them: one largest message. */
const QUEUED_BYTES_MAX = LIMITS.frameBytesMax;
/** Says that the callee has taken the channel: no message is empty. */
const WELCOME = new Uint8Array(0);
/** Room that a message in several records gets at first. */
const PARTS_BYTES_MIN = 64 * 1024;
/** Messages in one record are copied here before they are looked at, since the peer can still change the ring. */
const scratch = Buffer.alloc(LIMITS.ringBytes / 4);

/** Of channels that this instance has dialled. */
const NOT_ACCEPTED = { isOwn: false, closed: () => {} };

/** Who gets channels. */
export type RingBroker = Pick<ChannelBroker, 'open' | 'onOffer' | 'closed'>;

/** Messages over rings in shared memory (docs/fabric.md), set up by the agent. */
export class RingCarrier implements Carrier {
  readonly #broker: RingBroker;
  readonly #spinMsMax: number;
  readonly #component: string | undefined;
  #accept: ((channel: Channel) => void) | undefined;
  #accepted = 0;

  /** `broker`: closed by its owner. `spinMsMax`: as long as an end may spin; 0: never. `component`: of this instance. */
  constructor(broker: RingBroker, spinMsMax = SPIN_MS_MAX, component?: string) {
    this.#component = component;
    this.#spinMsMax = spinMsMax;
    this.#broker = broker;
    broker.onOffer = (offer) => this.#take(offer);
  }

  async listen(accept: (channel: Channel) => void): Promise<Listener> {
    this.#accept = accept;
    return {
      close: async () => {
        this.#accept = undefined;
      },
    };
  }

  async dial(address: PeerAddress): Promise<Channel> {
    const fds = await this.#broker.open(address);
    const channel = new RingChannel(fds, 0, this.#spinMsMax);
    await channel.untilWelcome();
    return channel;
  }

  #take({ channel: number, component, fds }: Offer): void {
    const accept = this.#accepted < LIMITS.channelsPerInstanceMax ? this.#accept : undefined;
    const channel = this.#open(fds, number, component === this.#component);
    if (accept === undefined) channel?.close('this instance takes no more channels');
    else if (channel !== undefined) accept(channel);
  }

  #open(fds: ChannelFds, number: number, isOwn: boolean): RingChannel | undefined {
    this.#accepted += 1;
    const closed = () => {
      this.#accepted -= 1;
      this.#broker.closed(number);
    };
    try {
      return new RingChannel(fds, 1, this.#spinMsMax, { isOwn, closed });
    } catch {
      // No memory or no descriptors are left here: the caller sees that nobody took it, and goes another way.
      closed();
      return undefined;
    }
  }
}

class RingChannel implements Channel {
  readonly kind = 'ring';
  readonly isOwn: boolean;
  readonly #link: RingLink;
  readonly #accepted: boolean;
  /** Told before anybody else that it is closed. */
  readonly #closed: () => void;
  /** What is left of messages that had no room. */
  readonly #queue: Uint8Array[] = [];
  #queuedBytes = 0;
  readonly #room = new Room();
  /** Of a message that comes in several records. */
  #parts = Buffer.alloc(0);
  #partsBytes = 0;
  #welcome: ((error: ShoalError | undefined) => void) | undefined;
  #why: string | undefined;
  #closedWhy: string | undefined;
  #onClose: (why: string) => void = () => {};
  #onMessage: ((message: unknown) => void) | undefined;

  /** Takes the descriptors over. */
  constructor(fds: ChannelFds, side: 0 | 1, spinMsMax: number, { isOwn, closed } = NOT_ACCEPTED) {
    this.isOwn = isOwn;
    this.#accepted = side === 1;
    this.#closed = closed;
    const events: RingLinkEvents = {
      onRecord: (bytes, offset, length, more) => this.#take(bytes, offset, length, more),
      onRoom: () => this.#flush(),
      onClose: (error) => this.#ended(error?.message ?? 'the other side closed the connection'),
    };
    this.#link = new RingLink(fds, side, events, spinMsMax);
    if (this.#accepted) this.#link.send(WELCOME);
  }

  /** Rejects when nobody takes the other side; then it is closed. */
  untilWelcome(): Promise<void> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => this.close(`nobody took the channel within ${WELCOME_MS_MAX} ms`), WELCOME_MS_MAX);
      this.#welcome = (error) => {
        clearTimeout(timer);
        this.#welcome = undefined;
        if (error === undefined) resolve();
        else reject(error);
      };
    });
  }

  get queuedBytes(): number {
    return this.#queuedBytes;
  }

  untilRoom(): Promise<void> | undefined {
    return this.#room.until(this.#queuedBytes);
  }

  get onMessage(): (message: unknown) => void {
    return this.#onMessage ?? (() => undefined);
  }

  set onMessage(take: (message: unknown) => void) {
    this.#onMessage = take;
    this.#link.resume();
  }

  get onClose(): (why: string) => void {
    return this.#onClose;
  }

  /** A channel may be lost before its owner has come to set this; it is told then. */
  set onClose(action: (why: string) => void) {
    this.#onClose = action;
    if (this.#closedWhy !== undefined) action(this.#closedWhy);
  }

  send(message: FabricRequest | FabricResponse): void {
    const body = encodeMessage(message);
    if (this.#why !== undefined) return;
    const rest = this.#queue.length > 0 ? body : this.#put(body);
    if (rest === undefined || this.#why !== undefined) return;
    this.#queue.push(rest);
    this.#queuedBytes += rest.length;
    // Only the callee waits: if the caller did too, both could wait for each other.
    if (this.#accepted && this.#queuedBytes > QUEUED_BYTES_MAX) this.#link.pause();
  }

  close(why = 'closed by this instance'): void {
    if (this.#why !== undefined) return;
    this.#why = why;
    if (this.#queue.length === 0) this.#finish();
  }

  /** Sends what there is room for; answers what is left. */
  #put(body: Uint8Array): Uint8Array | undefined {
    const most = this.#link.lengthMax;
    if (body.length <= most) return this.#link.send(body) ? undefined : body;
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
    this.#room.open();
    if (this.#why !== undefined) this.#finish();
    else this.#link.resume();
  }

  #take(bytes: Uint8Array, offset: number, length: number, more: boolean): void {
    if (this.#welcome !== undefined) {
      if (length !== 0) throw new ShoalError('SHOAL_E_FRAME', 'the peer did not begin with its welcome');
      // What comes next waits for who takes it.
      this.#link.pause();
      this.#welcome(undefined);
      return;
    }
    if (length === 0) throw new ShoalError('SHOAL_E_FRAME', 'the peer sent an empty record');
    const record = bytes.subarray(offset, offset + length);
    if (more || this.#partsBytes > 0) this.#addPart(record);
    if (more) return;
    if (this.#partsBytes === 0) {
      scratch.set(record);
      this.#deliver(decodeMessage(scratch, length));
      return;
    }
    const body = this.#parts.subarray(0, this.#partsBytes);
    this.#parts = Buffer.alloc(0);
    this.#partsBytes = 0;
    this.#deliver(decodeBody(body));
  }

  #deliver(message: unknown): void {
    if (this.#onMessage === undefined) throw new ShoalError('SHOAL_E_INTERNAL', 'nobody takes messages');
    this.#onMessage(message);
  }

  /** The room doubles: many small records cost no more than few large ones. */
  #addPart(record: Uint8Array): void {
    const bytes = this.#partsBytes + record.length;
    if (bytes > LIMITS.frameBytesMax) {
      throw new ShoalError('SHOAL_E_FRAME', `the peer sent a message of more than ${LIMITS.frameBytesMax} bytes`);
    }
    if (bytes > this.#parts.length) {
      const grown = Buffer.allocUnsafe(Math.max(PARTS_BYTES_MIN, bytes, 2 * this.#parts.length));
      grown.set(this.#parts.subarray(0, this.#partsBytes));
      this.#parts = grown;
    }
    this.#parts.set(record, this.#partsBytes);
    this.#partsBytes = bytes;
  }

  /** Not at once: who closes has not come to its end. */
  #finish(): void {
    this.#link.close();
    queueMicrotask(() => this.#ended(this.#why ?? ''));
  }

  #ended(why: string): void {
    if (this.#closedWhy !== undefined) return;
    this.#why ??= why;
    this.#closedWhy = this.#why;
    this.#queue.length = 0;
    this.#queuedBytes = 0;
    this.#room.open();
    this.#closed();
    this.#welcome?.(new ShoalError('SHOAL_E_UNREACHABLE', this.#closedWhy));
    this.#onClose(this.#closedWhy);
  }
}
