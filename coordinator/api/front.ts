import {
  type ClientRequest,
  createServer,
  request as httpRequest,
  type IncomingMessage,
  type RequestOptions,
  type Server,
  ServerResponse,
} from 'node:http';
import { createServer as createTlsServer, request as httpsRequest, type Server as TlsServer } from 'node:https';
import type { Socket } from 'node:net';
import type { PeerCertificate } from 'node:tls';
import type { FastifyInstance } from 'fastify';
import type { Logger } from 'pino';
import { type Identity, refuseUnlessCoordinator } from '../../identity/identity.js';
import { watchIdentity } from '../../identity/watch.js';
import { ShoalError } from '../../protocol/errors.js';
import type { ClusterView } from '../../protocol/http.js';
import { AddressLimit } from '../address-limit.js';
import { capConnections } from '../connections.js';
import { RefusalLog } from '../refusal-log.js';
import { type Access, assertAccess, isForStrangers, isForWebhooks, STRANGER, WEBHOOK } from './access.js';
import { becomeStream, join, UPGRADES, wantedProtocol } from './exec.js';
import { problemOf } from './problem.js';
import { REQUEST_MS_MAX } from './server.js';
import { wantsStream } from './stream.js';
import type { Caller } from './tokens.js';

/** What the front has to know of the coordinator behind it. */
export interface Behind {
  /** The API of the state that this coordinator last led with; null: it never led. */
  readonly api: FastifyInstance | null;
  readonly leads: boolean;
  /** Address of the API of the coordinator that leads; null when none is known or it is this one. */
  readonly leaderApi: string | null;
  /** Calls back when another coordinator leads than before, or none. */
  onLeaderChange(listener: () => void): void;
  view(): ClusterView;
}

export interface FrontOptions extends Access {
  behind: Behind;
  /** Speaks TLS with this certificate. */
  tls?: Identity;
  /** Shows who the cluster's other coordinators are, when they speak TLS. */
  identity?: Identity;
  /** How long a request may take to arrive. */
  timeouts?: typeof TIMEOUTS;
  /** What those may ask who show no token. */
  strangers?: AddressLimit;
  log: Logger;
}

/** Says that a request was forwarded once, and is not forwarded again. */
const FORWARDED = 'shoal-forwarded';
/** Says how old an answer is that a coordinator gives which does not lead, seconds. */
const STALE = 'shoal-stale-seconds';
/** Who sends its request byte by byte is cut off. */
const TIMEOUTS = { headersTimeout: 10_000, requestTimeout: REQUEST_MS_MAX, connectionsCheckingInterval: 5_000 };
/** Who does not finish the handshake of TLS in this time is cut off. */
const HANDSHAKE_MS_MAX = 5_000;
/** Streams of events and of commands last. */
const CAPS = { all: 2_048, perAddress: 512 };
/**
 * What those may ask who show no token of the API: joining, renewing, and the authority's certificate. They make the
 * coordinator hash, verify and start openssl, and could guess without an end.
 */
export const STRANGER_RATES = { perAddress: { perSecond: 1, burst: 30 }, inAll: { perSecond: 10, burst: 200 } };
/** A leader that does not take a connection in this time is no leader to forward to. */
const CONNECT_MS_MAX = 2_000;

/**
 * The listener of the HTTP API, of which every coordinator has one. The leader answers; others forward to it, streams
 * included. While no leader can be found, what was last known is still read here, marked as old. Streams end with the
 * leader that they came from, also when its process lives on: clients come back with the last id that they have seen.
 */
