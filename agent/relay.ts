import { closeSync } from 'node:fs';
import type { ChannelFds, NativeHost, RelayEvent, RelayHandle, RelayStats } from '../native/index.js';
import { ShoalError } from '../protocol/errors.js';
import type { RdmaAbility } from './choose-carrier.js';
import { parseRelayMessage, type RelayMessage } from './relay-messages.js';
import { type CarrierState, type PairHost, RelayPair } from './relay-pair.js';

type ChannelEnd = Extract<RelayEvent, { type: 'channel-ended' }>;

export interface RelayOptions {
  /** Name of this host, as its peers know it. */
  host: string;
  /** IP address on which this host's relay listens. */
  address: string;
  /** Absent: any. */
  port?: number;
  /** IP address of the RDMA port to use; absent: the same. */
  rdmaAddress?: string;
  /** What goes to other hosts need not be encrypted: between two such hosts TCP is bare, and RDMA is used where it can be. */
  plain?: boolean;
  streamBytes?: number;
  /** As long as the relay's thread may look for news before it sleeps; 0 on a host with a single CPU. */
  spinUs?: number;
  /** How long channels outlive their carrier. */
  resumeMs?: number;
  /** How often it is looked whether RDMA came or went. */
  refreshMs?: number;
  retryMs?: PairHost['retryMs'];
}

export interface RelayEvents {
  /** Over the link between the two hosts' agents, which says who speaks; lost when there is none at the moment. */
  send(host: string, message: RelayMessage): void;
  channelEnded(host: string, channel: number, reason: ChannelEnd['reason'], byPeer: boolean): void;
  /** The carrier to a host has changed, or why it is what it is. */
  changed(host: string): void;
  /** What came over the network was not what that host sent; the carrier was dropped, another is made. */
  forged(host: string, detail: string): void;
}

export interface RelayState {
  carrier: CarrierState;
  /** Why this carrier. */
  reason: string;
  /** Whether what is carried now is encrypted. */
  encrypted: boolean;
  stats: RelayStats | undefined;
}

const STREAM_BYTES = 4 * 1024 * 1024;
const SPIN_US = 20;
const RESUME_MS = 10_000;
const REFRESH_MS = 5_000;
const RDMA_NOT_ALLOWED: RdmaAbility = {
  address: null,
  reason: 'RDMA, which nothing here encrypts, is not allowed: --fabric-plain allows it',
};
const RETRY_MS: PairHost['retryMs'] = { tcp: [50, 2_000], verbs: [1_000, 30_000] };

/**
 * The relay of this host: all channels to instances of other hosts. For each of those one pair brings carriers up and
 * keeps them up; what the relay's thread tells goes to the pair whose connection it is about.
 */
export class Relay {
  readonly #options: RelayOptions;
  readonly #events: RelayEvents;
  readonly #handle: RelayHandle;
  readonly #host: PairHost;
  readonly #pairs = new Map<string, RelayPair>();
  readonly #hosts = new Map<number, string>();
  readonly #refresh: NodeJS.Timeout;

