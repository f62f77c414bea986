import { CERTIFICATE_BACKDATE_MS } from '../identity/authority.js';
import { isSecret } from '../identity/join-token.js';
import { ShoalError } from '../protocol/errors.js';
import type { HostBounds } from '../protocol/http.js';
import { LIMITS } from '../protocol/limits.js';
import { bump, type ClusterState, own } from './cluster.js';

/** A token with which hosts may join, by its id in the state. */
export interface JoinTokenRecord {
  /** Stands in the audit log. */
  name: string;
  /** SHA-256 of its secret, hex. */
  digest: string;
  /** The only host that may use it, also when it is a member already; null: any that is not. */
  host: string | null;
  /** Absent: none, as of a token that an older coordinator made. */
  bounds?: HostBounds;
  usesLeft: number;
  expiresAtMs: number;
}

/** What is known of a host that joined by a token. */
export interface JoinedRecord {
  /** Id of the token. */
  token: string;
  atMs: number;
  /** Certificates of this host that are valid from an earlier moment are void. */
  voidBeforeMs: number;
  /** Of the token: what it says of itself is believed within them. */
  bounds?: HostBounds;
  /** Its certificates were made void, and its name is free. */
  gone?: true;
}

/** Those that nobody can use any more are forgotten. */
export function addJoinToken(state: ClusterState, id: string, token: JoinTokenRecord, nowMs: number): ClusterState {
  const usable = Object.entries(state.joinTokens).filter(([, each]) => each.usesLeft > 0 && each.expiresAtMs > nowMs);
  if (usable.length >= LIMITS.joinTokensMax) {
    const remedy = 'void some with `shoal token revoke`';
    throw new ShoalError('SHOAL_E_CONFLICT', `there are ${usable.length} tokens for joining: ${remedy}`);
  }
  return { ...state, joinTokens: { ...Object.fromEntries(usable), [id]: token } };
}

export function removeJoinToken(state: ClusterState, id: string): ClusterState {
  if (own(state.joinTokens, id) === undefined) {
    throw new ShoalError('SHOAL_E_NOT_FOUND', `there is no token for joining ${id}`);
  }
  const { [id]: _gone, ...joinTokens } = state.joinTokens;
  return { ...state, joinTokens };
}

/**
 * Throws SHOAL_E_UNAUTHORIZED unless the token may be used now for a host of that name, and SHOAL_E_CONFLICT when the name is
 * that of another host; `known`: a host of that name is or was connected.
 */
export function assertMayJoin(
  state: ClusterState,
  { id, secret }: { id: string; secret: string },
  host: string,
  known: boolean,
  nowMs: number,
): JoinTokenRecord {
  const refuse = (why: string) => new ShoalError('SHOAL_E_UNAUTHORIZED', `the token for joining ${why}`);
  const token = own(state.joinTokens, id);
  const remedy = '`shoal token create NAME --join` makes a new one';
  // Whether there was such a token is told to nobody who does not have its secret.
  if (token === undefined || !isSecret(secret, token.digest)) throw refuse(`is not known, or no longer: ${remedy}`);
  if (token.expiresAtMs <= nowMs) throw refuse(`has expired: ${remedy}`);
  if (token.usesLeft < 1) throw refuse(`is used up: ${remedy}`);
  if (token.host !== null && token.host !== host) throw refuse(`is for host ${token.host}, not for ${host}`);
  const joined = own(state.joined, host);
  if (token.host === null && (joined === undefined ? known : joined.gone !== true)) {
    const detail = `there is a host ${host} already: choose another --name`;
    throw new ShoalError('SHOAL_E_CONFLICT', `${detail}, or use a token made with --host ${host} to take its place`);
  }
  return token;
}

function boundsOf({ bounds }: JoinTokenRecord): { bounds?: HostBounds } {
  return bounds === undefined ? {} : { bounds };
}

/** A host has joined; whoever was it before is no longer. */
export function noteJoined(
  state: ClusterState,
  id: string,
  host: string,
  validFromMs: number,
  nowMs: number,
): ClusterState {
  const token = own(state.joinTokens, id);
  if (token === undefined) throw new ShoalError('SHOAL_E_UNAUTHORIZED', 'the token for joining is no longer known');
  if (validFromLeast(state, host) >= validFromMs) {
    throw new ShoalError('SHOAL_E_CONFLICT', `certificates of ${host} were made void just now: try again in a second`);
  }
  return bump({
    ...state,
    joinTokens: { ...state.joinTokens, [id]: { ...token, usesLeft: token.usesLeft - 1 } },
    joined: { ...state.joined, [host]: { token: id, atMs: nowMs, voidBeforeMs: validFromMs, ...boundsOf(token) } },
  });
}

/** Who signed a certificate may have had a clock that was ahead of the one by which it is made void, by so much. */
const SKEW_MS_MAX = 300_000;

/**
 * Since when a certificate of the host has to be valid, ms since the epoch, so that it is told from all that were made before
 * `nowMs`. They say from when on they are valid, CERTIFICATE_BACKDATE_MS before they were made by the clock of who made them.
 * It is past, for clocks that are right to within the difference.
 */
export function validFromNext(state: ClusterState, host: string, nowMs: number): number {
  const voidBeforeMs = own(state.joined, host)?.voidBeforeMs ?? 0;
  // Certificates count in whole seconds.
  const untilMs = Math.ceil((nowMs - CERTIFICATE_BACKDATE_MS + SKEW_MS_MAX) / 1_000) * 1_000;
  return Math.max(untilMs, voidBeforeMs + 1_000);
}

/** Makes all certificates void that the host has. Its name may be used again. */
export function voidCertificates(state: ClusterState, host: string, nowMs: number): ClusterState {
  const before = own(state.joined, host) ?? { token: '', atMs: nowMs };
  const voidBeforeMs = validFromNext(state, host, nowMs);
  return bump({ ...state, joined: { ...state.joined, [host]: { ...before, voidBeforeMs, gone: true } } });
}

/** Since when a certificate of the host has to be valid at least, not to be void; ms since the epoch. */
export function validFromLeast(state: ClusterState, host: string): number {
  return own(state.joined, host)?.voidBeforeMs ?? 0;
}

/** Whether a host's certificate, valid from then, has been made void. */
export function isVoid(state: ClusterState, host: string, validFromMs: number): boolean {
  return validFromMs < validFromLeast(state, host);
}
