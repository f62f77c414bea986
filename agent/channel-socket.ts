import { closeSync } from 'node:fs';
import { chmod, chown } from 'node:fs/promises';
import { basename, join } from 'node:path';
import type { NativeHost, PacketHandle } from '../native/index.js';
import {
  CHANNELS_SOCKET,
  type ChannelReply,
  type ChannelRequest,
  encodePacket,
  parseChannelRequest,
} from '../protocol/channels.js';
import { ShoalError, toShoalError } from '../protocol/errors.js';
import { LIMITS } from '../protocol/limits.js';
import { withSocketPath } from '../protocol/socket-path.js';
import { TokenBucket } from '../protocol/token-bucket.js';

export interface ChannelSocketEvents {
  /** The process can be sent descriptors from now on. */
  connected(): void;
  open(request: Extract<ChannelRequest, { type: 'open' }>): void;
  closed(channel: number): void;
  /** The process asked for more than it may, or broke the protocol, and was hung up on; it may dial again. */
  hungUp(why: string): void;
}

/**
 * The agent's end of the socket on which the process inside one instance asks for channels and is offered them. The
 * process is not trusted: what breaks the protocol is hung up on, and no descriptor is taken from it.
 */
export class ChannelSocket {
  readonly #native: NativeHost;
  readonly #events: ChannelSocketEvents;
  readonly #rate = new TokenBucket(LIMITS.controlMessagesPerSecondMax, LIMITS.controlMessagesBurstMax);
  #listener: { close(): void } | undefined;
  #packets: PacketHandle | undefined;

  constructor(native: NativeHost, events: ChannelSocketEvents) {
    this.#native = native;
    this.#events = events;
  }

  /** Whether the process can be offered channels. */
  get connected(): boolean {
    return this.#packets !== undefined;
  }

  /** Listens in the instance's socket folder, on which only its own user may dial. */
  async listen(folder: string, owner: number): Promise<void> {
    const path = join(folder, basename(CHANNELS_SOCKET));
    await withSocketPath(path, async (short) => {
      this.#listener = this.#native.listenPackets(short, (socket) => this.#accept(socket));
    });
    await chmod(path, 0o600);
    await chown(path, owner, owner);
  }

  /** Sends a packet and gives the descriptors away. False when the process cannot have it, being gone or not reading. */
  send(reply: ChannelReply, fds: readonly number[] = []): boolean {
    const packets = this.#packets;
    if (packets === undefined) {
      for (const fd of fds) closeSync(fd);
      return false;
    }
    try {
      packets.send(encodePacket(reply), [...fds]);
      return true;
    } catch (error) {
      this.#hangUp(toShoalError(error).message);
      return false;
    }
  }

  close(): void {
    this.#listener?.close();
    this.#listener = undefined;
    this.#drop();
  }

  /** The last process to dial is the one that is talked to. */
  #accept(socket: number): void {
    this.#drop();
    if (!this.#mayTalk()) {
      closeSync(socket);
      return;
    }
    const packets: PacketHandle = this.#native.openPackets(
      socket,
      (bytes, fds) => {
        for (const fd of fds) closeSync(fd);
        if (this.#packets === packets) this.#take(bytes, fds.length);
      },
      () => {
        if (this.#packets === packets) this.#packets = undefined;
      },
    );
    this.#packets = packets;
    this.#events.connected();
  }

  #take(bytes: Buffer, fdCount: number): void {
    if (!this.#mayTalk()) return;
    try {
      if (fdCount > 0) throw new ShoalError('SHOAL_E_FRAME', 'an instance has no descriptors to send');
      const request = parseChannelRequest(bytes);
      if (request.type === 'open') this.#events.open(request);
      else this.#events.closed(request.channel);
    } catch (error) {
      this.#hangUp(toShoalError(error).message);
    }
  }

  #mayTalk(): boolean {
    this.#rate.take(1);
    if (this.#rate.debtMs() === 0) return true;
    this.#hangUp(`it asks for more than ${LIMITS.controlMessagesPerSecondMax} channels each second`);
    return false;
  }

  #hangUp(why: string): void {
    this.#drop();
    this.#events.hungUp(why);
  }

  #drop(): void {
    this.#packets?.close();
    this.#packets = undefined;
  }
}
