import { createServer, type Server, type Socket } from 'node:net';
import { createServer as createTlsServer } from 'node:tls';
import type { Logger } from 'pino';
import { type Identity, nameOf } from '../identity/identity.js';
import { watchIdentity } from '../identity/watch.js';
import { changeOf } from '../protocol/desired-change.js';
import { ShoalError, toShoalError } from '../protocol/errors.js';
import { encodeFrame, FrameReader } from '../protocol/frame.js';
import type { SampleRows } from '../protocol/instance-news.js';
import { LIMITS } from '../protocol/limits.js';
import {
  type AgentEvent,
  type Attach,
  type Built,
  buildIdOf,
  type Desired,
  type Hello,
  isBuildReference,
  LINK_VERSION,
  LINK_VERSION_CHANGES,
  LINK_VERSION_EXEC,
  LINK_VERSION_LOGS,
  LINK_VERSION_MIN,
  LINK_VERSION_REVOKED,
  LINK_VERSION_STATE,
  LINK_VERSION_TERMINAL,
  type LogAnswer,
  type ProfileAnswer,
  type Report,
  type Seed,
  type SeedsWanted,
  type ToAgent,
} from '../protocol/link.js';
import type { LogPiece, LogQuestion } from '../protocol/log.js';
import type { Profile, ProfileRequest } from '../protocol/profile.js';
import { TokenBucket } from '../protocol/token-bucket.js';
import { AgentQuestions, type LogSource, type ProfileSource } from './agent-questions.js';
import { BuildClaims } from './build-claims.js';
import { type ClusterState, desiredDiffers, desiredFor } from './cluster.js';
import { capConnections } from './connections.js';
import { isTold } from './elsewhere.js';
import { type CommandWanted, type ExecSource, ExecTickets, type StateWanted } from './exec-tickets.js';
import { isVoid } from './joining.js';
import { type FromAgent, readAgentMessage } from './link-messages.js';
import { Coordinator } from './loop.js';
import { RefusalLog } from './refusal-log.js';
import type { SecretBox } from './secret-box.js';
import type { SecretRecord } from './secrets.js';
import { builtBy, seedsFor } from './seeds.js';
import { listenPrivately } from './socket-file.js';

/** More agents than this at once is not a cluster but a mistake; commands of a host have connections of their own. */
const CAPS = { all: 1_024, perAddress: 128 };
/** How long the last words to an agent may take. */
const LINGER_MS = 1_000;
/** Reports that are kept of an agent while the store is asked; an agent that waits for its welcome sends none. */
const EARLY_REPORTS_MAX = 64;
/** So many bytes count as a message of their own. */
const COUNTED_BYTES = 32 * 1024;
/** Who does not prove who it is in this time is no agent. */
const HANDSHAKE_MS_MAX = 5_000;
const PROFILE_QUESTIONS = { what: 'profiles', openMax: 16, answerMsMax: LIMITS.profileAnswerMsMax };
const LOG_QUESTIONS = { what: 'logs', openMax: LIMITS.logQuestionsMax, answerMsMax: LIMITS.logAnswerMsMax };

export interface LinkServerOptions {
  /** Path of the Unix socket. */
  socket: string;
  /** Where agents of other hosts dial as well; without an identity anybody who reaches it is believed to be an agent. */
  network?: Listen;
  identity?: Identity;
  /** Absent: no instance gets a secret. */
  secrets?: SecretBox;
  /** Told of what is refused; its own unless given. */
  refusals?: RefusalLog;
  log: Logger;
  /** A connection that carried nothing from its agent for so long is ended, in ms. */
  silenceMsMax?: number;
}

export interface Listen {
  host: string;
  port: number;
}

/** Who the agents shall obey: this coordinator, or the one that they are sent to; null: not known, they wait. */
export type Leader = Coordinator | { link: string | null } | null;

export interface LinkServer extends ProfileSource, LogSource, ExecSource {
  /** Agents that obey somebody else are sent there. */
  follow(leader: Leader): void;
  close(): Promise<void>;
}

