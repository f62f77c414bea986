import { mkdir, rm } from 'node:fs/promises';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import type { Logger } from 'pino';
import { pickLessLoaded, type Random } from '../protocol/balancer.js';
import { toShoalError } from '../protocol/errors.js';
import type { ListeningPort } from '../protocol/link.js';
import type { Component } from '../protocol/manifest.js';
import { withSocketPath } from '../protocol/socket-path.js';
import type { Instance } from './instance.js';
import type { Paths } from './paths.js';
import { captureSocket } from './sockets.js';

const LISTEN_HOST = '127.0.0.1';
const RETRY_MS = 1_000;
/** A connection waits so long for the component's first instance, for example one that starts from zero. */
const WAIT_MS_MAX = 10_000;
const WAIT_STEP_MS = 20;
const WAITING_MAX = 1_024;
/** Of one host port, at once: each takes two open files, and the agent needs some for itself. */
const CONNECTIONS_MAX = 16_384;

export interface PortEvents {
  /** A connection came and no instance serves it. */
  wanted(app: string, component: string): void;
  failed(app: string, component: string, message: string): void;
  /** A port takes connections now. */
  listening(): void;
}

/** What a host port needs to know of an instance. */
export type Reachable = Pick<Instance, 'id' | 'restarts' | 'ids' | 'socket'>;

/** One of those that serve, and its share of the connections beside one of weight 1. */
export interface Upstream {
  instance: Reachable;
  weight: number;
}

export interface WantedPort {
  app: string;
  component: string;
  name: string;
  /** The host's port. */
  host: number;
  upstreams: readonly Upstream[];
}

/**
 * One host port of a component: each connection is passed on to one of the instances that serve, chosen as the callers
 * of a component choose, by weight and by the connections that are open.
 */
class PortForward {
  readonly #server: Server;
  readonly #clients = new Set<Socket>();
  /** Instance id → connections that are passed on to it or dial it. */
  readonly #open = new Map<string, number>();
  #waiting = 0;
  #retry: NodeJS.Timeout | undefined;
  #failure = '';
  #upstreams: readonly Upstream[] = [];
  /** Connections that wait for an instance. */
  readonly #wakes = new Set<() => void>();

