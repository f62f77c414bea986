import type { Socket } from 'node:net';
import type { Logger } from 'pino';
import type { Identity } from '../identity/identity.js';
import { parseSerials } from '../identity/serials.js';
import type { CachesFigures } from '../protocol/cache-figures.js';
import { ShoalError, toShoalError } from '../protocol/errors.js';
import { isCommand, isTerminalSize } from '../protocol/exec.js';
import { encodeFrame, FrameReader } from '../protocol/frame.js';
import { NewsWriter, toWire } from '../protocol/instance-news.js';
import { LIMITS } from '../protocol/limits.js';
import {
  type Built,
  type Desired,
  type HostInfo,
  type ImageFigures,
  type InstanceStatus,
  LINK_VERSION,
  LINK_VERSION_CHANGES,
  LINK_VERSION_EXEC,
  LINK_VERSION_MIN,
  LINK_VERSION_SEEDS,
  type ToAgent,
  type ToCoordinator,
} from '../protocol/link.js';
import type { LogQuestion } from '../protocol/log.js';
import { pause } from '../protocol/pause.js';
import type { ProfileRequest } from '../protocol/profile.js';
import type { Agent } from './agent.js';
import { Commands } from './commands.js';
import { type Address, Coordinators, dial, endIfRevoked, jittered, parseAddress } from './coordinators.js';
import { parseChanged, parseDesired } from './desired.js';
import type { Fence } from './fence.js';
import { parseLogQuestion } from './log-question.js';
import { parseProfileRequest } from './profiles/request.js';
import { SeedQuestions } from './seed-questions.js';
import { CopyNews } from './state/copy-news.js';
import { StateStreams } from './state/state-streams.js';
import { StateNews } from './state-news.js';

/** Reports that follow a change are sent at most so often. */
const REPORT_MS_MIN = 20;

/** What the link needs of an agent. */
export type LinkedAgent = Pick<
  Agent,
  | 'applied'
  | 'apply'
  | 'report'
  | 'keep'
  | 'onChange'
  | 'profile'
  | 'readLog'
  | 'startCommand'
  | 'readShard'
  | 'writeShard'
  | 'leaseAsked'
  | 'prolongLease'
>;

export interface LinkOptions {
  /** Paths of Unix sockets or HOST:PORT. */
  coordinators: readonly string[];
  host: HostInfo;
  agent: LinkedAgent;
  fence: Fence;
  /** Shown to coordinators of other hosts; null: only those of this host are dialled. */
  identity?: Identity | null;
  log: Logger;
}

/** The agent's connection to the coordinator that leads: dialled again whenever it breaks, while the instances go on. */
export class Link {
  readonly #coordinators: Coordinators;
  readonly #fence: Fence;
  readonly #identity: Identity | null;
  readonly #host: HostInfo;
  readonly #agent: LinkedAgent;
  readonly #log: Logger;
  #socket: Socket | undefined;
  /** That was dialled last. */
  #address: Address | undefined;
  readonly #commands: Commands;
  readonly #streams: StateStreams;
  readonly #seeds = new SeedQuestions();
  /** Ends when what was asked of logs has been answered. */
  #logsTold: Promise<void> = Promise.resolve();
  readonly #ended = new AbortController();
  /** Of the present connection. */
  #news = new NewsWriter();
  #copies = new CopyNews();
  #state = new StateNews();
  #cachesSaid: CachesFigures | null = null;
  #imagesSaid: ImageFigures | null = null;
  /** The desired state as last said on it, which changes are made from; null before the first. */
  #said: Desired | null = null;
  /** It could not be applied, as when the disk is full: tried again with each heartbeat. */
  #isUnapplied = false;
  #welcome = false;
  /** Spoken with the coordinator that was dialled last. */
  #version: number = LINK_VERSION;
  #patience: NodeJS.Timeout | undefined;
  #delayMs: number = LIMITS.reconnectMsMin;
  #redial: NodeJS.Timeout | undefined;
  #heartbeat: NodeJS.Timeout | undefined;
  #soon: NodeJS.Timeout | undefined;
  #reporting = false;
  #closed = false;

