import type { ChannelFds, NativeHost } from '../native/index.js';
import type { ChannelRequest } from '../protocol/channels.js';
import { ShoalError, toShoalError } from '../protocol/errors.js';
import { LIMITS } from '../protocol/limits.js';
import { ChannelCounts } from './channel-counts.js';
import type { ChannelSocket } from './channel-socket.js';

/** An instance as channels know it. */
export interface ChannelParty {
  readonly id: string;
  readonly component: string;
  readonly channels: ChannelSocket;
}

export type OpenRequest = Extract<ChannelRequest, { type: 'open' }>;

/**
 * Makes channels between instances of this host: hands one side to each end and keeps nothing of it but a note, by which
 * they are counted. A channel ends for this count when the callee says so, or when one of the two processes ends: a caller
 * that only pretends gets no more of them.
 */
export class Channels {
  readonly #native: NativeHost;
  readonly #counts: ChannelCounts;

  constructor(native: NativeHost, counts = new ChannelCounts()) {
    this.#native = native;
    this.#counts = counts;
  }

  get size(): number {
    return this.#counts.size;
  }

  /** Answers the caller's request; `grant` says to whom it leads, or throws why it is refused. */
  open(caller: ChannelParty, request: OpenRequest, grant: () => ChannelParty): void {
    const { requestId } = request;
    try {
      this.#make(caller, grant(), requestId);
    } catch (error) {
      const { code, message } = toShoalError(error);
      caller.channels.send({ type: 'refused', requestId, code, detail: message });
    }
  }

  /** Only the callee's word counts, and only of a channel whose other end is on this host. */
  closed(callee: ChannelParty, channel: number): void {
    const ends = this.#counts.get(channel);
    if (ends?.callee === callee.id && ends.host === undefined) this.#counts.remove(channel);
  }

  /** The process of the instance has ended, and its ends of channels with it. */
  forget(id: string): void {
    this.#counts.forget(id);
  }

  #make(caller: ChannelParty, callee: ChannelParty, requestId: number): void {
    const ends = { caller: caller.id, callee: callee.id };
    this.#counts.assertRoom(ends);
    assertConnected(callee);
    const [callers, callees] = this.#native.createChannel(LIMITS.ringBytes);
    const channel = this.#counts.take();
    // The caller first: whoever maps the memory first pays for it, most of the time.
    caller.channels.send({ type: 'opened', requestId }, numbersOf(callers));
    const { id: instance, component } = caller;
    // When it cannot be sent the caller sees that the other end is gone.
    if (callee.channels.send({ type: 'offered', channel, component, instance }, numbersOf(callees))) {
      this.#counts.add(channel, ends);
    }
  }
}

/** In the order in which they are sent. */
export function numbersOf({ memory, strike, listen }: ChannelFds): number[] {
  return [memory, strike, listen];
}

/** Throws SHOAL_E_UNREACHABLE when the instance cannot be offered channels. */
export function assertConnected({ id, channels }: ChannelParty): void {
  if (channels.connected) return;
  throw new ShoalError(
    'SHOAL_E_UNREACHABLE',
    `${id} takes no channels in shared memory: its SDK has not asked for any`,
  );
}
