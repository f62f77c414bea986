import type { Server, Socket } from 'node:net';
import { ShoalError, toShoalError } from '../protocol/errors.js';
import { LIMITS } from '../protocol/limits.js';
import { jittered } from './coordinators.js';
import { dialHost } from './dial-host.js';
import { HostLink } from './host-link.js';
import { type HostListenerOptions, listenForHosts, portOf } from './host-listener.js';
import { HOST_LINK_VERSION, type HostMessage } from './host-messages.js';
import type { Digest } from './image-store/oci.js';

export interface HostLinksOptions extends HostListenerOptions {
  /** Name of this host. */
  host: string;
  /** Any host of the cluster wants a blob of an image: answers on the socket, which is its own from here on. */
  giveBlob(socket: Socket, digest: Digest, from: string | null): void;
}

export interface HostLinksEvents {
  /** There is a connection, the first or another; what was sent over the one before may be lost. */
  up(host: string): void;
  /** What it throws ends the connection. */
  message(host: string, message: HostMessage): void;
  /** Nothing was heard for LIMITS.hostSilenceMsMax, over any connection: it is to be thought dead. */
  silent(host: string): void;
}

/**
 * The connections of this agent with those of the hosts that this one has to do with, one to each: the host with the
 * smaller name dials, again whenever the connection breaks. Nobody else is talked to.
 */
export class HostLinks {
  readonly #options: HostLinksOptions;
  readonly #events: HostLinksEvents;
  readonly #neighbours = new Map<string, Neighbour>();
  /** Connections whose host is not known yet. */
  readonly #strangers = new Set<HostLink>();
  #server: Server | undefined;
  #address = '';

  constructor(options: HostLinksOptions, events: HostLinksEvents) {
    this.#options = options;
    this.#events = events;
  }

  /** HOST:PORT where this agent takes others. */
  get address(): string {
    return this.#address;
  }

