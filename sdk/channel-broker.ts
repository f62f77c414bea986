import { closeSync } from 'node:fs';
import { native } from '../native/index.js';
import type { ChannelFds, PacketHandle, SharedFileHandle } from '../native/types.js';
import {
  CHANNEL_FDS,
  type ChannelReply,
  type ChannelRequest,
  encodePacket,
  parseChannelReply,
  SEGMENT_FDS,
} from '../protocol/channels.js';
import { ShoalError } from '../protocol/errors.js';
import { withSocketPath } from '../protocol/socket-path.js';
import type { PeerAddress } from './carrier.js';
import { Redial } from './redial.js';

/** How long a request waits for an agent that is away, and how long for its answer. */
const CONNECT_MS_MAX = 300;
const ANSWER_MS_MAX = 1_000;

/** Somebody calls this instance by a channel of ours to take. */
export interface Offer extends PeerAddress {
  channel: number;
  fds: ChannelFds;
}

interface Pending {
  resolve(fds: ChannelFds): void;
  reject(error: ShoalError): void;
}

/** Asks the agent of this host for channels, and is offered those that callers asked for. The agent may come and go. */
export class ChannelBroker {
  readonly #path: string;
  /** Takes the channels that are offered; until it is set they are refused. */
  onOffer: ((offer: Offer) => void) | undefined;
  /** Takes the segments of state shards, with their descriptors; until it is set they are closed. */
  onSegment: ((shard: number, epoch: number, fd: number) => void) | undefined;
  /** Likewise those of copies that others own, in files of these numbers. */
  onCopy: ((shard: number, file: number, fd: number) => void) | undefined;
  readonly #pending = new Map<number, Pending>();
  readonly #redial = new Redial(() => void this.#dial());
  #packets: PacketHandle | undefined;
  #nextRequest = 1;

  constructor(path: string) {
    this.#path = path;
    void this.#dial();
  }

  /** The caller's side of a new channel. Rejects with the agent's reason, or SHOAL_E_UNREACHABLE when it is away. */
  async open({ component, instance }: PeerAddress): Promise<ChannelFds> {
    if (this.#packets === undefined) {
      await this.#redial.untilConnected(CONNECT_MS_MAX, () => unreachable('the agent is away'));
    }
    const requestId = this.#nextRequest++;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#settle(requestId)?.reject(unreachable(`the agent did not answer within ${ANSWER_MS_MAX} ms`));
      }, ANSWER_MS_MAX);
      this.#pending.set(requestId, {
        resolve: (fds) => {
          clearTimeout(timer);
          resolve(fds);
        },
        reject: (error) => {
          clearTimeout(timer);
          reject(error);
        },
      });
      this.#send({ type: 'open', requestId, component, instance });
    });
  }

  /** Opens a segment that was sent. Takes the descriptor over. */
  openSegment(fd: number): SharedFileHandle {
    return native.openSharedFile(fd);
  }

  /** The channel that was offered is closed. */
  closed(channel: number): void {
    this.#send({ type: 'closed', channel });
  }

  close(): void {
    this.#redial.close();
    this.#lost();
  }

  async #dial(): Promise<void> {
    try {
      const socket = await withSocketPath(this.#path, async (short) => native.dialPackets(short));
      if (this.#redial.closed) {
        closeSync(socket);
        return;
      }
      const packets: PacketHandle = native.openPackets(
        socket,
        (bytes, fds) => this.#take(packets, bytes, fds),
        () => this.#ended(packets),
      );
      this.#packets = packets;
      this.#redial.connected();
    } catch {
      // The agent is away; why does not matter here, since it is dialled again.
      this.#redial.later();
    }
  }

  #ended(packets: PacketHandle): void {
    if (this.#packets !== packets) return;
    this.#lost();
    this.#redial.later();
  }

  #lost(): void {
    this.#packets?.close();
    this.#packets = undefined;
    for (const requestId of [...this.#pending.keys()]) {
      this.#settle(requestId)?.reject(unreachable('the agent closed the connection'));
    }
  }

  #send(request: ChannelRequest): void {
    const packets = this.#packets;
    try {
      packets?.send(encodePacket(request), []);
    } catch {
      // It is gone or does not read: then it is dialled again.
      if (packets !== undefined) this.#ended(packets);
    }
  }

  #take(packets: PacketHandle, bytes: Buffer, numbers: number[]): void {
    let reply: ChannelReply;
    try {
      reply = parseChannelReply(bytes);
    } catch {
      // An agent that makes no sense is dialled again, more and more slowly.
      closeAll(numbers);
      this.#ended(packets);
      return;
    }
    this.#redial.heard();
    if (reply.type === 'refused') {
      closeAll(numbers);
      this.#settle(reply.requestId)?.reject(new ShoalError(reply.code, reply.detail));
      return;
    }
    if (reply.type === 'segment') {
      this.#takeSegment(reply, numbers);
      return;
    }
    if (reply.type === 'copy') {
      this.#takeCopy(reply, numbers);
      return;
    }
    const fds = fdsOf(numbers);
    const taker = reply.type === 'opened' ? this.#settle(reply.requestId)?.resolve : this.#offer(reply);
    if (fds === undefined || taker === undefined) closeAll(numbers);
    else taker(fds);
  }

  #offer(offered: Extract<ChannelReply, { type: 'offered' }>): ((fds: ChannelFds) => void) | undefined {
    const { onOffer } = this;
    const { channel, component, instance } = offered;
    return onOffer === undefined ? undefined : (fds) => onOffer({ channel, component, instance, fds });
  }

  #takeSegment({ shard, epoch }: Extract<ChannelReply, { type: 'segment' }>, numbers: readonly number[]): void {
    const [fd] = numbers;
    if (numbers.length !== SEGMENT_FDS || fd === undefined || this.onSegment === undefined) closeAll(numbers);
    else this.onSegment(shard, epoch, fd);
  }

  #takeCopy({ shard, file }: Extract<ChannelReply, { type: 'copy' }>, numbers: readonly number[]): void {
    const [fd] = numbers;
    if (numbers.length !== SEGMENT_FDS || fd === undefined || this.onCopy === undefined) closeAll(numbers);
    else this.onCopy(shard, file, fd);
  }

  /** Who asked, unless that has been given up. */
  #settle(requestId: number): Pending | undefined {
    const pending = this.#pending.get(requestId);
    this.#pending.delete(requestId);
    return pending;
  }
}

function unreachable(detail: string): ShoalError {
  return new ShoalError('SHOAL_E_UNREACHABLE', detail);
}

function fdsOf(numbers: readonly number[]): ChannelFds | undefined {
  const [memory, strike, listen] = numbers;
  if (numbers.length !== CHANNEL_FDS || memory === undefined || strike === undefined || listen === undefined) return;
  return { memory, strike, listen };
}

function closeAll(numbers: readonly number[]): void {
  for (const fd of numbers) closeSync(fd);
}