/** Serves the link to the agents: their reports in, the desired state of their host out, while this coordinator leads. */
export async function startLinkServer(options: LinkServerOptions): Promise<LinkServer> {
  const links = new Links(options);
  const server = createServer((socket) => links.add(socket));
  const network = networkServer(options, links);
  const refused = (from: string) =>
    links.refusals.warn(from, {}, 'agent refused: its address has too many connections');
  const endConnections = [server, network].map((each) => capConnections(each, CAPS, refused));
  await listenPrivately(server, options.socket);
  if (options.network !== undefined) await listenOn(network, options.network);
  for (const each of [server, network]) {
    each.on('error', (error) => options.log.error({ err: error }, 'the link socket failed'));
  }
  return {
    follow: (leader) => links.follow(leader),
    hosts: () => links.hosts(),
    ask: (host, of) => links.of(host).then((link) => link.ask(of)),
    readLog: (host, of) => links.of(host).then((link) => link.readLog(of)),
    exec: (host, wanted) => links.of(host).then((link) => link.exec(wanted)),
    openState: (host, wanted) => links.of(host).then((link) => link.openState(wanted)),
    async close() {
      const closed = [server, network].map((each) => new Promise<void>((resolve) => each.close(() => resolve())));
      links.close();
      const timer = setTimeout(() => {
        for (const end of endConnections) end();
      }, 2 * LINGER_MS);
      await Promise.all(closed);
      clearTimeout(timer);
    },
  };
}

/** The listener for other hosts: with an identity by mutual TLS, and each agent speaks for the host of its certificate alone. */
function networkServer({ identity, log }: LinkServerOptions, links: Links): Server {
  if (identity === undefined) return createServer((socket) => links.add(socket.setNoDelay()));
  const server = createTlsServer(
    { ...identity.credentials(), requestCert: true, rejectUnauthorized: true, handshakeTimeout: HANDSHAKE_MS_MAX },
    (socket) => {
      const certificate = socket.getPeerCertificate();
      const host = nameOf(certificate, 'agent');
      const from = socket.remoteAddress ?? '';
      if (host === null || identity.revoked().has(certificate.serialNumber)) {
        const why = host === null ? 'its certificate is not that of an agent' : 'its certificate is revoked';
        links.refusals.warn(from, { host }, `agent refused: ${why}`);
        socket.destroy();
        return;
      }
      const validFromMs = Date.parse(certificate.valid_from);
      links.add(socket.setNoDelay(), { host, serial: certificate.serialNumber, validFromMs });
    },
  );
  server.on('tlsClientError', (error, socket) => {
    // What is wrong with a certificate stands at the connection; the error only says that it was ended.
    const detail = socket.authorizationError ? String(socket.authorizationError) : error.message;
    links.refusals.warn(socket.remoteAddress ?? '', { detail }, 'a connection to the agents\u2019 port was refused');
    socket.destroy();
  });
  const renew = () => {
    server.setSecureContext(identity.credentials());
    links.endRevoked(identity.revoked());
    links.tellRevoked();
  };
  server.once('close', watchIdentity(identity, renew, log));
  return server;
}

/** What the certificate of an agent says. */
interface Proven {
  host: string;
  serial: string;
  /** Ms since the epoch. */
  validFromMs: number;
}

/** All connections of agents. */
class Links {
  readonly #options: LinkServerOptions;
  readonly #all = new Set<AgentLink>();
  readonly #byHost = new Map<string, AgentLink>();
  readonly tickets = new ExecTickets();
  readonly builds = new BuildClaims();
  readonly refusals: RefusalLog;
  #leader: Leader = null;
  /** Of the store, as it was last looked at. */
  #revoked: ClusterState['revoked'] | null = null;
  #stopListening: () => void = () => undefined;

  constructor(options: LinkServerOptions) {
    this.#options = options;
    this.refusals = options.refusals ?? new RefusalLog(options.log);
  }

  get leader(): Leader {
    return this.#leader;
  }
  get options(): LinkServerOptions {
    return this.#options;
  }

  add(socket: Socket, proven: Proven | null = null): void {
    this.#all.add(new AgentLink(socket, this, proven));
  }

