import { closeSync } from 'node:fs';
import type { Logger } from 'pino';
import type { ChannelFds, NativeHost } from '../../native/index.js';
import { toShoalError } from '../../protocol/errors.js';
import { LIMITS } from '../../protocol/limits.js';
import type { CopiesWay } from '../../protocol/link.js';
import type { CarrierState } from '../relay-pair.js';
import { CopyChannel } from './copy-channel.js';

/** What carries records between this host and another, and why. */
export interface Carried {
  carrier: CarrierState;
  reason: string;
}

export interface CopyChannelsTools {
  native: Pick<NativeHost, 'createChannel'>;
  log: Logger;
  /** Between the two hosts this one makes channels for copies. */
  leads(host: string): boolean;
  /** Undefined: the two are not connected. */
  carried(host: string): Carried | undefined;
  /** A number that no channel between the two has had. */
  nextChannel(host: string): number;
  /** Has the relay take a side over, with its descriptors, also when it throws. */
  attach(host: string, channel: number, fds: ChannelFds, side: 0 | 1): void;
  detach(host: string, channel: number): void;
  /** Tells the other agent, by the link, to take the other side. */
  offer(host: string, channel: number): void;
  /** What it throws ends the channel. */
  message(host: string, message: unknown): void;
}

/** A channel that has ended, or could not be had, is made anew after this. */
const RETRY_MS = 1_000;

interface Open {
  number: number;
  channel: CopyChannel;
}

/**
 * What copies of state shards go by: a channel of the fabric between the two agents where RDMA carries it, so that the
 * card moves the bytes; else the link between the agents. Which of the two may change at any time, since what is said
 * of copies may be lost, repeated and reordered (docs/state-protocol.md).
 */
export class CopyChannels {
  readonly #tools: CopyChannelsTools;
  readonly #open = new Map<string, Open>();
  /** Host → bytes that went over channels that have ended. */
  readonly #sentBytes = new Map<string, number>();
  /** Host → why its last channel has ended, until there is another. */
  readonly #ended = new Map<string, string>();
  readonly #retries = new Map<string, NodeJS.Timeout>();

  constructor(tools: CopyChannelsTools) {
    this.#tools = tools;
  }

  /** The carrier to the host, or its link, may have changed. */
  changed(host: string): void {
    if (!this.#tools.leads(host) || !this.#isRdma(host)) return;
    const open = this.#open.get(host);
    if (open === undefined) this.#begin(host, this.#tools.nextChannel(host), true);
    else if (!open.channel.isOpen) this.#tools.offer(host, open.number);
  }

  /** The other agent has made a channel; it says so again after its link was away. */
  offered(host: string, number: number): void {
    if (this.#open.get(host)?.number === number) return;
    this.#end(host, 'the other agent has made another channel');
    this.#begin(host, number, false);
  }

  /** The relay has ended a channel, perhaps one of these. */
  channelEnded(host: string, number: number): void {
    if (this.#open.get(host)?.number === number) this.#end(host, 'the relay has ended the channel between the agents');
  }

  /** False when it is to go by the link. */
  send(host: string, message: unknown): boolean {
    return this.#isRdma(host) && this.#open.get(host)?.channel.send(message) === true;
  }

  way(host: string): CopiesWay {
    const open = this.#open.get(host);
    const sentBytes = (this.#sentBytes.get(host) ?? 0) + (open?.channel.sentBytes ?? 0);
    const { carrier = 'none', reason = 'not connected yet' } = this.#tools.carried(host) ?? {};
    if (carrier !== 'verbs') return { by: 'link', reason, rdmaBytes: sentBytes };
    if (open?.channel.isOpen === true) return { by: 'rdma', reason, rdmaBytes: sentBytes };
    const why = this.#ended.get(host) ?? 'the other agent has not taken the channel yet';
    return { by: 'link', reason: `RDMA is there, but ${why}`, rdmaBytes: sentBytes };
  }

  forget(host: string): void {
    this.#end(host, 'the other host is gone');
    clearTimeout(this.#retries.get(host));
    for (const map of [this.#retries, this.#ended, this.#sentBytes]) map.delete(host);
  }

  close(): void {
    for (const host of [...this.#open.keys(), ...this.#retries.keys()]) this.forget(host);
  }

  #isRdma(host: string): boolean {
    return this.#tools.carried(host)?.carrier === 'verbs';
  }

  /** Without memory or descriptors copies go by the link. */
  #begin(host: string, number: number, offers: boolean): void {
    const { log, detach, offer } = this.#tools;
    try {
      this.#open.set(host, { number, channel: this.#make(host, number) });
      this.#ended.delete(host);
      if (offers) offer(host, number);
    } catch (error) {
      log.warn({ err: error, host }, 'there is no channel for copies of state shards, which go by the link');
      this.#ended.set(host, toShoalError(error).message);
      // Of its own the other host knows nothing yet.
      if (!offers) detach(host, number);
      this.#retry(host);
    }
  }

  #make(host: string, number: number): CopyChannel {
    const [ours, relays] = this.#tools.native.createChannel(LIMITS.copyRingBytes);
    try {
      this.#tools.attach(host, number, relays, 1);
    } catch (error) {
      for (const fd of [ours.memory, ours.strike, ours.listen]) closeSync(fd);
      throw error;
    }
    return new CopyChannel(ours, 0, {
      message: (message) => this.#tools.message(host, message),
      closed: (error) => {
        const why = error?.message ?? 'its other side is gone';
        this.#tools.log.warn({ host, why }, 'the channel for copies of state shards has ended');
        if (this.#open.get(host)?.number === number) this.#end(host, why);
      },
    });
  }

  #end(host: string, why: string): void {
    const open = this.#open.get(host);
    if (open === undefined) return;
    this.#open.delete(host);
    this.#ended.set(host, why);
    this.#sentBytes.set(host, (this.#sentBytes.get(host) ?? 0) + open.channel.sentBytes);
    // The relay sees that this side is gone, and tells the other one.
    open.channel.close();
    this.#retry(host);
  }

  #retry(host: string): void {
    clearTimeout(this.#retries.get(host));
    const timer = setTimeout(() => this.changed(host), RETRY_MS);
    this.#retries.set(host, timer.unref());
  }
}