export function createFront(options: FrontOptions): Server | TlsServer {
  const { behind, log, timeouts = TIMEOUTS } = options;
  const { strangers = new AddressLimit(STRANGER_RATES), refusals = new RefusalLog(log) } = options;
  const limits = { strangers, webhooks: new AddressLimit(STRANGER_RATES), refusals };
  const streams = new Set<ServerResponse>();
  behind.onLeaderChange(() => {
    for (const response of streams) response.destroy();
  });
  const take = (request: IncomingMessage, response: ServerResponse) => {
    if (wantsStream(request)) {
      streams.add(response);
      response.once('close', () => streams.delete(response));
    }
    answer(options, limits, request, response).catch((error: unknown) => {
      const problem = problemOf(error);
      if (problem.status >= 500) log.debug({ url: request.url, detail: problem.detail }, 'a request was refused');
      if (response.headersSent) response.destroy();
      else sendJson(response, problem.status, problem, 'application/problem+json');
    });
  };
  const server = options.tls === undefined ? createServer(timeouts, take) : tlsServer(options.tls, timeouts, log, take);
  capConnections(server, CAPS, (from) =>
    refusals.warn(from, {}, 'a connection to the API was refused: its address has too many'),
  );
  server.on('upgrade', (request, stream, head) => {
    const socket = stream as Socket;
    socket.on('error', () => socket.destroy());
    if (head.length > 0) socket.unshift(head);
    takeUpgrade(request, socket, take);
  });
  server.on('clientError', (_error, socket) => {
    if (socket.writable) socket.end('HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n');
  });
  return server;
}

function tlsServer(
  tls: Identity,
  timeouts: typeof TIMEOUTS,
  log: Logger,
  take: (request: IncomingMessage, response: ServerResponse) => void,
): TlsServer {
  const server = createTlsServer({ ...timeouts, ...tls.credentials(), handshakeTimeout: HANDSHAKE_MS_MAX }, take);
  server.on('tlsClientError', (error, socket) => {
    log.debug({ from: socket.remoteAddress, detail: error.message }, 'a connection to the API was refused');
    socket.destroy();
  });
  server.once(
    'close',
    watchIdentity(tls, () => server.setSecureContext(tls.credentials()), log),
  );
  return server;
}

/**
 * A connection that is to become another one is answered as every other request is, by a response on its socket; when
 * another coordinator leads its answer is carried on.
 */
function takeUpgrade(
  request: IncomingMessage,
  socket: Socket,
  take: (request: IncomingMessage, response: ServerResponse) => void,
): void {
  const response = new ServerResponse(request);
  response.shouldKeepAlive = false;
  response.assignSocket(socket);
  response.once('finish', () => socket.end());
  if (wantedProtocol(request) !== undefined) {
    take(request, response);
    return;
  }
  const problem = problemOf(
    new ShoalError('SHOAL_E_USAGE', `of other protocols this API speaks ${UPGRADES.join(' and ')} alone`),
  );
  sendJson(response, problem.status, problem, 'application/problem+json');
}

interface Limits {
  strangers: AddressLimit;
  /** A busy forge keeps no host from renewing its certificate. */
  webhooks: AddressLimit;
  refusals: RefusalLog;
}

async function answer(
  options: FrontOptions,
  limits: Limits,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const { behind } = options;
  const path = request.url?.split('?')[0];
  if (isForWebhooks(request.method, path ?? '')) assertRate(limits.webhooks, WEBHOOK, limits, request, response);
  else if (isForStrangers(request.method, path ?? ''))
    assertRate(limits.strangers, STRANGER, limits, request, response);
  if (path === '/v1/cluster' && request.method === 'GET') {
    assertAccess(options, request, limits.refusals);
    return sendJson(response, 200, behind.view(), 'application/json');
  }
  if (behind.leads && behind.api !== null) return behind.api.routing(request, response);
  assertAccess(options, request, limits.refusals);
  const { leaderApi, api } = behind;
  if (leaderApi !== null && request.headers[FORWARDED] === undefined) {
    try {
      return await forward(leaderApi, options.identity, request, response);
    } catch (error) {
      if (response.headersSent || api === null) throw error;
    }
  }
  if (path === '/healthz') throw noLeader(behind);
  if (api === null || (request.method !== 'GET' && request.method !== 'HEAD')) throw noLeader(behind);
  const { staleSeconds } = behind.view();
  response.setHeader(STALE, String(staleSeconds ?? 0));
  api.routing(request, response);
}

