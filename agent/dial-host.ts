import { connect, type Socket } from 'node:net';
import { connect as connectTls, type PeerCertificate } from 'node:tls';
import { type Identity, nameOf } from '../identity/identity.js';
import { ShoalError } from '../protocol/errors.js';
import { parseAddress } from './coordinators.js';

/** Connects, by mutual TLS when there is an identity: then only to who has the certificate of that host's agent. */
export function dialHost(
  text: string,
  host: string,
  identity: Identity | null,
  ready: () => void = () => undefined,
): Socket {
  const address = parseAddress(text);
  if ('path' in address) throw new ShoalError('SHOAL_E_FRAME', `the address of ${host} is none: ${text}`);
  if (identity === null) return connect({ ...address, noDelay: true }, ready);
  const isHost = (_name: string, certificate: PeerCertificate) => {
    if (nameOf(certificate, 'agent') !== host) return new Error(`its certificate is not that of the agent of ${host}`);
    return identity.revoked().has(certificate.serialNumber) ? new Error('its certificate is revoked') : undefined;
  };
  // Read for each dial: a renewed certificate needs no restart.
  return connectTls({ ...address, ...identity.credentials(), checkServerIdentity: isHost }, ready);
}
