import type { Logger } from 'pino';
import type { Identity } from '../identity/identity.js';
import type { NativeHost } from '../native/index.js';
import { ShoalError, toShoalError } from '../protocol/errors.js';
import { LIMITS } from '../protocol/limits.js';
import type { Desired, HostConnection } from '../protocol/link.js';
import type { ChannelCounts } from './channel-counts.js';
import { assertConnected, type ChannelParty, numbersOf, type OpenRequest } from './channels.js';
import { componentsOf } from './desired.js';
import { HostLinks, type HostLinksOptions } from './host-links.js';
import { assertHostAddress } from './host-listener.js';
import { cut, type HostMessage, parseHostMessage, type Served } from './host-messages.js';
import { Relay } from './relay.js';
import type { Routable } from './routes.js';
import type { CopyEnvelope } from './state/copies.js';
import { CopyChannels } from './state/copy-channels.js';

/** The other agent has so long to answer; the SDK waits no longer for a channel. */
const ANSWER_MS_MAX = 2_000;
const FORGED = 'what came over the network was not what another host sent: the connection was dropped, another is made';

export interface FabricOptions {
  /** Name of this host. */
  host: string;
  /** IP address of this host by which others reach it. */
  address: string;
  /** Where agents dial, 0 for any; the relay then listens on the next one. */
  port: number;
  /** Null: nothing is encrypted, and agents are believed who they say they are. */
  identity: Identity | null;
  /** Only hosts of this cluster can reach the address: what goes there need not be encrypted. */
  plain: boolean;
  /** As in HostLinksOptions. */
  giveBlob: HostLinksOptions['giveBlob'];
}

export interface BetweenTools {
  native: NativeHost;
  log: Logger;
}

/** What is asked of this host's agent. */
export interface LocalSide {
  /** The instance `id` of this host, which instances of the component `caller` may call; throws why there is none. */
  granted(app: string, caller: string, id: string): ChannelParty;
  /** Routes may have changed. */
  changed(): void;
  /** Another host speaks about copies of state shards. */
  copies(host: string, messages: readonly CopyEnvelope[]): void;
}

/** An instance of another host. */
export interface Located {
  id: string;
  app: string;
  component: string;
  host: string;
}

/** What this host serves, and of which component it is. */
export type ServedHere = Served & { app: string; component: string };

interface Pending {
  host: string;
  number: number;
  caller: ChannelParty;
  requestId: number;
  timer: NodeJS.Timeout;
}

/**
 * Calls from this host to others and from others to this one: the agents set channels up over a link of their own, the
 * relays carry records. Both ends look into the manifest, and another host is believed about its own instances alone:
 * which those are the coordinator says.
 */
export class BetweenHosts {
  readonly #options: FabricOptions;
  readonly #tools: BetweenTools;
  readonly #counts: ChannelCounts;
  readonly #local: LocalSide;
  readonly #links: HostLinks;
  readonly #copies: CopyChannels;
  #relay: Relay | undefined;
  /** By id: the instances of other hosts, as the coordinator says. */
  #located = new Map<string, Located>();
  #hosts = new Set<string>();
  /** Host → what its agent says that it serves. */
  readonly #served = new Map<string, readonly Served[]>();
  /** Host → what its agent is to be told, and was told last. */
  readonly #told = new Map<string, { instances: Served[]; text: string }>();
  /** By channel: those that the other agent has been asked for. */
  readonly #pending = new Map<number, Pending>();
  /** `<host> <channel>` → the number by which it is counted. */
  readonly #open = new Map<string, number>();
  #next = 1;

