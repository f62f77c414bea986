import { createHash, timingSafeEqual } from 'node:crypto';
import { isIPv6 } from 'node:net';
import type { FastifyRequest } from 'fastify';
import { ProblemError } from './problems.js';

export interface GuardOptions {
  /** Bearer token that requests have to carry; without one everyone who reaches the address is let in. */
  token?: string;
  /** Address that the API listens on. */
  address: string;
}

/** Answered without a token, so that a supervisor needs none. */
const OPEN_PATHS = new Set(['/healthz']);

export function isLoopback(address: string): boolean {
  return address === 'localhost' || address === '::1' || /^127\.\d{1,3}\.\d{1,3}\.\d{1,3}$/.test(address);
}

/** Checks a request before anything else looks at it; throws a problem. */
export function createGuard({ token, address }: GuardOptions): (request: FastifyRequest) => void {
  const names = new Set(['localhost', '127.0.0.1', '[::1]', isIPv6(address) ? `[${address}]` : address]);
  const expected = token === undefined ? null : digest(token);
  return (request) => {
    if (isLoopback(address)) assertHost(request.headers.host, names);
    if (expected === null || OPEN_PATHS.has(pathOf(request.url))) return;
    const found = /^Bearer +(\S+) *$/i.exec(request.headers.authorization ?? '')?.[1];
    // Digests have one length, so the comparison tells neither content nor length of the token.
    if (found !== undefined && timingSafeEqual(digest(found), expected)) return;
    const detail = `${found === undefined ? 'no token was sent' : 'the token is not the right one'}; send Authorization: Bearer TOKEN`;
    throw new ProblemError('SHOAL_E_UNAUTHORIZED', detail, { headers: { 'www-authenticate': 'Bearer realm="shoal"' } });
  };
}

/** The path of a URL without its query. */
export function pathOf(url: string): string {
  const cut = url.indexOf('?');
  return cut < 0 ? url : url.slice(0, cut);
}

/** A web page that makes its own name point here (DNS rebinding) still sends that name as Host. */
function assertHost(host: string | undefined, names: ReadonlySet<string>): void {
  const name = (host ?? '').replace(/:\d*$/, '').toLowerCase();
  if (names.has(name)) return;
  const detail = `on loopback the API answers only to the hosts ${[...names].join(', ')}, not to ${JSON.stringify(host ?? '')}`;
  throw new ProblemError('SHOAL_E_USAGE', detail, { status: 421 });
}

function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}
