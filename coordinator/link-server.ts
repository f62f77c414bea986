import { createServer, type Server, type Socket } from 'node:net';
import type { Logger } from 'pino';
import { ShoalError, toShoalError } from '../protocol/errors.js';
import { encodeFrame, FrameReader } from '../protocol/frame.js';
import type { SampleRows } from '../protocol/instance-news.js';
import { LIMITS } from '../protocol/limits.js';
import { type Hello, LINK_VERSION, type Report, type ToAgent } from '../protocol/link.js';
import { type ClusterState, desiredDiffers, desiredFor } from './cluster.js';
import { readAgentMessage } from './link-messages.js';
import type { Coordinator } from './loop.js';
import { listenPrivately } from './socket-file.js';

/** More agents than this at once is not a cluster but a mistake. */
const CONNECTIONS_MAX = 1_024;

export interface LinkServerOptions {
  coordinator: Coordinator;
  /** Path of the Unix socket. */
  socket: string;
  log: Logger;
  /** A connection that carried nothing from its agent for so long is ended, in ms. */
  silenceMsMax?: number;
}

export interface LinkServer {
  close(): Promise<void>;
}

/** Serves the link to the agents: their reports in, the desired state of their host out. */
export async function startLinkServer(options: LinkServerOptions): Promise<LinkServer> {
  const { coordinator, log } = options;
  const links = new Set<AgentLink>();
  const byHost = new Map<string, AgentLink>();

  /** Two agents of one name cannot both be right; the later one has taken over, as after a restart. */
  const claim = (host: string, link: AgentLink): void => {
    byHost.get(host)?.end('another agent of the same host name has connected');
    byHost.set(host, link);
  };
  const ended = (link: AgentLink, why: string): void => {
    links.delete(link);
    const { host } = link;
    if (host === null || byHost.get(host) !== link) return;
    byHost.delete(host);
    coordinator.disconnect(host, why);
  };

  const server: Server = createServer((socket) => {
    links.add(new AgentLink(socket, options, claim, ended));
  });
  server.maxConnections = CONNECTIONS_MAX;
  const stopListening = coordinator.onChange(() => {
    for (const link of byHost.values()) link.sendDesired();
  });
  try {
    await listenPrivately(server, options.socket);
  } catch (error) {
    stopListening();
    throw error;
  }
  server.on('error', (error) => log.error({ err: error }, 'the link socket failed'));
  return {
    async close() {
      stopListening();
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      for (const link of [...links]) link.end('the coordinator stops');
      await closed;
    },
  };
}

type ReadReport = Report<SampleRows>;
type Claim = (host: string, link: AgentLink) => void;
type Ended = (link: AgentLink, why: string) => void;

/** One agent's connection. Its messages are taken one after another; whatever it does, only it is disconnected. */
class AgentLink {
  readonly #socket: Socket;
  readonly #options: LinkServerOptions;
  readonly #claim: Claim;
  readonly #ended: Ended;
  readonly #reader = new FrameReader();
  readonly #silence: NodeJS.Timeout;
  /** Reports that arrived before the coordinator knew the host. */
  readonly #early: ReadReport[] = [];
  #host: string | null = null;
  /** The agent's host is known to the coordinator, so reports count and the desired state may be sent. */
  #joined = false;
  #over = false;
  /** A newer desired state waits until the agent has read the last one. */
  #waiting = false;
  /** The state of which the agent was last sent its part. */
  #sent: ClusterState | null = null;

  constructor(socket: Socket, options: LinkServerOptions, claim: Claim, ended: Ended) {
    this.#socket = socket;
    this.#options = options;
    this.#claim = claim;
    this.#ended = ended;
    const silenceMsMax = options.silenceMsMax ?? LIMITS.peerSilenceMsMax;
    this.#silence = setTimeout(() => this.end(`nothing heard for ${silenceMsMax} ms`), silenceMsMax);
    socket.on('data', (chunk) => this.#take(chunk));
    socket.on('drain', () => {
      if (this.#waiting) this.sendDesired();
    });
    socket.on('error', (error) => this.end(error.message));
    socket.on('close', () => {
      clearTimeout(this.#silence);
      this.end('the agent closed the connection');
    });
  }

  get host(): string | null {
    return this.#host;
  }

  /** Sends what the agent's host shall be now. A slow reader gets the latest state, not every one before it. */
  sendDesired(): void {
    if (!this.#joined || this.#over || this.#host === null) return;
    const { state } = this.#options.coordinator;
    if (this.#sent !== null && !desiredDiffers(this.#sent, state, this.#host)) return;
    this.#waiting = this.#socket.writableNeedDrain;
    if (this.#waiting) return;
    this.#sent = state;
    this.#send({ type: 'desired', desired: desiredFor(state, this.#host) });
  }

  end(why: string): void {
    if (this.#over) return;
    this.#over = true;
    this.#socket.destroy();
    this.#options.log.info({ host: this.#host, why }, 'agent disconnected');
    this.#ended(this, why);
  }

  #take(chunk: Buffer): void {
    try {
      for (const message of this.#reader.push(chunk)) {
        if (this.#over) return;
        this.#accept(readAgentMessage(message));
      }
    } catch (error) {
      this.#refuse(error);
    }
  }

  #accept(message: Hello | ReadReport): void {
    // Whole messages alone count as a sign of life.
    this.#silence.refresh();
    if (message.type === 'hello') {
      if (this.#host !== null) throw new ShoalError('SHOAL_E_FRAME', 'a second hello on one connection');
      if (message.version !== LINK_VERSION) {
        // The agent is told which version is spoken here, so that it can say so in its own log.
        this.#send({ type: 'welcome', version: LINK_VERSION });
        const versions = `the agent speaks link version ${message.version}, this coordinator ${LINK_VERSION}`;
        throw new ShoalError('SHOAL_E_FRAME', `${versions}; install the same version of Shoal on both`);
      }
      this.#host = message.host.name;
      this.#join(message).catch((error: unknown) => this.#refuse(error));
      return;
    }
    if (this.#host === null) throw new ShoalError('SHOAL_E_FRAME', 'a report before the hello');
    if (this.#joined) this.#report(this.#host, message);
    else this.#early.push(message);
  }

  #report(host: string, report: ReadReport): void {
    this.#options.coordinator.report(host, report);
  }

  async #join(hello: Hello): Promise<void> {
    const { coordinator, log } = this.#options;
    const host = hello.host.name;
    this.#claim(host, this);
    // What the agent sends meanwhile stays in the socket, so that it cannot pile up here.
    this.#socket.pause();
    await coordinator.connect(hello.host, hello.revision, () => !this.#over);
    if (this.#over) return;
    this.#joined = true;
    log.info({ host, revision: hello.revision }, 'agent connected');
    this.#send({ type: 'welcome', version: LINK_VERSION });
    this.sendDesired();
    for (const report of this.#early.splice(0)) this.#report(host, report);
    this.#socket.resume();
  }

  #send(message: ToAgent): void {
    try {
      this.#socket.write(encodeFrame(message));
    } catch (error) {
      this.#refuse(error);
    }
  }

  #refuse(error: unknown): void {
    if (this.#over) return;
    const { code, message } = toShoalError(error);
    this.#options.log.warn({ host: this.#host, code }, `agent refused: ${message}`);
    this.end(`${code}: ${message}`);
  }
}
