import { createHash, timingSafeEqual } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { IncomingHttpHeaders } from 'node:http';
import { isIP } from 'node:net';
import { ShoalError } from '../../protocol/errors.js';

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
  const digest = (text: string) => createHash('sha256').update(text).digest();
  if (timingSafeEqual(digest(given), digest(token))) return;
  throw new ShoalError(
    'SHOAL_E_UNAUTHORIZED',
    'send `Authorization: Bearer TOKEN`; the shoal command takes --token-file',
  );
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
  /** Needed by every request but /healthz; null: no token, which only a loopback listener may do. */
  token: string | null;
  /** Whether it listens on loopback alone. */
  loopback: boolean;
}

/** Throws SHOAL_E_UNAUTHORIZED when the request may not be answered. */
export function assertAccess(
  { token, loopback }: Access,
  request: { url?: string | undefined; headers: IncomingHttpHeaders },
): void {
  if (loopback) assertHostHeader(request.headers.host);
  if (token !== null && request.url !== '/healthz') assertToken(token, request.headers.authorization);
}
