import { ShoalError } from '../protocol/errors.js';
import { LIMITS } from '../protocol/limits.js';
import { bump, type ClusterState, own } from './cluster.js';

/** Where the store has the certificates that are revoked, by serial. */
export const REVOKED_PREFIX = 'revoked/';

/** A certificate that was revoked. */
export interface RevokedRecord {
  /** Whose it is, as the operator's command read it. */
  name: string;
  atMs: number;
  /** When it would have expired: from then on it need not be known. */
  validToMs: number;
}

/** Makes a certificate void. Those that have expired are forgotten; done twice it changes nothing. */
export function revoke(state: ClusterState, serial: string, record: RevokedRecord): ClusterState {
  if (own(state.revoked, serial) !== undefined) return state;
  const known = Object.entries(state.revoked).filter(([, { validToMs }]) => validToMs + FORGET_MS > record.atMs);
  if (known.length >= LIMITS.revokedMax) {
    const detail = `${known.length} certificates are revoked, and no more can be told to hosts`;
    throw new ShoalError('SHOAL_E_CONFLICT', `${detail}: make a new authority with \`shoal init\``);
  }
  return bump({ ...state, revoked: { ...Object.fromEntries(known), [serial]: record } });
}

/** A host whose clock is behind takes a certificate for longer. */
const FORGET_MS = 86_400_000;