/** Throws SHOAL_E_RATE, with how long to wait in the answer's head. */
function assertRate(
  limit: AddressLimit,
  { name: who }: Caller,
  { refusals }: Limits,
  request: IncomingMessage,
  response: ServerResponse,
): void {
  const from = request.socket.remoteAddress ?? '';
  const waitMs = limit.take(from);
  if (waitMs === 0) return;
  const seconds = Math.ceil(waitMs / 1_000);
  response.setHeader('retry-after', String(seconds));
  const { method, url } = request;
  refusals.warn(from, { audit: true, who, method, url, status: 429 }, 'asked too often');
  throw new ShoalError('SHOAL_E_RATE', `asked too often from ${from}, or from everywhere: try again in ${seconds} s`);
}

/** Resolves when the answer has begun. Throws SHOAL_E_UNREACHABLE when the leader cannot be asked; then nothing was sent. */
function forward(
  leaderApi: string,
  identity: Identity | undefined,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const url = new URL(leaderApi);
    const headers = { ...request.headers, host: url.host, [FORWARDED]: '1' };
    // As it was asked for, since a whole URL would lead elsewhere, with the caller's token.
    const asked = { method: request.method, path: request.url ?? '/', headers };
    // A kept connection may have died unnoticed, and what is sent cannot be sent twice: each has its own.
    const onward = requestTo(url, { ...asked, agent: false }, identity);
    const timer = setTimeout(() => onward.destroy(new Error(`no connection in ${CONNECT_MS_MAX} ms`)), CONNECT_MS_MAX);
    onward.once('socket', (socket) => {
      if (!socket.connecting) clearTimeout(timer);
      else socket.once(url.protocol === 'https:' ? 'secureConnect' : 'connect', () => clearTimeout(timer));
    });
    onward.once('upgrade', (_answered, there: Socket, head: Buffer) => {
      const protocol = wantedProtocol(request);
      // It was asked for: else there is no upgrade.
      if (protocol === undefined) return void there.destroy();
      becomeStream(response, request.socket, protocol);
      if (head.length > 0) there.unshift(head);
      join(request.socket, there);
      resolve();
    });
    onward.once('response', (answered) => {
      response.writeHead(answered.statusCode ?? 502, answered.headers);
      // A stream may be silent for long: its head is sent before its first word.
      response.flushHeaders();
      answered.pipe(response);
      answered.once('error', () => response.destroy());
      resolve();
    });
    onward.once('error', (cause) => {
      clearTimeout(timer);
      if (response.headersSent) response.destroy();
      else reject(new ShoalError('SHOAL_E_UNREACHABLE', `the leader at ${leaderApi}: ${cause.message}`, { cause }));
    });
    response.once('close', () => onward.destroy());
    request.pipe(onward);
  });
}

/** A request to the leader; one that speaks TLS must be a coordinator of this cluster, with a certificate that is not revoked. */
function requestTo(url: URL, options: RequestOptions, identity: Identity | undefined): ClientRequest {
  if (url.protocol === 'http:') return httpRequest(url, options);
  if (identity === undefined) {
    const remedy = 'give this coordinator its --identity too';
    throw new ShoalError('SHOAL_E_UNREACHABLE', `the leader at ${url.origin} speaks TLS: ${remedy}`);
  }
  const { ca, minVersion } = identity.credentials();
  const checkServerIdentity = (_host: string, certificate: PeerCertificate) =>
    refuseUnlessCoordinator(certificate, identity.revoked());
  return httpsRequest(url, { ...options, ca, minVersion, checkServerIdentity });
}

function noLeader(behind: Behind): ShoalError {
  const { store } = behind.view();
  if (!store.reachable) return new ShoalError('SHOAL_E_STORE_AWAY', `nothing can be changed: ${store.detail}`);
  return new ShoalError('SHOAL_E_NOT_LEADER', 'no coordinator leads at the moment; try again in a second');
}

function sendJson(response: ServerResponse, status: number, body: unknown, type: string): void {
  response.writeHead(status, { 'content-type': type });
  response.end(JSON.stringify(body));
}