  constructor({ coordinators, host, agent, fence, identity = null, log }: LinkOptions) {
    this.#identity = identity;
    this.#coordinators = new Coordinators(coordinators.map(parseAddress));
    this.#fence = fence;
    this.#host = host;
    this.#agent = agent;
    this.#log = log;
    this.#commands = new Commands({ identity, log, start: (...wanted) => agent.startCommand(...wanted) });
    this.#streams = new StateStreams({ identity, log, state: agent });
    agent.onChange(() => this.#reportSoon());
  }

  /** Throws SHOAL_E_USAGE when there is no identity to begin with. */
  start(): void {
    this.#heartbeat = setInterval(() => this.#beat(), LIMITS.heartbeatMs);
    this.#connect();
  }

  /** Other hosts that have the image, or one that builds it; none when no coordinator says so soon. Asking it must not hold up a start. */
  async hostsWith(image: string): Promise<Built> {
    if (!this.#welcome || this.#version < LINK_VERSION_SEEDS) return { hosts: [] };
    return this.#seeds.ask((request) => this.#send({ type: 'seeds-wanted', request, image }));
  }

  close(): void {
    this.#closed = true;
    this.#ended.abort();
    for (const timer of [this.#redial, this.#heartbeat, this.#soon, this.#patience]) clearTimeout(timer);
    this.#socket?.destroy();
    this.#commands.close();
    this.#streams.close();
  }

  #dial(): void {
    try {
      this.#connect();
    } catch (error) {
      // Its identity is being replaced, say: the next time it may be whole again.
      this.#lost(toShoalError(error).message);
    }
  }

  #connect(): void {
    if (this.#closed) return;
    this.#address = this.#coordinators.take();
    const socket = dial(this.#address, this.#identity, () => {
      const { term } = this.#fence;
      const revision = this.#agent.applied;
      this.#send({ type: 'hello', version: this.#version, host: this.#host, revision, ...(term > 0 ? { term } : {}) });
    });
    const reader = new FrameReader();
    this.#socket = socket;
    this.#news = new NewsWriter();
    this.#copies = new CopyNews();
    this.#state = new StateNews();
    this.#cachesSaid = null;
    this.#imagesSaid = null;
    this.#said = null;
    this.#welcome = false;
    this.#await(LIMITS.welcomeMsMax, 'no welcome');
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
    socket.on('close', () => {
      clearTimeout(this.#patience);
      this.#lost(why);
    });
  }

  /** Ends the present connection unless something comes that is waited for. */
  #await(ms: number, what: string): void {
    const socket = this.#socket;
    this.#patience = setTimeout(() => socket?.destroy(new Error(`${what} within ${ms} ms`)), ms);
  }

  #lost(why: string): void {
    if (this.#closed) return;
    if (this.#welcome) this.#log.warn({ detail: why }, 'lost the coordinator; instances go on');
    else this.#log.debug({ detail: why }, 'cannot reach the coordinator');
    this.#welcome = false;
    this.#redial = setTimeout(() => this.#dial(), jittered(this.#delayMs));
    this.#delayMs = Math.min(LIMITS.reconnectMsMax, this.#delayMs * 2);
  }

  #take(message: ToAgent): void {
    if (message?.type === 'welcome') this.#greet(message);
    else if (message?.type === 'desired') this.#obey(parseDesired(message.desired), message.term);
    else if (message?.type === 'change') this.#obeyChange(message);
    else if (message?.type === 'heard') this.#heard(message);
    else if (message?.type === 'revoked') this.#learnRevoked(message);
    else if (message?.type === 'profile') void this.#answer(message.request, parseProfileRequest(message));
    else if (message?.type === 'log') this.#tellLog(message.request, parseLogQuestion(message));
    else if (message?.type === 'exec') this.#exec(message);
    else if (message?.type === 'state') this.#openState(message);
    else if (message?.type === 'seeds') this.#seeds.answered(message);
    else if (message?.type === 'elsewhere') {
      this.#coordinators.tell(message.link);
      this.#socket?.destroy();
    } else throw new ShoalError('SHOAL_E_FRAME', 'the coordinator sent an unknown message');
  }

  #greet({ version, term }: Extract<ToAgent, { type: 'welcome' }>): void {
    if (version !== this.#version) {
      const ours = `this agent ${LINK_VERSION_MIN} to ${LINK_VERSION}`;
      // An older coordinator says so and hangs up; the next dial speaks its version.
      this.#version = version >= LINK_VERSION_MIN && version < LINK_VERSION ? version : LINK_VERSION;
      throw new ShoalError('SHOAL_E_FRAME', `the coordinator speaks version ${version}, ${ours}`);
    }
    // Refused here already: a leader that may not be obeyed gets no reports either.
    this.#fence
      .admit(readTerm(term))
      .catch((error: unknown) => this.#log.error({ err: error }, 'cannot keep the term'));
    clearTimeout(this.#patience);
    // A leader that is cut off does not close its connections.
    if (version >= LINK_VERSION_CHANGES) this.#await(LIMITS.answerMsMax, 'no answer to reports');
    this.#welcome = true;
    this.#delayMs = LIMITS.reconnectMsMin;
    this.#log.info({ term }, 'connected to the coordinator');
    void this.#report();
  }

  #obeyChange({ change, term }: Extract<ToAgent, { type: 'change' }>): void {
    const changed = this.#said === null ? null : parseChanged(this.#said, change);
    if (changed === null) this.#send({ type: 'resync', revision: this.#said?.revision ?? 0 });
    else if (changed !== this.#said) this.#obey(changed, term);
  }

  #obey(desired: Desired, term: number | undefined): void {
    // Throws at once for a leader who may not be obeyed, so that no change is made from what such a one has said.
    const admitted = this.#fence.admit(readTerm(term));
    this.#said = desired;
    this.#isUnapplied = false;
    admitted
      .then(() => this.#agent.apply(desired))
      .catch((error: unknown) => {
        this.#log.error({ err: error }, 'cannot apply the desired state; trying again');
        this.#isUnapplied = this.#said === desired;
      });
  }

  /** Of a leader that may not be obeyed no lease is taken either: it throws. */
  #heard({ term, lease }: Extract<ToAgent, { type: 'heard' }>): void {
    const admitted = this.#fence.admit(readTerm(term));
    this.#patience?.refresh();
    if (lease === undefined) return;
    if (!Number.isSafeInteger(lease))
      throw new ShoalError('SHOAL_E_FRAME', 'the coordinator sent a lease that is none');
    admitted
      .then(() => this.#agent.prolongLease(lease))
      .catch((error: unknown) => this.#log.error({ err: error }, 'cannot prolong the lease of singletons'));
  }

  /** Kept on disk: a coordinator that is revoked is refused also by an agent that starts again and dials it first. */
  #learnRevoked({ term, serials }: Extract<ToAgent, { type: 'revoked' }>): void {
    const identity = this.#identity;
    const revoked = parseSerials(serials);
    const admitted = this.#fence.admit(readTerm(term));
    if (identity === null) return;
    admitted
      .then(() => identity.keepRevoked(revoked))
      .catch((error: unknown) => this.#log.error({ err: error }, 'cannot keep the list of revoked certificates'))
      .finally(() => this.#endRevoked(identity.revoked()));
  }

  #endRevoked(revoked: ReadonlySet<string>): void {
    if (this.#socket !== undefined) endIfRevoked(this.#socket, revoked);
    this.#commands.endRevoked(revoked);
    this.#streams.endRevoked(revoked);
  }

  #beat(): void {
    if (this.#isUnapplied && this.#said !== null) this.#obey(this.#said, this.#fence.term);
    void this.#report();
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
    // Before all that takes time: the lease counts from here.
    const lease = this.#version >= LINK_VERSION_CHANGES ? this.#agent.leaseAsked : undefined;
    try {
      const {
        instances,
        events,
        ports = [],
        warm = [],
        builds = [],
        images,
        connections = [],
        profiler,
        copies = {},
        state = {},
        caches = {},
        lags = {},
      } = await this.#agent.report();
      if (!this.#welcome) return this.#agent.keep(events);
      const newCopies = this.#copies.news(copies);
      const newState = this.#state.news(state);
      const newCaches = caches === this.#cachesSaid ? {} : { caches };
      this.#cachesSaid = caches;
      const newImages = images === undefined || images === this.#imagesSaid ? {} : { images };
      this.#imagesSaid = images ?? null;
      const news = toWire(this.#news.write(this.#spoken(instances)), this.#version);
      const atMs = Date.now();
      const { applied: revision } = this.#agent;
      const lag = Object.keys(lags).length === 0 ? {} : { lags };
      const asks = lease === undefined ? {} : { lease };
      this.#send({
        type: 'report',
        atMs,
        revision,
        ...news,
        events,
        ports,
        warm,
        builds,
        connections,
        ...(profiler === undefined ? {} : { profiler }),
        ...newCopies,
        ...newState,
        ...newCaches,
        ...newImages,
        ...lag,
        ...asks,
      });
    } catch (error) {
      this.#log.error({ err: error }, 'cannot report');
    } finally {
      this.#reporting = false;
    }
  }

  /** Coordinators of before know neither paused nor unready: to them such an instance drains, and is as little counted on. */
  #spoken(instances: InstanceStatus[]): InstanceStatus[] {
    if (this.#version >= LINK_VERSION_EXEC) return instances;
    return instances.map((each) =>
      each.phase === 'paused' || each.phase === 'unready' ? { ...each, phase: 'draining' } : each,
    );
  }

  async #answer(request: number, of: ProfileRequest): Promise<void> {
    const socket = this.#socket;
    const message: ToCoordinator = await this.#agent.profile(of).then(
      (profile) => ({ type: 'profile', request, profile }),
      (error: unknown) => ({ type: 'no-profile', request, why: toShoalError(error).message }),
    );
    // Another connection has not asked.
    if (this.#socket === socket && this.#welcome) this.#send(message);
  }

  /** One question after another, each when what was said before is on its way: reports must not wait behind all the pieces. */
  #tellLog(request: number, of: LogQuestion): void {
    const socket = this.#socket;
    const isAsked = () => this.#socket === socket && this.#welcome && !this.#closed;
    this.#logsTold = this.#logsTold.then(async () => {
      while (isAsked() && socket?.writableNeedDrain) await pause(2 * REPORT_MS_MIN, this.#ended.signal);
      if (!isAsked()) return;
      const message: ToCoordinator = await this.#agent.readLog(of).then(
        (piece) => ({ type: 'log', request, ...piece }),
        (error: unknown) => ({ type: 'no-log', request, why: toShoalError(error).message }),
      );
      if (isAsked()) this.#send(message);
    });
  }

  #exec({ ticket, term, instance, command, terminal = null }: Extract<ToAgent, { type: 'exec' }>): void {
    if (
      typeof ticket !== 'string' ||
      typeof instance !== 'string' ||
      !isCommand(command) ||
      !(terminal === null || isTerminalSize(terminal))
    )
      throw new ShoalError('SHOAL_E_FRAME', 'the coordinator asked for a command that is none');
    this.#attach(ticket, term, (address) => this.#commands.run(address, { ticket, instance, command, terminal }));
  }