  async open(): Promise<void> {
    const { address } = this.#options;
    this.#server = await listenForHosts(this.#options, (socket, proven) => this.#accept(socket, proven));
    const port = portOf(this.#server);
    this.#address = address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
  }

  /** Keeps connections with these hosts and no others. An address that is null is as it was before. */
  want(hosts: ReadonlyMap<string, string | null>): void {
    for (const [host, neighbour] of this.#neighbours) {
      if (hosts.has(host)) continue;
      this.#neighbours.delete(host);
      neighbour.close('the two hosts have nothing to do with each other any more');
    }
    for (const [host, address] of hosts) {
      let neighbour = this.#neighbours.get(host);
      if (neighbour === undefined) {
        neighbour = new Neighbour(host, this.#options, this.#events);
        this.#neighbours.set(host, neighbour);
      }
      if (address !== null) neighbour.movedTo(address);
    }
  }

  /** False when there is no connection now. */
  send(host: string, message: HostMessage): boolean {
    return this.#neighbours.get(host)?.send(message) ?? false;
  }

  /** Null while there is a connection. */
  problem(host: string): string | null {
    const neighbour = this.#neighbours.get(host);
    return neighbour === undefined ? 'it is not known where its agent is' : neighbour.problem;
  }

  /** Ends a connection whose other end broke the protocol. */
  end(host: string, why: string): void {
    this.#neighbours.get(host)?.hangUp(why);
  }

  close(): void {
    this.#server?.close();
    for (const stranger of [...this.#strangers]) stranger.end('the agent stops');
    for (const neighbour of this.#neighbours.values()) neighbour.close('the agent stops');
    this.#neighbours.clear();
  }

  #accept(socket: Socket, proven: string | null): void {
    let neighbour: Neighbour | undefined;
    const link: HostLink = new HostLink(socket, {
      message: (message) => {
        if (neighbour !== undefined) {
          neighbour.take(link, message);
          return;
        }
        if (message.type === 'blob-wanted') {
          clearTimeout(patience);
          this.#strangers.delete(link);
          this.#options.giveBlob(link.release(), message.digest, proven);
          return;
        }
        neighbour = this.#admit(message, proven);
        clearTimeout(patience);
        this.#strangers.delete(link);
        neighbour.adopt(link);
      },
      closed: (why) => {
        clearTimeout(patience);
        this.#strangers.delete(link);
        neighbour?.lost(link, why);
      },
    });
    this.#strangers.add(link);
    const patience = setTimeout(() => link.end('no hello in time'), LIMITS.welcomeMsMax);
  }

  /** Who says hello; throws when it is none of those that this host has to do with, or says what it cannot prove. */
  #admit(message: HostMessage, proven: string | null): Neighbour {
    const host = greet(message);
    if (proven !== null && proven !== host) {
      throw new ShoalError('SHOAL_E_UNAUTHORIZED', `the certificate of ${proven} does not speak for ${host}`);
    }
    const neighbour = this.#neighbours.get(host);
    if (neighbour !== undefined && host < this.#options.host) return neighbour;
    throw new ShoalError('SHOAL_E_UNAUTHORIZED', `${this.#options.host} has nothing to do with ${host}, or dials it`);
  }
}

/** Throws when it is no hello of a version that is spoken here. */
function greet(message: HostMessage): string {
  if (message.type !== 'hello') throw new ShoalError('SHOAL_E_FRAME', 'the first message was no hello');
  if (message.version === HOST_LINK_VERSION) return message.host;
  const versions = `the agent of ${message.host} speaks version ${message.version}, this one ${HOST_LINK_VERSION}`;
  throw new ShoalError('SHOAL_E_FRAME', versions);
}

/** The agent of one other host: the connection with it while there is one, and what is done to have one. */
class Neighbour {
  readonly #host: string;
  readonly #options: HostLinksOptions;
  readonly #events: HostLinksEvents;
  readonly #dials: boolean;
  #address: string | undefined;
  #link: HostLink | undefined;
  /** Its hello has been heard. */
  #up = false;
  #problem = 'not connected yet';
  #redial: NodeJS.Timeout | undefined;
  #silence: NodeJS.Timeout | undefined;
  #delayMs: number = LIMITS.reconnectMsMin;
  #closed = false;

  constructor(host: string, options: HostLinksOptions, events: HostLinksEvents) {
    this.#host = host;
    this.#options = options;
    this.#events = events;
    this.#dials = options.host < host;
    this.#problem = this.#dials ? 'its address is not known yet' : 'it has not dialled yet';
  }

  get problem(): string | null {
    return this.#up ? null : this.#problem;
  }

  movedTo(address: string): void {
    if (address === this.#address) return;
    this.#address = address;
    this.#delayMs = LIMITS.reconnectMsMin;
    if (this.#dials && !this.#up) this.#dial();
  }

  send(message: HostMessage): boolean {
    if (this.#up) this.#link?.send(message);
    return this.#up;
  }

  hangUp(why: string): void {
    this.#link?.end(why);
  }

  close(why: string): void {
    this.#closed = true;
    clearTimeout(this.#redial);
    clearTimeout(this.#silence);
    this.#link?.end(why);
  }

  /** A connection that it has dialled, which takes the place of the one before. */
  adopt(link: HostLink): void {
    const before = this.#link;
    this.#link = link;
    this.#up = false;
    before?.end('another connection took its place');
    link.send(this.#hello());
    this.#greeted();
  }

  take(link: HostLink, message: HostMessage): void {
    if (this.#link !== link) return;
    this.#heard();
    if (this.#up) {
      if (message.type !== 'alive') this.#events.message(this.#host, message);
      return;
    }
    const host = greet(message);
    if (host !== this.#host) {
      throw new ShoalError('SHOAL_E_UNAUTHORIZED', `${host} answers at the address of ${this.#host}`);
    }
    this.#greeted();
  }

  lost(link: HostLink, why: string): void {
    if (this.#link !== link) return;
    if (this.#up) this.#options.log.warn({ host: this.#host, why }, 'lost the agent of another host');
    this.#link = undefined;
    this.#up = false;
    this.#problem = why;
    if (this.#dials) this.#dialLater();
  }

  #greeted(): void {
    this.#up = true;
    this.#delayMs = LIMITS.reconnectMsMin;
    this.#options.log.info({ host: this.#host }, 'connected to the agent of another host');
    this.#heard();
    this.#events.up(this.#host);
  }

  #heard(): void {
    clearTimeout(this.#silence);
    if (this.#closed) return;
    this.#silence = setTimeout(() => {
      const why = `nothing heard for ${LIMITS.hostSilenceMsMax} ms`;
      this.#link?.destroy(why);
      this.#events.silent(this.#host);
    }, LIMITS.hostSilenceMsMax);
    this.#silence.unref();
  }

  #dialLater(): void {
    clearTimeout(this.#redial);
    if (this.#closed) return;
    this.#redial = setTimeout(() => this.#dial(), jittered(this.#delayMs));
    this.#delayMs = Math.min(LIMITS.reconnectMsMax, this.#delayMs * 2);
  }

  #dial(): void {
    clearTimeout(this.#redial);
    if (this.#closed || this.#address === undefined) return;
    const before = this.#link;
    this.#link = undefined;
    before?.end('the host has moved');
    try {
      this.#connect(this.#address);
    } catch (error) {
      // An address or an identity that is none: it may be right the next time.
      this.#problem = toShoalError(error).message;
      this.#dialLater();
    }
  }

  #connect(address: string): void {
    const socket = dialHost(address, this.#host, this.#options.identity, () => link.send(this.#hello()));
    const patience = setTimeout(() => link.destroy('no hello in time'), LIMITS.welcomeMsMax);
    const link: HostLink = new HostLink(socket, {
      message: (message) => {
        clearTimeout(patience);
        this.take(link, message);
      },
      closed: (why) => {
        clearTimeout(patience);
        this.lost(link, `${address}: ${why}`);
      },
    });
    this.#link = link;
  }

  #hello(): HostMessage {
    return { type: 'hello', version: HOST_LINK_VERSION, host: this.#options.host };
  }
}
