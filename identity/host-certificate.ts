import { X509Certificate } from 'node:crypto';
import { ShoalError } from '../protocol/errors.js';
import { nameOf } from './identity.js';

/** How long a host's certificate is valid. It is renewed when a third of it is left. */
export const HOST_CERTIFICATE_DAYS = 90;

export interface HostCertificate {
  host: string;
  serial: string;
  /** Ms since the epoch. */
  validFromMs: number;
  validToMs: number;
}

/** What a host's certificate in PEM says. Throws SHOAL_E_UNAUTHORIZED unless the authority made it and it is valid now. */
export function hostOf(certificate: string, ca: string, nowMs: number): HostCertificate {
  const refuse = (why: string, cause?: unknown) => {
    return new ShoalError('SHOAL_E_UNAUTHORIZED', `the certificate ${why}`, { cause });
  };
  let given: X509Certificate;
  try {
    given = new X509Certificate(certificate);
  } catch (cause) {
    throw refuse('cannot be read', cause);
  }
  const authority = new X509Certificate(ca);
  if (!given.checkIssued(authority) || !given.verify(authority.publicKey)) throw refuse('is not of this cluster');
  const host = nameOf(given.toLegacyObject(), 'agent');
  if (host === null) throw refuse('is not that of a host');
  const validFromMs = Date.parse(given.validFrom);
  const validToMs = Date.parse(given.validTo);
  if (nowMs >= validToMs) throw refuse(`of ${host} has expired: join again with a token`);
  return { host, serial: given.serialNumber, validFromMs, validToMs };
}