  #openState({ ticket, term, app, component, writes }: Extract<ToAgent, { type: 'state' }>): void {
    const isNamed = [ticket, app, component].every((each) => typeof each === 'string');
    if (!isNamed || typeof writes !== 'boolean')
      throw new ShoalError('SHOAL_E_FRAME', 'the coordinator asked for state of no component');
    const key = `${app}/${component}`;
    this.#attach(ticket, term, (address) => this.#streams.open(address, { ticket, key, writes }));
  }

  /** Does what was asked for with a ticket, or says why it cannot be. */
  #attach(ticket: string, term: number, open: (address: Address) => Promise<void>): void {
    const [socket, address] = [this.#socket, this.#address];
    if (address === undefined) return;
    this.#fence
      .admit(readTerm(term))
      .then(() => open(address))
      .catch((error: unknown) => {
        const { code, message: why } = toShoalError(error);
        if (this.#socket === socket && this.#welcome) this.#send({ type: 'no-exec', ticket, code, why });
      });
  }

  #send(message: ToCoordinator): void {
    this.#socket?.write(encodeFrame(message));
  }
}

/** Absent from coordinators that know no terms. */
function readTerm(term: unknown = 0): number {
  if (typeof term === 'number' && Number.isSafeInteger(term) && term >= 0) return term;
  throw new ShoalError('SHOAL_E_FRAME', 'the coordinator sent a term that is none');
}