  endRevoked(serials: ReadonlySet<string>): void {
    for (const link of [...this.#all]) {
      if (link.proven !== null && serials.has(link.proven.serial)) link.end('its certificate is revoked');
    }
  }

  /** What the store says is revoked is so at once, for whoever dials here too; agents are told of it. */
  #revoke(leader: Coordinator): void {
    const { identity } = this.#options;
    if (identity === undefined || leader.state.revoked === this.#revoked) return;
    this.#revoked = leader.state.revoked;
    identity.tellRevoked(Object.keys(leader.state.revoked));
    this.endRevoked(identity.revoked());
    this.tellRevoked();
  }

  tellRevoked(): void {
    for (const link of this.#byHost.values()) link.sendRevoked();
  }

  hosts(): string[] {
    return [...this.#byHost.keys()];
  }

  /** Rejects with SHOAL_E_UNREACHABLE. */
  async of(host: string): Promise<AgentLink> {
    const link = this.#byHost.get(host);
    if (link !== undefined) return link;
    throw new ShoalError('SHOAL_E_UNREACHABLE', `host ${host} is not connected`);
  }

  follow(leader: Leader): void {
    const before = this.#leader;
    this.#leader = leader;
    this.#stopListening();
    this.#stopListening = () => undefined;
    if (before instanceof Coordinator) {
      for (const link of [...this.#byHost.values()]) link.end('this coordinator no longer leads');
    }
    if (leader instanceof Coordinator) {
      this.#revoke(leader);
      this.#stopListening = leader.onChange(() => {
        this.#revoke(leader);
        for (const link of [...this.#byHost.values()]) {
          if (link.isVoid(leader.state)) link.end('its certificate was made void');
          else link.sendDesired();
        }
      });
    }
    for (const link of [...this.#all]) link.decide();
  }

  close(): void {
    this.#stopListening();
    for (const link of [...this.#all]) link.end('the coordinator stops');
    this.tickets.close();
  }

  /** Two agents of one name cannot both be right; the later one has taken over, as after a restart. */
  claim(host: string, link: AgentLink): void {
    this.#byHost.get(host)?.end('another agent of the same host name has connected');
    this.#byHost.set(host, link);
  }

  /** The host's agent takes others at an address that those who are told of the host do not know yet. */
  tellAddress(host: string): void {
    for (const link of this.#byHost.values()) link.sendAddress(host);
  }

  /** The connection was no agent's link but that of a command. */
  released(link: AgentLink): void {
    this.#all.delete(link);
  }

  ended(link: AgentLink, why: string): void {
    this.#all.delete(link);
    const { host } = link;
    if (host === null || this.#byHost.get(host) !== link) return;
    this.tickets.end(host, `host ${host}: ${why}`);
    this.#byHost.delete(host);
    link.coordinator?.disconnect(host, why);
  }
}

function listenOn(server: Server, { host, port }: Listen): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (cause) => {
      const detail = `cannot listen for agents on ${host}:${port}: ${cause.message}`;
      reject(new ShoalError('SHOAL_E_USAGE', `${detail}; stop what uses it, or choose another --link`, { cause }));
    });
    server.listen(port, host, () => {
      server.removeAllListeners('error');
      resolve();
    });
  });
}

type ReadReport = Report<SampleRows>;

/**
 * One agent's connection. Its messages are taken one after another; whatever it does, only it is disconnected. One that says
 * too much is read more slowly, one that does not read gets no answers.
 */
class AgentLink {
  readonly #socket: Socket;
  readonly #links: Links;
  readonly #log: Logger;
  readonly #reader = new FrameReader();
  readonly #takes = (chunk: Buffer) => this.#take(chunk);
  readonly #rate = new TokenBucket(LIMITS.agentMessagesPerSecondMax, LIMITS.agentMessagesBurstMax);
  /** Until then it is not read. */
  #slowed: NodeJS.Timeout | undefined;
  readonly #silence: NodeJS.Timeout;
  /** Its address; empty on this host's own socket. */
  readonly #from: string;
  /** Reports that arrived before the coordinator knew the host. */
  readonly #early: ReadReport[] = [];
  #hello: Hello | null = null;
  #host: string | null = null;
  /** Whom it was joined to. */
  #coordinator: Coordinator | null = null;
  /** The store is asked before the agent is welcome; what it says waits. */
  #joining = false;
  /** The agent's host is known to the coordinator, so reports count and the desired state may be sent. */
  #joined = false;
  #over = false;
  /** A newer desired state waits until the agent has read the last one. */
  #waiting = false;
  /** A report has had no answer yet. */
  #owesWord = false;
  readonly #profiles = new AgentQuestions<Profile>(PROFILE_QUESTIONS);
  readonly #logs = new AgentQuestions<LogPiece>(LOG_QUESTIONS);
  /** The state of which the agent was last sent its part, and that part; null: it is to be sent the whole. */
  #sent: { state: ClusterState; desired: Desired } | null = null;
  /** Apps that it was ever told of on this connection. */
  readonly #told = new Set<string>();

  constructor(
    socket: Socket,
    links: Links,
    /** Null: on this host's own socket. */
    readonly proven: Proven | null,
  ) {
    this.#socket = socket;
    this.#links = links;
    this.#from = socket.remoteAddress ?? '';
    const { options } = links;
    this.#log = options.log;
    const silenceMsMax = options.silenceMsMax ?? LIMITS.peerSilenceMsMax;
    this.#silence = setTimeout(() => this.end(`nothing heard for ${silenceMsMax} ms`), silenceMsMax);
    socket.on('data', this.#takes);
    socket.on('drain', () => {
      if (this.#waiting) this.sendDesired();
      if (this.#owesWord) this.#hear();
    });
    socket.on('error', (error) => this.end(error.message));
    socket.on('close', () => {
      clearTimeout(this.#silence);
      clearTimeout(this.#slowed);
      this.end('the agent closed the connection');
    });
  }

  get #takesChanges(): boolean {
    return (this.#hello?.version ?? 0) >= LINK_VERSION_CHANGES;
  }
  get host(): string | null {
    return this.#host;
  }
  get coordinator(): Coordinator | null {
    return this.#coordinator;
  }

  /** Else it has yet to read what it was sent before, and answers would pile up. */
  get #readsAnswers(): boolean {
    return !this.#socket.writableNeedDrain;
  }

  isVoid(state: ClusterState): boolean {
    return this.proven !== null && isVoid(state, this.proven.host, this.proven.validFromMs);
  }

  /** Once the agent has said hello and it is known who leads: takes it, or sends it there. */
  decide(): void {
    const { leader } = this.#links;
    if (this.#hello === null || this.#host !== null || leader === null) return;
    if (leader instanceof Coordinator) {
      this.#join(this.#hello, leader).catch((error: unknown) => this.#refuse(error));
      return;
    }
    this.#send({ type: 'elsewhere', link: leader.link });
    this.end('another coordinator leads');
  }

  /** Tells the agent which certificates are void, when there are any. */
  sendRevoked(): void {
    const coordinator = this.#coordinator;
    if (!this.#joined || this.#over || coordinator === null || !coordinator.leads()) return;
    if ((this.#hello?.version ?? 0) < LINK_VERSION_REVOKED) return;
    const serials = [...(this.#links.options.identity?.revoked() ?? [])];
    if (serials.length > 0) this.#send({ type: 'revoked', term: coordinator.term, serials });
  }

  /** Sends what the agent's host shall be now. A slow reader gets the latest state, not every one before it. */
  sendDesired(): void {
    if (!this.#joined || this.#over || this.#host === null || this.#coordinator === null) return;
    const { state, term } = this.#coordinator;
    // Nothing that a deposed leader decided goes out, also while it has not been told.
    if (!this.#coordinator.leads()) return;
    if (this.#sent !== null && !desiredDiffers(this.#sent.state, state, this.#host)) return;
    this.#waiting = this.#socket.writableNeedDrain;
    if (this.#waiting) return;
    const before = this.#sent?.desired;
    const { hosts } = this.#coordinator.observed;
    const addressOf = (host: string) => hosts.get(host)?.info.fabric ?? null;
    const desired = desiredFor(state, this.#host, addressOf, (key, sealed) => this.#valueOf(key, sealed));
    this.#sent = { state, desired };
    for (const app of Object.keys(desired.apps)) this.#told.add(app);
    this.#coordinator.ordered(this.#host, desired.revision);
    if (before === undefined || !this.#takesChanges) this.#send({ type: 'desired', term, desired });
    else this.#send({ type: 'change', term, change: changeOf(before, desired) });
  }

  /** A secret that cannot be unsealed is as one that was not set: what needs it says so, and all else goes on. */
  #valueOf(key: string, { sealed }: SecretRecord): string | undefined {
    try {
      return this.#links.options.secrets?.unseal(key, sealed).toString('base64');
    } catch (error) {
      this.#log.error({ secret: key, code: toShoalError(error).code }, toShoalError(error).message);
      return undefined;
    }
  }

  /** Sends the whole once more, with the new address of another host, when it has to do with that one. */
  sendAddress(other: string): void {
    if (this.#sent !== null && this.#host !== null && isTold(this.#sent.state, this.#host, other)) this.#resend();
  }

  /** The agent does not hold what it was sent: it gets the whole. */
  #resend(): void {
    this.#sent = null;
    this.sendDesired();
  }

  /** Asks the agent for a profile. */
  async ask(of: ProfileRequest): Promise<Profile> {
    this.#assertConnected();
    return this.#profiles.ask((request) => this.#send({ type: 'profile', request, of }));
  }

  /** Asks the agent for a piece of a log. */
  async readLog(of: LogQuestion): Promise<LogPiece> {
    this.#assertConnected();
    this.#assertVersion(LINK_VERSION_LOGS, 'tell what is in its logs');
    return this.#logs.ask((request) => this.#send({ type: 'log', request, of }));
  }

  /** Has the agent run a command. */
  exec(wanted: CommandWanted): Promise<Socket> {
    const [version, what] =
      wanted.terminal === null
        ? [LINK_VERSION_EXEC, 'run commands']
        : [LINK_VERSION_TERMINAL, 'give commands a terminal'];
    return this.#asked(version, what, (ticket, term) => ({ type: 'exec', ticket, term, ...wanted }));
  }

  /** Has the agent open state shards to who asks. */
  openState(wanted: StateWanted): Promise<Socket> {
    const what = 'export and import state';
    return this.#asked(LINK_VERSION_STATE, what, (ticket, term) => ({ type: 'state', ticket, term, ...wanted }));
  }

  async #asked(version: number, what: string, message: (ticket: string, term: number) => ToAgent): Promise<Socket> {
    const { host, term } = this.#assertConnected();
    this.#assertVersion(version, what);
    return this.#links.tickets.ask(host, (ticket) => this.#send(message(ticket, term)));
  }

  /** Throws SHOAL_E_UNREACHABLE. */
  #assertConnected(): { host: string; term: number } {
    const host = this.#host;
    const coordinator = this.#coordinator;
    if (this.#joined && !this.#over && host !== null && coordinator !== null) return { host, term: coordinator.term };
    throw new ShoalError('SHOAL_E_UNREACHABLE', `host ${host} is not connected`);
  }

  /** Throws SHOAL_E_HOST for an agent that speaks no link version in which this can be asked. */
  #assertVersion(version: number, what: string): void {
    if ((this.#hello?.version ?? 0) >= version) return;
    const remedy = 'install this version there too';
    throw new ShoalError('SHOAL_E_HOST', `the agent of ${this.#host} cannot ${what}: ${remedy}`);
  }

  /** Hands the connection over to who has asked; from here on it is not this link's. */
  #attach({ ticket }: Attach): void {
    if (this.#hello !== null) throw new ShoalError('SHOAL_E_FRAME', 'what was asked for on the connection of a link');
    this.#over = true;
    clearTimeout(this.#silence);
    clearTimeout(this.#slowed);
    this.#socket.off('data', this.#takes);
    this.#links.released(this);
    // Whoever asked reads it.
    this.#socket.pause();
    this.#send({ type: 'welcome', version: LINK_VERSION });
    if (!this.#links.tickets.attach(ticket, this.proven?.host ?? null, this.#socket)) this.#socket.destroy();
  }

  end(why: string): void {
    if (this.#over) return;
    this.#over = true;
    for (const questions of [this.#profiles, this.#logs]) questions.end(`host ${this.#host}: ${why}`);
    // What was said last is still sent, to those who read.
    this.#socket.destroySoon();
    const timer = setTimeout(() => this.#socket.destroy(), LINGER_MS);
    this.#socket.once('close', () => clearTimeout(timer));
    this.#log.info({ host: this.#host, why }, 'agent disconnected');
    this.#links.ended(this, why);
  }

  #take(chunk: Buffer): void {
    try {
      const messages = this.#reader.push(chunk);
      this.#rate.take(messages.length + chunk.length / COUNTED_BYTES);
      for (const message of messages) {
        if (this.#over) return;
        this.#accept(readAgentMessage(message, this.#hello?.version ?? LINK_VERSION));
      }
      this.#slowDown();
    } catch (error) {
      this.#refuse(error);
    }
  }

  #slowDown(): void {
    const waitMs = this.#rate.debtMs();
    if (waitMs === 0 || this.#slowed !== undefined || this.#over) return;
    const what = `agent says more than ${LIMITS.agentMessagesPerSecondMax} messages a second: it is read more slowly`;
    this.#links.refusals.warn(this.#from, { host: this.#host }, what);
    this.#socket.pause();
    this.#slowed = setTimeout(() => {
      this.#slowed = undefined;
      if (!this.#joining) this.#socket.resume();
    }, waitMs);
  }

  #accept(message: FromAgent): void {
    // Whole messages alone count as a sign of life.
    this.#silence.refresh();
    if (message.type === 'hello') {
      if (this.#hello !== null) throw new ShoalError('SHOAL_E_FRAME', 'a second hello on one connection');
      if (message.version < LINK_VERSION_MIN || message.version > LINK_VERSION) {
        // The agent is told which version is spoken here, so that it can speak it or say so in its own log.
        this.#send({ type: 'welcome', version: LINK_VERSION });
        const versions = `the agent speaks link version ${message.version}, this coordinator ${LINK_VERSION_MIN} to ${LINK_VERSION}`;
        throw new ShoalError('SHOAL_E_FRAME', versions);
      }
      const { name } = message.host;
      if (this.proven !== null && this.proven.host !== name) {
        throw new ShoalError(
          'SHOAL_E_UNAUTHORIZED',
          `the certificate of ${this.proven.host} does not speak for ${name}`,
        );
      }
      this.#hello = message;
      this.decide();
      return;
    }
    if (message.type === 'resync') {
      this.#resend();
      return;
    }
    if (message.type === 'attach') {
      this.#attach(message);
      return;
    }
    if (message.type === 'no-exec') {
      if (this.#host === null) throw new ShoalError('SHOAL_E_FRAME', 'a refusal before the hello');
      this.#links.tickets.refused(message.ticket, this.#host, message.code, message.why);
      return;
    }
    if (message.type === 'seeds-wanted') {
      this.#tellSeeds(message);
      return;
    }
    if (message.type !== 'report') {
      this.#answered(message);
      return;
    }
    if (this.#host === null) throw new ShoalError('SHOAL_E_FRAME', 'a report before the hello');
    if (this.#joined) this.#report(this.#host, message);
    else if (this.#early.length < EARLY_REPORTS_MAX) this.#early.push(message);
    else throw new ShoalError('SHOAL_E_FRAME', `more than ${EARLY_REPORTS_MAX} reports before the welcome`);
  }

  #answered(message: ProfileAnswer | LogAnswer): void {
    const { request } = message;
    if (message.type === 'profile') this.#profiles.answered(request, message.profile);
    else if (message.type === 'no-profile') this.#profiles.refused(request, message.why);
    else if (message.type === 'no-log') this.#logs.refused(request, message.why);
    // Of logs an agent says as much as it is asked: that is no reason to read it more slowly.
    else if (this.#logs.answered(request, { bytes: message.bytes, next: message.next }))
      this.#rate.giveBack(1 + message.bytes.length / COUNTED_BYTES);
  }

  #tellSeeds({ request, image }: SeedsWanted): void {
    const answer = isBuildReference(image) ? this.#built(image) : { hosts: this.#withImage(image) };
    if (this.#readsAnswers) this.#send({ type: 'seeds', request, ...answer });
  }

  #built(reference: string): Built {
    const coordinator = this.#coordinator;
    const asking = this.#host;
    if (coordinator === null || asking === null || !coordinator.leads()) return { hosts: [] };
    const { state, observed } = coordinator;
    const id = buildIdOf(reference);
    const built = builtBy(state, observed, id, asking);
    if (built !== null) return built;
    const builder = this.#links.builds.builderFor(id, asking, state, observed, coordinator.now());
    return { hosts: [], ...(builder === null ? {} : { builder }) };
  }

  /** Of images that the host is to run something of: of others it has nothing to ask. */
  #withImage(image: string): Seed[] {
    const components = Object.values(this.#sent?.desired.apps ?? {}).flatMap((app) => Object.values(app));
    const isWanted = components.some(({ source }) => source.kind === 'image' && source.image === image);
    const coordinator = isWanted ? this.#coordinator : null;
    return coordinator === null ? [] : seedsFor(coordinator.state, coordinator.observed, image, this.#host ?? '');
  }

  #report(host: string, report: ReadReport): void {
    const coordinator = this.#coordinator;
    if (coordinator === null) return;
    coordinator.report(host, { ...report, events: this.#events(host, report, coordinator.state) });
    const { lease, revision } = report;
    // Singletons go on while the agent holds what it was sent last: what it was told to end it has then ended.
    const isUpToDate = revision >= (this.#sent?.desired.revision ?? 0);
    this.#hear(isUpToDate ? lease : undefined);
  }

  /** Answers a report, and prolongs the host's lease when it has asked for that. */
  #hear(lease?: number): void {
    const [host, coordinator] = [this.#host, this.#coordinator];
    if (!this.#takesChanges || this.#over || host === null || coordinator === null || !coordinator.leads()) return;
    this.#owesWord = !this.#readsAnswers;
    if (this.#owesWord) return;
    if (lease !== undefined) coordinator.prolongLease(host);
    this.#send({ type: 'heard', term: coordinator.term, ...(lease === undefined ? {} : { lease }) });
  }

  /** Events of what the host has to do with: of nothing else an agent has anything to tell. */
  #events(host: string, { events }: ReadReport, { apps }: ClusterState): AgentEvent[] {
    if (events.length === 0) return events;
    // Of an app that is deleted the last is told when it is no more.
    const own = events.filter(({ app }) => app !== '' && (this.#told.has(app) || !Object.hasOwn(apps, app)));
    const others = events.length - own.length;
    const what = 'events of what is not on this host are passed over';
    if (others > 0) this.#links.refusals.warn(this.#from, { host, others }, what);
    return own;
  }

  async #join(hello: Hello, coordinator: Coordinator): Promise<void> {
    const { term } = coordinator;
    const host = hello.host.name;
    this.#host = host;
    this.#coordinator = coordinator;
    if ((hello.term ?? 0) > term) {
      const detail = `the agent of ${host} obeys the leader of term ${hello.term}, and this one has ${term}`;
      throw new ShoalError('SHOAL_E_NOT_LEADER', `${detail}: see "Restoring a backup" in docs/cluster.md`);
    }
    if (this.isVoid(coordinator.state)) {
      throw new ShoalError('SHOAL_E_UNAUTHORIZED', `the certificate of ${host} was made void: join with a token`);
    }
    this.#links.claim(host, this);
    // What the agent sends meanwhile stays in the socket, so that it cannot pile up here.
    this.#joining = true;
    this.#socket.pause();
    const known = coordinator.observed.hosts.get(host)?.info.fabric;
    await coordinator.connect(hello.host, hello.revision, () => !this.#over, this.#takesChanges);
    if (this.#over) return;
    if (hello.host.fabric !== known) this.#links.tellAddress(host);
    this.#joined = true;
    this.#log.info({ host, revision: hello.revision }, 'agent connected');
    this.#send({ type: 'welcome', version: hello.version, term });
    this.sendRevoked();
    this.sendDesired();
    for (const report of this.#early.splice(0)) this.#report(host, report);
    this.#joining = false;
    if (this.#slowed === undefined) this.#socket.resume();
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
    this.#links.refusals.warn(this.#from, { host: this.#host, code }, `agent refused: ${message}`);
    this.end(`${code}: ${message}`);
  }
}
