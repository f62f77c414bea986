import type { NativeHost } from '../native/index.js';
import type { ChannelRequest } from '../protocol/channels.js';
import { ShoalError, toShoalError } from '../protocol/errors.js';
import { LIMITS } from '../protocol/limits.js';
import type { ChannelSocket } from './channel-socket.js';

/** An instance as channels know it. */
export interface ChannelParty {
  readonly id: string;
  readonly component: string;
  readonly channels: ChannelSocket;
}

interface Channel {
  caller: string;
  callee: string;
}

type OpenRequest = Extract<ChannelRequest, { type: 'open' }>;

/**
 * Makes channels between instances of this host: hands one side to each end and keeps nothing of it but a note, by which
 * they are counted. A channel ends for this count when the callee says so, or when one of the two processes ends: a caller
 * that only pretends gets no more of them.
 */
export class Channels {
  readonly #native: NativeHost;
  readonly #open = new Map<number, Channel>();
  readonly #counts = new Map<string, number>();
  #next = 1;

  constructor(native: NativeHost) {
    this.#native = native;
  }

  get size(): number {
    return this.#open.size;
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

  /** Only the callee's word counts. */
  closed(callee: ChannelParty, channel: number): void {
    if (this.#open.get(channel)?.callee === callee.id) this.#remove(channel);
  }

  /** The process of the instance has ended, and its ends of channels with it. */
  forget(id: string): void {
    for (const [number, { caller, callee }] of this.#open) {
      if (caller === id || callee === id) this.#remove(number);
    }
  }

  #make(caller: ChannelParty, callee: ChannelParty, requestId: number): void {
    const limits = limitsOf({ caller: caller.id, callee: callee.id });
    for (const [what, most] of limits) {
      if ((this.#counts.get(what) ?? 0) < most) continue;
      throw new ShoalError('SHOAL_E_OVERLOADED', `there are ${most} channels ${what}, which is the most`);
    }
    if (!callee.channels.connected) throw unreachable(callee);
    const [callers, callees] = this.#native.createChannel(LIMITS.ringBytes);
    const channel = this.#next++;
    // The caller first: whoever maps the memory first pays for it, most of the time.
    caller.channels.send({ type: 'opened', requestId }, callers);
    const { id: instance, component } = caller;
    // When it cannot be sent the caller sees that the other end is gone.
    if (!callee.channels.send({ type: 'offered', channel, component, instance }, callees)) return;
    this.#open.set(channel, { caller: caller.id, callee: callee.id });
    for (const [what] of limits) this.#counts.set(what, (this.#counts.get(what) ?? 0) + 1);
  }

  #remove(number: number): void {
    const channel = this.#open.get(number);
    if (channel === undefined) return;
    this.#open.delete(number);
    for (const [what] of limitsOf(channel)) {
      const left = (this.#counts.get(what) ?? 0) - 1;
      if (left > 0) this.#counts.set(what, left);
      else this.#counts.delete(what);
    }
  }
}

/** What a channel counts for, and how many of it there may be. */
function limitsOf({ caller, callee }: Channel): [what: string, most: number][] {
  return [
    [`from ${caller}`, LIMITS.channelsPerInstanceMax],
    [`to ${callee}`, LIMITS.channelsPerInstanceMax],
    [`from ${caller} to ${callee}`, LIMITS.channelsPerPairMax],
  ];
}

function unreachable({ id }: ChannelParty): ShoalError {
  return new ShoalError(
    'SHOAL_E_UNREACHABLE',
    `${id} takes no channels in shared memory: its SDK has not asked for any`,
  );
}
