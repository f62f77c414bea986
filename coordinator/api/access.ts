import { createHash, timingSafeEqual } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { IncomingHttpHeaders } from 'node:http';
import { isIP } from 'node:net';
import { ShoalError, toShoalError } from '../../protocol/errors.js';
import type { RefusalLog } from '../refusal-log.js';
import { type Caller, mayDo, roleFor, type Tokens } from './tokens.js';

const TOKEN_LENGTH_MIN = 16;

/** The bearer token in the file. Throws SHOAL_E_USAGE when there is none or it is too short to be safe. */
export function readToken(path: string): string {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (cause) {
    throw new ShoalError('SHOAL_E_USAGE', `cannot read the token file: ${(cause as Error).message}`, { cause });
  }
  const token = text.trim();
  if (token.length >= TOKEN_LENGTH_MIN && /^[\x21-\x7e]+$/.test(token)) return token;
  const remedy = `head -c 32 /dev/urandom | base64 > ${path}`;
  throw new ShoalError(
    'SHOAL_E_USAGE',
    `${path} must hold a token of at least ${TOKEN_LENGTH_MIN} characters: ${remedy}`,
  );
}

/** Throws SHOAL_E_UNAUTHORIZED unless the header carries the token; takes as long for every wrong one. */
export function assertToken(token: string, header: string | undefined): void {
  const given = /^Bearer (.+)$/i.exec(header ?? '')?.[1] ?? '';
  if (isSameSecret(given, token)) return;
  throw unauthorized();
}

/** Takes as long for every wrong one. */
export function isSameSecret(given: string | Buffer, expected: string | Buffer): boolean {
  const digest = (secret: string | Buffer) => createHash('sha256').update(secret).digest();
  return timingSafeEqual(digest(given), digest(expected));
}

function unauthorized(): ShoalError {
  const remedy = 'send `Authorization: Bearer TOKEN`; the shoal command takes --token-file';
  return new ShoalError('SHOAL_E_UNAUTHORIZED', remedy);
}

/**
 * A web page that a browser on this host has open could reach a loopback server by a name that its owner points here
 * (DNS rebinding). Such a request carries that name; ours carry a loopback name or an address.
 */
export function assertHostHeader(header: string | undefined): void {
  const name = (header ?? '').replace(/:\d+$/, '').replace(/^\[(.*)\]$/, '$1');
  if (name === 'localhost' || isIP(name) !== 0) return;
  throw new ShoalError('SHOAL_E_UNAUTHORIZED', `the Host header ${JSON.stringify(name)} is not this coordinator's`);
}

export function isLoopback(address: string): boolean {
  return address === 'localhost' || address === '::1' || /^127\.\d+\.\d+\.\d+$/.test(address);
}

export interface Access {
  /** A token that may do everything; null: none. Without any token only a loopback listener may answer. */
  token: string | null;
  /** Callers with roles. */
  tokens?: Tokens;
  /** Whether it listens on loopback alone. */
  loopback: boolean;
  /** Told of what is refused; shared by all that refuse. */
  refusals?: RefusalLog;
}

/** Whoever asks where no token is needed. */
export const ANYBODY: Caller = { name: 'local', role: 'admin' };

/** Whoever asks where something else than a token of the API shows who it is. */
export const STRANGER: Caller = { name: 'a host', role: 'read' };

/** A forge that knows the app's secret for it. */
export const WEBHOOK: Caller = { name: 'a webhook', role: 'read' };

/** Of names alone, whose characters every reader of paths takes as they are. */
const HOOK_PATH = /^\/v1\/hooks(\/[a-z]([a-z0-9-]{0,62}[a-z0-9])?){2}$/;

export function isForWebhooks(method: string | undefined, path: string): boolean {
  return method === 'POST' && HOOK_PATH.test(path);
}

/** What hosts ask that join with a token for it, or renew their certificate; and what webhooks do. */
export function isForStrangers(method: string | undefined, path: string): boolean {
  if (isForWebhooks(method, path)) return true;
  if (path === '/v1/ca') return method === 'GET';
  return (path === '/v1/join' || path === '/v1/renew') && method === 'POST';
}

interface AccessRequest {
  method?: string | undefined;
  url?: string | undefined;
  headers: IncomingHttpHeaders;
  socket: { remoteAddress?: string | undefined };
}

/**
 * Who asks. Throws SHOAL_E_UNAUTHORIZED when that is nobody who may ask at all, SHOAL_E_ROLE when it is somebody who may not
 * do this, and tells it in the audit log. `route`: the pattern of the route that will answer, where it is known: the router
 * reads paths more generously than one could here (escapes, fragments, whole URLs), so that the role goes by its outcome.
 */
export function assertAccess(access: Access, request: AccessRequest, refusals: RefusalLog, route?: string): Caller {
  let caller: Caller | undefined;
  try {
    caller = identify(access, request);
    assertRole(caller, request.method ?? 'GET', route ?? pathOf(request));
    return caller;
  } catch (error) {
    const who = caller === undefined ? {} : { who: caller.name, role: caller.role };
    const { method, url, socket } = request;
    const { code } = toShoalError(error);
    refusals.warn(socket.remoteAddress ?? '', { audit: true, ...who, method, url, code }, 'a request was refused');
    throw error;
  }
}

function identify(access: Access, request: AccessRequest): Caller {
  if (access.loopback) assertHostHeader(request.headers.host);
  const path = pathOf(request);
  if (path === '/healthz') return ANYBODY;
  if (isForWebhooks(request.method, path)) return WEBHOOK;
  if (isForStrangers(request.method, path)) return STRANGER;
  return callerOf(access, request.headers.authorization);
}

function assertRole(caller: Caller, method: string, path: string): void {
  // What strangers may ask goes by the path.
  if (caller === STRANGER || caller === WEBHOOK) return;
  const needed = roleFor(method, path);
  if (mayDo(caller, needed)) return;
  throw new ShoalError('SHOAL_E_ROLE', `${caller.name} may ${caller.role}; this needs a token of role ${needed}`);
}

function pathOf({ url }: AccessRequest): string {
  return url?.split('?')[0] ?? '';
}

function callerOf({ token, tokens }: Access, header: string | undefined): Caller {
  if (token === null && tokens === undefined) return ANYBODY;
  const given = /^Bearer (.+)$/i.exec(header ?? '')?.[1] ?? '';
  const found = tokens?.find(given) ?? null;
  if (found !== null) return found;
  if (token === null) throw unauthorized();
  assertToken(token, header);
  return { name: 'token-file', role: 'admin' };
}
