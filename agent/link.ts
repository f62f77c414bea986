import { connect, type Socket } from 'node:net';
import type { Logger } from 'pino';
import { ShoalError, toShoalError } from '../protocol/errors.js';
import { encodeFrame, FrameReader } from '../protocol/frame.js';
import { NewsWriter, toWire } from '../protocol/instance-news.js';
import { LIMITS } from '../protocol/limits.js';
import { type HostInfo, LINK_VERSION, type ToAgent, type ToCoordinator } from '../protocol/link.js';
import type { Agent } from './agent.js';
import { parseDesired } from './desired.js';

/** Reports that follow a change are sent at most so often. */
const REPORT_MS_MIN = 20;

/** What the link needs of an agent. */
export type LinkedAgent = Pick<Agent, 'applied' | 'apply' | 'report' | 'keep' | 'onChange'>;

/** The agent's connection to the coordinator: dialled again whenever it breaks, while the instances go on. */
export class Link {
  readonly #socketPath: string;
  readonly #host: HostInfo;
  readonly #agent: LinkedAgent;
  readonly #log: Logger;
  #socket: Socket | undefined;
  /** Of the present connection. */
  #news = new NewsWriter();
  #welcome = false;
  #delayMs: number = LIMITS.reconnectMsMin;
  #redial: NodeJS.Timeout | undefined;
  #heartbeat: NodeJS.Timeout | undefined;
  #soon: NodeJS.Timeout | undefined;
  #reporting = false;
  #closed = false;

  constructor(socketPath: string, host: HostInfo, agent: LinkedAgent, log: Logger) {
    this.#socketPath = socketPath;
    this.#host = host;
    this.#agent = agent;
    this.#log = log;
    agent.onChange(() => this.#reportSoon());
  }

  start(): void {
    this.#heartbeat = setInterval(() => void this.#report(), LIMITS.heartbeatMs);
    this.#dial();
  }

  close(): void {
    this.#closed = true;
    for (const timer of [this.#redial, this.#heartbeat, this.#soon]) clearTimeout(timer);
    this.#socket?.destroy();
  }

  #dial(): void {
    if (this.#closed) return;
    const socket = connect(this.#socketPath);
    const reader = new FrameReader();
    this.#socket = socket;
    this.#news = new NewsWriter();
    this.#welcome = false;
    socket.on('connect', () => {
      this.#send({ type: 'hello', version: LINK_VERSION, host: this.#host, revision: this.#agent.applied });
    });
    socket.on('data', (chunk: Buffer) => {
      try {
        for (const message of reader.push(chunk)) this.#take(message as ToAgent);
      } catch (error) {
        socket.destroy(toShoalError(error));
      }
    });
    let why = 'the coordinator closed the connection';
    socket.on('error', (error) => {
      why = error.message;
    });
    socket.on('close', () => this.#lost(why));
  }

  #lost(why: string): void {
    if (this.#closed) return;
    if (this.#welcome) this.#log.warn({ detail: why }, 'lost the coordinator; instances go on');
    else this.#log.debug({ detail: why }, 'cannot reach the coordinator');
    this.#welcome = false;
    this.#redial = setTimeout(() => this.#dial(), this.#delayMs);
    this.#delayMs = Math.min(LIMITS.reconnectMsMax, this.#delayMs * 2);
  }

  #take(message: ToAgent): void {
    if (message?.type === 'welcome') {
      if (message.version !== LINK_VERSION) {
        throw new ShoalError(
          'SHOAL_E_FRAME',
          `the coordinator speaks version ${message.version}, this agent ${LINK_VERSION}`,
        );
      }
      this.#welcome = true;
      this.#delayMs = LIMITS.reconnectMsMin;
      this.#log.info('connected to the coordinator');
      void this.#report();
    } else if (message?.type === 'desired') {
      const desired = parseDesired(message.desired);
      this.#agent
        .apply(desired)
        .catch((error: unknown) => this.#log.error({ err: error }, 'cannot apply the desired state'));
    } else {
      throw new ShoalError('SHOAL_E_FRAME', 'the coordinator sent an unknown message');
    }
  }

  #reportSoon(): void {
    if (this.#closed) return;
    this.#soon ??= setTimeout(() => {
      this.#soon = undefined;
      void this.#report();
    }, REPORT_MS_MIN);
  }

  async #report(): Promise<void> {
    if (!this.#welcome || this.#closed) return;
    // A coordinator that does not read gets no queue of old reports; events wait for the next.
    if (this.#socket?.writableNeedDrain) return this.#reportSoon();
    if (this.#reporting) return this.#reportSoon();
    this.#reporting = true;
    try {
      const { instances, events, ports = [] } = await this.#agent.report();
      if (!this.#welcome) return this.#agent.keep(events);
      const news = toWire(this.#news.write(instances));
      this.#send({ type: 'report', atMs: Date.now(), revision: this.#agent.applied, ...news, events, ports });
    } catch (error) {
      this.#log.error({ err: error }, 'cannot report');
    } finally {
      this.#reporting = false;
    }
  }

  #send(message: ToCoordinator): void {
    this.#socket?.write(encodeFrame(message));
  }
}