  /** Throws when the relay cannot listen. */
  constructor(native: NativeHost, options: RelayOptions, events: RelayEvents) {
    this.#options = options;
    this.#events = events;
    const { streamBytes = STREAM_BYTES, spinUs = SPIN_US, resumeMs = RESUME_MS, plain = false } = options;
    this.#handle = native.startRelay({ streamBytes, spinUs, resumeMs }, (all) => {
      for (const event of all) this.#onEvent(event);
    });
    this.#host = {
      relay: this.#handle,
      address: options.address,
      port: this.#handle.listen(options.address, options.port ?? 0),
      plain,
      ability: () => (plain ? rdmaAbility(native, options.rdmaAddress ?? options.address) : RDMA_NOT_ALLOWED),
      retryMs: options.retryMs ?? RETRY_MS,
    };
    this.#refresh = setInterval(() => {
      if (this.#pairs.size === 0) return;
      // Once for all: the card's tables are read on this event loop.
      const rdma = this.#host.ability();
      for (const pair of this.#pairs.values()) pair.refresh(rdma);
    }, options.refreshMs ?? REFRESH_MS);
    this.#refresh.unref();
  }

  /**
   * Sees to it that this host and that one are connected, until forget(). To be called whenever there is another link
   * between the agents: what was under way on the one before is lost.
   */
  connect(host: string): void {
    this.#pair(host).connect();
  }

  /** The other host is gone, or nothing runs there any more that this one talks to. Its channels end. */
  forget(host: string): void {
    this.#pairs.get(host)?.close();
    this.#pairs.delete(host);
  }

  /** What the other host's agent sent. Throws SHOAL_E_FRAME when it is no message. */
  receive(host: string, message: unknown): void {
    this.#pair(host).receive(parseRelayMessage(message));
  }

  /**
   * Takes one side of a channel over, with its descriptors, also when it throws; the other host's agent does the same under the same number,
   * which is never used again between the two. channelEnded() follows when it ends.
   */
  attach(host: string, channel: number, fds: ChannelFds, side: 0 | 1): void {
    const connection = this.#pairs.get(host)?.connection;
    if (connection === undefined) {
      for (const fd of [fds.memory, fds.strike, fds.listen]) closeSync(fd);
      throw new ShoalError('SHOAL_E_UNREACHABLE', `this host is not connected to ${host} yet`);
    }
    this.#handle.attach(connection, channel, fds, side);
  }

  /** Ends a channel, also one that only the other host has attached so far. */
  detach(host: string, channel: number): void {
    const connection = this.#pairs.get(host)?.connection;
    if (connection !== undefined) this.#handle.detach(connection, channel);
  }

  /** Throws the carrier to a host away; another is made at once. For tests, and for who repairs a network. */
  dropCarrier(host: string): void {
    const connection = this.#pairs.get(host)?.connection;
    if (connection !== undefined) this.#handle.drop(connection);
  }

  /** Puts the queues of a carrier by verbs into the error state, as a card does. For tests. */
  breakQueues(host: string): void {
    const connection = this.#pairs.get(host)?.connection;
    if (connection !== undefined) this.#handle.breakQueues(connection);
  }

  /** Every host that connect() was called for, or that asked. */
  hosts(): string[] {
    return [...this.#pairs.keys()];
  }

  /** What carries, without asking the relay's thread. */
  carried(host: string): Omit<RelayState, 'stats'> | undefined {
    const pair = this.#pairs.get(host);
    if (pair === undefined) return undefined;
    const { carrier, choice, encrypted } = pair;
    return { carrier, reason: choice.reason, encrypted };
  }

  /** With what the relay's thread says of it, which is waited for: several ms while all processors are busy. */
  state(host: string): RelayState | undefined {
    const carried = this.carried(host);
    if (carried === undefined) return undefined;
    const connection = this.#pairs.get(host)?.connection;
    const stats = connection === undefined ? undefined : this.#handle.stats(connection);
    return { ...carried, stats };
  }

  stop(): void {
    clearInterval(this.#refresh);
    for (const pair of this.#pairs.values()) pair.close();
    this.#pairs.clear();
    this.#handle.stop();
  }

  #pair(host: string): RelayPair {
    const found = this.#pairs.get(host);
    if (found !== undefined) return found;
    if (host === this.#options.host) throw new ShoalError('SHOAL_E_INTERNAL', 'a host is no peer of its own');
    const pair = new RelayPair(this.#host, this.#options.host < host, {
      send: (message) => this.#events.send(host, message),
      opened: (connection) => this.#hosts.set(connection, host),
      changed: () => this.#events.changed(host),
      forged: (detail) => this.#events.forged(host, detail),
    });
    this.#pairs.set(host, pair);
    return pair;
  }

  #onEvent(event: RelayEvent): void {
    const host = this.#hosts.get(event.connection);
    if (host === undefined) return;
    if (event.type === 'channel-ended') {
      this.#events.channelEnded(host, event.channel, event.reason, event.byPeer);
      return;
    }
    const pair = this.#pairs.get(host);
    // Of a connection that was closed here the pair knows already.
    if (pair?.connection === event.connection) pair.onRelayEvent(event);
    if (event.type === 'connection-ended') this.#hosts.delete(event.connection);
  }
}

/** Whether the host's RDMA can be used under an IP address: RoCE v2, its port up; else why not. */
export function rdmaAbility(native: NativeHost, address: string): RdmaAbility {
  const { problem, ports } = native.probeRdma();
  const port = ports.find(({ gid }) => gid === address || gid === `::ffff:${address}`);
  if (port === undefined) {
    const others = [...new Set(ports.map(({ device }) => device))].join(', ');
    const reason = others === '' ? 'no RDMA device' : `${others} has no RoCE v2 GID for ${address}`;
    return { address: null, reason };
  }
  const name = `${port.device} port ${port.port} on ${port.interface}`;
  if (!port.active) return { address: null, reason: `${name} is not active (${port.state})` };
  return problem === null ? { address, reason: name } : { address: null, reason: problem };
}
