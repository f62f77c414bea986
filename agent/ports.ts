import { mkdir, rm } from 'node:fs/promises';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import type { Logger } from 'pino';
import { toShoalError } from '../protocol/errors.js';
import type { Instance } from './instance.js';
import type { Paths } from './paths.js';
import { captureSocket, withSocketPath } from './sockets.js';

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
}

/** One host port of a component: each connection is passed on to one of the instances that serve, in turn. */
class PortForward {
  readonly #server: Server;
  readonly #open = new Set<Socket>();
  #turn = 0;
  #waiting = 0;
  #retry: NodeJS.Timeout | undefined;
  #failure = '';
  instances: readonly Instance[] = [];

  constructor(
    readonly app: string,
    readonly component: string,
    readonly name: string,
    readonly host: number,
    private readonly folder: string,
    private readonly events: PortEvents,
    private readonly log: Logger,
  ) {
    // Half-open is passed on as it is: a client may close its side and still read the answer.
    this.#server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => void this.#serve(socket));
    this.#server.maxConnections = CONNECTIONS_MAX;
    this.#server.on('listening', () => {
      this.#failure = '';
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

  close(): void {
    clearTimeout(this.#retry);
    this.#server.close();
    for (const socket of this.#open) socket.destroy();
  }

  #listen(): void {
    this.#server.listen(this.host, LISTEN_HOST);
  }

  async #serve(client: Socket): Promise<void> {
    this.#open.add(client);
    client.on('close', () => this.#open.delete(client));
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
        const candidates = this.instances;
        for (let i = 0; i < candidates.length; i += 1) {
          const instance = candidates[this.#turn++ % candidates.length] as Instance;
          const upstream = await this.#connect(instance);
          if (upstream !== null) return upstream;
        }
        if (candidates.length === 0) this.events.wanted(this.app, this.component);
        await new Promise((resolve) => setTimeout(resolve, WAIT_STEP_MS));
      }
      return null;
    } finally {
      this.#waiting -= 1;
    }
  }

  async #connect(instance: Instance): Promise<Socket | null> {
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
  ) {}

  /** Listens on the ports that the manifests name, and on no others. */
  async sync(
    wanted: readonly { app: string; component: string; name: string; host: number; instances: readonly Instance[] }[],
  ): Promise<void> {
    for (const [host, forward] of [...this.#forwards]) {
      const same = wanted.find((each) => each.host === host);
      if (same?.app === forward.app && same.component === forward.component && same.name === forward.name) continue;
      forward.close();
      this.#forwards.delete(host);
    }
    for (const { app, component, name, host, instances } of wanted) {
      let forward = this.#forwards.get(host);
      if (forward === undefined) {
        const folder = this.paths.ports(app, component);
        await mkdir(folder, { recursive: true, mode: 0o700 });
        forward = new PortForward(app, component, name, host, folder, this.events, this.log);
        this.#forwards.set(host, forward);
      }
      forward.instances = instances;
    }
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