  constructor(options: FabricOptions, tools: BetweenTools, counts: ChannelCounts, local: LocalSide) {
    const { host, address, port, identity, plain, giveBlob } = options;
    assertHostAddress(address, { identified: identity !== null, plain });
    this.#options = options;
    this.#tools = tools;
    this.#counts = counts;
    this.#local = local;
    this.#links = new HostLinks(
      { host, address, port, identity, log: tools.log, giveBlob },
      {
        up: (other) => this.#up(other),
        message: (other, message) => this.#take(other, message),
        silent: (other) => this.#silent(other),
      },
    );
    this.#copies = this.#makeCopyChannels();
  }

  #makeCopyChannels(): CopyChannels {
    const { host: own } = this.#options;
    return new CopyChannels({
      ...this.#tools,
      leads: (host) => own < host,
      carried: (host) => this.#relay?.carried(host),
      nextChannel: (host) => this.#nextChannel(host),
      attach: (host, channel, fds, side) => this.#attach(host, channel, fds, side),
      detach: (host, channel) => this.#relay?.detach(host, channel),
      offer: (host, channel) => void this.#links.send(host, { type: 'copies-channel', channel }),
      message: (host, value) => {
        const message = parseHostMessage(value);
        if (message.type !== 'copies') throw new ShoalError('SHOAL_E_FRAME', `${message.type} is not to be said here`);
        this.#local.copies(host, message.messages);
      },
    });
  }

  /** HOST:PORT where agents of other hosts dial. */
  get address(): string {
    return this.#links.address;
  }

  /** Begins to listen. Throws SHOAL_E_USAGE when that is not possible. */
  async open(): Promise<void> {
    const { host, address, port, plain } = this.#options;
    await this.#links.open();
    try {
      const options = { host, address, plain, ...(port === 0 ? {} : { port: port + 1 }) };
      this.#relay = new Relay(this.#tools.native, options, {
        send: (other, message) => void this.#links.send(other, { type: 'relay', message }),
        channelEnded: (other, channel) => this.#ended(other, channel),
        changed: (other) => this.#noteCarrier(other),
        forged: (other, detail) => this.#tools.log.warn({ host: other, detail }, FORGED),
      });
    } catch (cause) {
      const detail = `the relay cannot listen on ${address}, port ${port + 1}: ${toShoalError(cause).message}`;
      throw new ShoalError('SHOAL_E_USAGE', detail, { cause });
    }
  }

  close(): void {
    for (const pending of this.#pending.values()) clearTimeout(pending.timer);
    this.#pending.clear();
    this.#copies.close();
    this.#links.close();
    this.#relay?.stop();
    this.#relay = undefined;
  }

  /** Which hosts this one has to do with, and what runs there, from now on. */
  want({ elsewhere = [] }: Desired): void {
    this.#located = new Map(
      elsewhere.flatMap(({ host, instances }) => instances.map((each) => [each.id, { ...each, host }])),
    );
    const hosts = new Map(elsewhere.map(({ host, address }) => [host, address]));
    hosts.delete(this.#options.host);
    for (const host of this.#hosts) if (!hosts.has(host)) this.#forget(host);
    this.#hosts = new Set(hosts.keys());
    this.#links.want(hosts);
  }

  /** The instance of another host. */
  find(id: string): Located | undefined {
    return this.#located.get(id);
  }

  /** What can be called on other hosts. */
  routables(): Routable[] {
    return [...this.#served].flatMap(([host, instances]) =>
      instances.flatMap(({ id, serving, shards, frozen, weight }) => {
        const located = this.#located.get(id);
        // A host is believed about its own instances alone.
        if (located?.host !== host) return [];
        const { app, component } = located;
        return [{ id, app, component, serving, shards, frozen, weight, far: true }];
      }),
    );
  }

  /** Tells each other host what its instances may call here. */
  serve(desired: Desired, instances: readonly ServedHere[]): void {
    for (const { host, instances: theirs } of desired.elsewhere ?? []) {
      const granted = new Set<string>();
      for (const { app, component } of theirs) {
        for (const callee of componentsOf(desired, app)[component]?.calls ?? []) granted.add(`${app}/${callee}`);
      }
      const served = instances
        .filter(({ app, component }) => granted.has(`${app}/${component}`))
        .map(({ app: _, component: __, ...each }) => each);
      const text = JSON.stringify(served);
      if (this.#told.get(host)?.text === text) continue;
      this.#told.set(host, { instances: served, text });
      this.#links.send(host, { type: 'serves', instances: served });
    }
  }

  /** Answers a caller of this host; `assertGranted` throws when the manifest does not grant the call. */
  call(caller: ChannelParty, request: OpenRequest, { host, id }: Located, assertGranted: () => void): void {
    const { requestId } = request;
    try {
      assertGranted();
      this.#assertConnected(host, id);
      const ends = { caller: caller.id, callee: id, host };
      this.#counts.assertRoom(ends);
      const channel = this.#nextChannel(host);
      const number = this.#counts.take();
      this.#counts.add(number, ends);
      const timer = setTimeout(() => this.#refused(channel, 'SHOAL_E_UNREACHABLE', 'no answer in time'), ANSWER_MS_MAX);
      this.#pending.set(channel, { host, number, caller, requestId, timer });
      this.#links.send(host, { type: 'channel-open', channel, caller: caller.id, callee: id });
    } catch (error) {
      const { code, message } = toShoalError(error);
      caller.channels.send({ type: 'refused', requestId, code, detail: message });
    }
  }

  /** By RDMA where there is, else by the link; false when the host cannot be reached now. */
  sendCopies(host: string, messages: CopyEnvelope[]): boolean {
    const message: HostMessage = { type: 'copies', messages };
    return this.#copies.send(host, message) || this.#links.send(host, message);
  }

  /** How this host is connected with each that it has to do with. Asked again and again: the relay's thread is not waited for. */
  connections(): HostConnection[] {
    const channels = new Map<string, number>();
    for (const name of this.#open.keys()) {
      const host = name.slice(0, name.lastIndexOf(' '));
      channels.set(host, (channels.get(host) ?? 0) + 1);
    }
    return [...this.#hosts].sort().map((host) => {
      const problem = this.#links.problem(host);
      const carried = this.#relay?.carried(host);
      const { carrier = 'none', reason = 'not connected yet', encrypted = false } = carried ?? {};
      const why = problem === null ? reason : `its agent cannot be reached: ${problem}`;
      const { reason: whySo, ...way } = this.#copies.way(host);
      const copies = { ...way, reason: cut(whySo) };
      return { host, carrier, encrypted, reason: cut(why), channels: channels.get(host) ?? 0, copies };
    });
  }

  #assertConnected(host: string, id: string): void {
    const problem = this.#links.problem(host);
    if (problem !== null) {
      throw new ShoalError(
        'SHOAL_E_UNREACHABLE',
        `${id} is on host ${host}, whose agent cannot be reached: ${problem}`,
      );
    }
    const carried = this.#relay?.carried(host);
    if (carried !== undefined && carried.carrier !== 'none') return;
    const why = carried?.reason ?? 'not connected yet';
    throw new ShoalError('SHOAL_E_UNREACHABLE', `${id} is on host ${host}, to which nothing is carried: ${why}`);
  }

  /** Each side has numbers of its own: even ones the host with the smaller name. */
  #nextChannel(host: string): number {
    const number = 2 * this.#next + this.#parityOf(this.#options.host, host);
    this.#next += 1;
    return number;
  }

  #parityOf(host: string, other: string): 0 | 1 {
    return host < other ? 0 : 1;
  }

  #up(host: string): void {
    this.#relay?.connect(host);
    this.#copies.changed(host);
    const told = this.#told.get(host);
    if (told !== undefined) this.#links.send(host, { type: 'serves', instances: told.instances });
  }

  #take(host: string, message: HostMessage): void {
    switch (message.type) {
      case 'serves':
        this.#served.set(host, message.instances);
        this.#local.changed();
        break;
      case 'channel-open':
        this.#offer(host, message);
        break;
      case 'channel-opened':
        this.#opened(host, message.channel);
        break;
      case 'channel-refused':
        if (this.#pending.get(message.channel)?.host !== host) break;
        this.#refused(message.channel, message.code, message.detail);
        break;
      case 'copies':
        this.#local.copies(host, message.messages);
        break;
      case 'copies-channel':
        this.#takeCopiesChannel(host, message.channel);
        break;
      case 'relay':
        this.#relay?.receive(host, message.message);
        break;
      default:
        throw new ShoalError('SHOAL_E_FRAME', `${message.type} is not to be said now`);
    }
  }

  #takeCopiesChannel(host: string, channel: number): void {
    this.#assertTheirs(host, channel);
    this.#copies.offered(host, channel);
  }

  /** An instance of the other host calls one of this host. */
  #offer(host: string, { channel, caller: id, callee }: Extract<HostMessage, { type: 'channel-open' }>): void {
    try {
      this.#offerOrThrow(host, channel, id, callee);
      this.#links.send(host, { type: 'channel-opened', channel });
    } catch (error) {
      const { code, message } = toShoalError(error);
      this.#links.send(host, { type: 'channel-refused', channel, code, detail: cut(message) });
    }
  }

  #offerOrThrow(host: string, channel: number, id: string, callee: string): void {
    const caller = this.#located.get(id);
    if (caller?.host !== host) {
      throw new ShoalError('SHOAL_E_NOT_GRANTED', `${id} is no instance of host ${host} that calls any of this one`);
    }
    this.#assertTheirs(host, channel);
    const party = this.#local.granted(caller.app, caller.component, callee);
    assertConnected(party);
    const ends = { caller: id, callee: party.id, host };
    this.#counts.assertRoom(ends);
    const { native } = this.#tools;
    const [relays, callees] = native.createChannel(LIMITS.ringBytes);
    const number = this.#counts.take();
    const offer = { type: 'offered' as const, channel: number, component: caller.component, instance: id };
    // The callee first: whoever maps the memory first pays for it, most of the time. When it cannot have it, its end goes.
    party.channels.send(offer, numbersOf(callees));
    this.#counts.add(number, ends);
    this.#open.set(`${host} ${channel}`, number);
    this.#attach(host, channel, relays, 0);
  }

  #assertTheirs(host: string, channel: number): void {
    if (channel % 2 === this.#parityOf(host, this.#options.host) && !this.#open.has(`${host} ${channel}`)) return;
    throw new ShoalError('SHOAL_E_FRAME', `channel ${channel} is not for host ${host} to open`);
  }

  /** The other agent has made its end; here is the caller's. */
  #opened(host: string, channel: number): void {
    const pending = this.#settle(host, channel);
    if (pending === undefined) {
      // Asked for too long ago.
      this.#relay?.detach(host, channel);
      return;
    }
    const { caller, number, requestId } = pending;
    this.#open.set(`${host} ${channel}`, number);
    let isTold = false;
    try {
      const [callers, relays] = this.#tools.native.createChannel(LIMITS.ringBytes);
      // The caller first: whoever maps the memory first pays for it, most of the time.
      caller.channels.send({ type: 'opened', requestId }, numbersOf(callers));
      isTold = true;
      this.#attach(host, channel, relays, 1);
    } catch (error) {
      // Without descriptors or memory here: nothing is left of it at the other host either.
      this.#ended(host, channel);
      this.#relay?.detach(host, channel);
      const { code, message } = toShoalError(error);
      this.#tools.log.warn({ err: error, host }, 'a channel to another host cannot be attached');
      if (!isTold) caller.channels.send({ type: 'refused', requestId, code, detail: cut(message) });
    }
  }

  /** What cannot be attached is an end for the instance: it sees that the other side of its ring is gone. */
  #attach(host: string, channel: number, fds: Parameters<Relay['attach']>[2], side: 0 | 1): void {
    try {
      if (this.#relay === undefined) throw new ShoalError('SHOAL_E_INTERNAL', 'the relay is stopped');
      this.#relay.attach(host, channel, fds, side);
    } catch (error) {
      this.#ended(host, channel);
      throw error;
    }
  }

  #refused(channel: number, code: Extract<HostMessage, { type: 'channel-refused' }>['code'], detail: string): void {
    const host = this.#pending.get(channel)?.host;
    const pending = host === undefined ? undefined : this.#settle(host, channel);
    if (pending === undefined) return;
    this.#counts.remove(pending.number);
    const { requestId, caller } = pending;
    caller.channels.send({ type: 'refused', requestId, code, detail: `host ${host}: ${detail}` });
  }

  #settle(host: string, channel: number): Pending | undefined {
    const pending = this.#pending.get(channel);
    if (pending?.host !== host) return undefined;
    clearTimeout(pending.timer);
    this.#pending.delete(channel);
    return pending;
  }

  #ended(host: string, channel: number): void {
    this.#copies.channelEnded(host, channel);
    const key = `${host} ${channel}`;
    const number = this.#open.get(key);
    if (number === undefined) return;
    this.#open.delete(key);
    this.#counts.remove(number);
  }

  #silent(host: string): void {
    this.#tools.log.warn({ host }, 'another host is silent: channels with it end');
    this.#cutOff(host);
    this.#local.changed();
  }

  /** The coordinator says that the hosts have nothing to do with each other. */
  #forget(host: string): void {
    this.#told.delete(host);
    this.#cutOff(host);
  }

  #cutOff(host: string): void {
    this.#served.delete(host);
    this.#copies.forget(host);
    this.#relay?.forget(host);
    for (const [channel, pending] of [...this.#pending]) {
      if (pending.host === host) this.#refused(channel, 'SHOAL_E_UNREACHABLE', 'its agent is gone');
    }
  }

  #noteCarrier(host: string): void {
    this.#copies.changed(host);
    const { carrier, reason } = this.#relay?.carried(host) ?? {};
    this.#tools.log.debug({ host, carrier, reason }, 'the carrier to another host');
  }
}
