import { createHash, randomBytes, timingSafeEqual, X509Certificate } from 'node:crypto';
import { ShoalError } from '../protocol/errors.js';

/**
 * What a new host is given to join: `shoal-join.ID.SECRET.AUTHORITY`. ID names the token, SECRET is known to who has it and
 * to nobody else (the store has its hash), AUTHORITY is the hash of the authority's public key, by which the host knows
 * the cluster before it says the secret.
 */
export interface JoinToken {
  id: string;
  secret: string;
  authority: string;
}

const FORM = /^shoal-join\.([0-9a-f]{12})\.([A-Za-z0-9_-]{43})\.([A-Za-z0-9_-]{43})$/;

export function newJoinToken(authority: string): JoinToken {
  return { id: randomBytes(6).toString('hex'), secret: randomBytes(32).toString('base64url'), authority };
}

export function formatJoinToken({ id, secret, authority }: JoinToken): string {
  return `shoal-join.${id}.${secret}.${authority}`;
}

/** Throws SHOAL_E_USAGE, without repeating what may be a secret. */
export function parseJoinToken(text: string): JoinToken {
  const [, id, secret, authority] = FORM.exec(text.trim()) ?? [];
  if (id !== undefined && secret !== undefined && authority !== undefined) return { id, secret, authority };
  throw new ShoalError('SHOAL_E_USAGE', 'this is no token for joining: `shoal token create NAME --join` prints one');
}

/** SHA-256 of the public key of a certificate (its SubjectPublicKeyInfo, as in RFC 7469), base64url. */
export function authorityHash(certificate: string): string {
  const { publicKey } = new X509Certificate(certificate);
  return createHash('sha256')
    .update(publicKey.export({ type: 'spki', format: 'der' }))
    .digest('base64url');
}

export function secretDigest(secret: string): string {
  return createHash('sha256').update(secret).digest('hex');
}

/** Takes as long for every wrong one. */
export function isSecret(secret: string, digest: string): boolean {
  return timingSafeEqual(Buffer.from(secretDigest(secret), 'hex'), Buffer.from(digest, 'hex'));
}
