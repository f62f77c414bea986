import { connect, type Socket } from 'node:net';
import { connect as connectTls, type PeerCertificate, TLSSocket } from 'node:tls';
import { isDeepStrictEqual } from 'node:util';
import { type Identity, refuseUnlessCoordinator } from '../identity/identity.js';
import { ShoalError } from '../protocol/errors.js';
import { LIMITS } from '../protocol/limits.js';

/** Where a coordinator takes agents: the path of a Unix socket, or a host and a port. */
export type Address = { path: string } | { host: string; port: number };

/** A path that begins with a slash, or HOST:PORT with an IPv6 address in brackets. Throws SHOAL_E_USAGE. */
export function parseAddress(text: string): Address {
  if (text.startsWith('/')) return { path: text };
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]\s/]+)):([0-9]{1,5})$/.exec(text);
  const host = match?.[1] ?? match?.[2];
  const port = Number(match?.[3]);
  if (host !== undefined && port >= 1 && port <= 65_535) return { host, port };
  throw new ShoalError('SHOAL_E_USAGE', `a coordinator is a path that begins with / or HOST:PORT, not "${text}"`);
}

/**
 * Whom to dial next: those that are configured in turns, unless one of them has said where the leader is. The one that was
 * dialled last comes last: it may be cut off, which takes seconds to find out.
 */
export class Coordinators {
  readonly #all: readonly Address[];
  #next = 0;
  #told: Address | null = null;
  #last: Address | null = null;

  constructor(all: readonly Address[]) {
    if (all.length === 0 || all.length > LIMITS.coordinatorsMax) {
      throw new ShoalError('SHOAL_E_USAGE', `1 to ${LIMITS.coordinatorsMax} coordinators, not ${all.length}`);
    }
    this.#all = all;
  }

  /** What another coordinator says of where the leader is; what cannot be understood is as if it did not know. */
  tell(link: string | null): void {
    try {
      const address = link === null ? null : parseAddress(link);
      this.#told = address !== null && 'host' in address ? address : null;
    } catch {
      this.#told = null;
    }
  }

  take(): Address {
    const told = this.#told;
    this.#told = null;
    let address = told ?? this.#inTurn();
    if (told === null && this.#all.length > 1 && isDeepStrictEqual(address, this.#last)) address = this.#inTurn();
    this.#last = address;
    return address;
  }

  #inTurn(): Address {
    const address = this.#all[this.#next % this.#all.length] as Address;
    this.#next += 1;
    return address;
  }
}

/**
 * Connects, by mutual TLS to other hosts when there is an identity; `ready` is called when something can be said. Whoever
 * has a certificate of this cluster's coordinators that is not revoked is one, whatever its address.
 */
export function dial(address: Address, identity: Identity | null, ready: () => void): Socket {
  if ('path' in address) return connect(address.path, ready);
  if (identity === null) return connect({ ...address, noDelay: true }, ready);
  // Read for each dial: a renewed certificate needs no restart.
  const checkServerIdentity = (_host: string, certificate: PeerCertificate) =>
    refuseUnlessCoordinator(certificate, identity.revoked());
  return connectTls({ ...address, ...identity.credentials(), checkServerIdentity }, ready);
}

/** Ends a connection with a coordinator whose certificate was revoked since. */
export function endIfRevoked(socket: Socket, revoked: ReadonlySet<string>): void {
  // One that has ended shows none any more.
  if (!(socket instanceof TLSSocket) || socket.destroyed) return;
  if (revoked.has(socket.getPeerCertificate().serialNumber))
    socket.destroy(new Error('the certificate of the coordinator is revoked'));
}

/** Whether the address can be dialled without an identity: nobody else answers there. */
export function isLocal(address: Address): boolean {
  return 'path' in address || address.host === 'localhost' || address.host === '::1' || address.host.startsWith('127.');
}

/** Before the next try: at random within the second half of the span, so that agents do not all come at once. */
export function jittered(ms: number, random: () => number = Math.random): number {
  return ms / 2 + (ms / 2) * random();
}