  constructor(
    readonly app: string,
    readonly component: string,
    readonly name: string,
    readonly host: number,
    private readonly folder: string,
    private readonly events: PortEvents,
    private readonly log: Logger,
    private readonly random: Random,
  ) {
    // Half-open is passed on as it is: a client may close its side and still read the answer.
    this.#server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => void this.#serve(socket));
    this.#server.maxConnections = CONNECTIONS_MAX;
    this.#server.on('listening', () => {
      this.#failure = '';
      this.events.listening();
    });
    this.#server.on('error', (error) => {
      // Tried every second, told once.
      if (this.#failure !== error.message) {
        this.events.failed(this.app, this.component, `cannot listen on ${LISTEN_HOST}:${this.host}: ${error.message}`);
      }
      this.#failure = error.message;
      this.#retry = setTimeout(() => this.#listen(), RETRY_MS);
    });
    this.#listen();
  }

  get listening(): boolean {
    return this.#server.listening;
  }

  get isAwaited(): boolean {
    return this.#waiting > 0;
  }

  set upstreams(upstreams: readonly Upstream[]) {
    this.#upstreams = upstreams;
    for (const wake of [...this.#wakes]) wake();
  }

  close(): void {
    clearTimeout(this.#retry);
    this.#server.close();
    for (const socket of this.#clients) socket.destroy();
  }

  #listen(): void {
    this.#server.listen(this.host, LISTEN_HOST);
  }

  async #serve(client: Socket): Promise<void> {
    this.#clients.add(client);
    client.on('close', () => this.#clients.delete(client));
    client.on('error', () => client.destroy());
    try {
      const upstream = await this.#dial(client);
      if (upstream === null) return void client.destroy();
      upstream.on('error', () => client.destroy());
      upstream.on('close', () => client.destroy());
      client.on('close', () => upstream.destroy());
      client.pipe(upstream);
      upstream.pipe(client);
    } catch (error) {
      this.log.warn({ err: error, port: this.host }, 'cannot pass a connection on');
      client.destroy();
    }
  }

  /** A connection to an instance that accepts it; null when none came in time or the client has gone. */
  async #dial(client: Socket): Promise<Socket | null> {
    if (this.#waiting >= WAITING_MAX) return null;
    this.#waiting += 1;
    try {
      const deadline = performance.now() + WAIT_MS_MAX;
      while (!client.destroyed && performance.now() < deadline) {
        const upstream = await this.#dialOne();
        if (upstream !== null && !client.destroyed) return upstream;
        upstream?.destroy();
        if (this.#upstreams.length === 0) this.events.wanted(this.app, this.component);
        await this.#untilOthers();
      }
      return null;
    } finally {
      this.#waiting -= 1;
    }
  }

  /** Until others may serve, and no longer than until those that did not accept may be asked again. */
  #untilOthers(): Promise<void> {
    return new Promise((resolve) => {
      const wake = () => {
        clearTimeout(timer);
        this.#wakes.delete(wake);
        resolve();
      };
      const timer = setTimeout(wake, WAIT_STEP_MS);
      this.#wakes.add(wake);
    });
  }

  /** A connection to one of the instances; null when none accepts it now. */
  async #dialOne(): Promise<Socket | null> {
    let left = this.#upstreams;
    for (;;) {
      const chosen = pickLessLoaded(left, ({ instance }) => this.#open.get(instance.id) ?? 0, this.random);
      if (chosen === undefined) return null;
      const { id } = chosen.instance;
      this.#count(id, 1);
      const upstream = await this.#connect(chosen.instance);
      if (upstream !== null) {
        upstream.once('close', () => this.#count(id, -1));
        return upstream;
      }
      this.#count(id, -1);
      left = left.filter((each) => each !== chosen);
    }
  }

  #count(id: string, change: 1 | -1): void {
    const open = (this.#open.get(id) ?? 0) + change;
    if (open > 0) this.#open.set(id, open);
    else this.#open.delete(id);
  }

  async #connect(instance: Reachable): Promise<Socket | null> {
    const link = linkOf(this.folder, this.name, instance.id, instance.restarts);
    try {
      return await withSocketPath(link, dial).catch(async () => {
        await captureSocket(instance.socket(this.name), link, instance.ids);
        return withSocketPath(link, dial);
      });
    } catch (error) {
      this.log.debug({ detail: toShoalError(error).message, instance: instance.id }, 'an instance takes no connection');
      await rm(link, { force: true });
      return null;
    }
  }
}

/** The host ports of all components. */
export class Ports {
  readonly #forwards = new Map<number, PortForward>();

  constructor(
    private readonly paths: Paths,
    private readonly events: PortEvents,
    private readonly log: Logger,
    private readonly random: Random = Math.random,
  ) {}

  /** Listens on the ports that the manifests name, and on no others. */
  async sync(wanted: readonly WantedPort[]): Promise<void> {
    for (const [host, forward] of [...this.#forwards]) {
      const same = wanted.find((each) => each.host === host);
      if (same?.app === forward.app && same.component === forward.component && same.name === forward.name) continue;
      forward.close();
      this.#forwards.delete(host);
    }
    for (const { app, component, name, host, upstreams } of wanted) {
      let forward = this.#forwards.get(host);
      if (forward === undefined) {
        const folder = this.paths.ports(app, component);
        await mkdir(folder, { recursive: true, mode: 0o700 });
        forward = new PortForward(app, component, name, host, folder, this.events, this.log, this.random);
        this.#forwards.set(host, forward);
      }
      forward.upstreams = upstreams;
    }
  }

  /** Whether connections wait for an instance. */
  get areAwaited(): boolean {
    return [...this.#forwards.values()].some(({ isAwaited }) => isAwaited);
  }

  /** Has ports that are there lead to those that serve now. */
  lead(wanted: readonly WantedPort[]): void {
    for (const { app, component, name, host, upstreams } of wanted) {
      const forward = this.#forwards.get(host);
      if (forward?.app === app && forward.component === component && forward.name === name)
        forward.upstreams = upstreams;
    }
  }

  /** Those that take connections. */
  listening(): ListeningPort[] {
    const open = [...this.#forwards.values()].filter(({ listening }) => listening);
    return open.map(({ app, component, host }) => ({ app, component, host }));
  }

  /** Removes the links to an instance that is gone. */
  async forget(instance: Instance): Promise<void> {
    const folder = this.paths.ports(instance.app, instance.component);
    for (const { name } of instance.made.ports) {
      for (let process = 0; process <= instance.restarts; process += 1) {
        await rm(linkOf(folder, name, instance.id, process), { force: true });
      }
    }
  }

  close(): void {
    for (const forward of this.#forwards.values()) forward.close();
    this.#forwards.clear();
  }
}

/** The host ports of the components, with those of the instances that serve each. */
export function wantedPorts(
  apps: Readonly<Record<string, Readonly<Record<string, Component>>>>,
  serving: readonly (Reachable & { app: string; component: string })[],
  weightOf: (id: string) => number,
): WantedPort[] {
  return Object.entries(apps).flatMap(([app, components]) =>
    Object.entries(components).flatMap(([component, { ports }]) => {
      const mine = serving.filter((each) => each.app === app && each.component === component);
      const upstreams = mine.map((instance): Upstream => ({ instance, weight: weightOf(instance.id) }));
      return ports.map(({ name, host }): WantedPort => ({ app, component, name, host, upstreams }));
    }),
  );
}

function linkOf(folder: string, port: string, id: string, process: number): string {
  return join(folder, `${port}-${id}-${process}.sock`);
}

function dial(path: string): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ path, allowHalfOpen: true });
    socket.once('error', reject);
    socket.once('connect', () => {
      socket.removeListener('error', reject);
      resolve(socket);
    });
  });
}
