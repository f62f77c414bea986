import { type AddressInfo, createServer, isIP, type Server, type Socket } from 'node:net';
import { createServer as createTlsServer } from 'node:tls';
import type { Logger } from 'pino';
import { type Identity, nameOf } from '../identity/identity.js';
import { ShoalError } from '../protocol/errors.js';
import { isLocal } from './coordinators.js';

/** More agents than this at once is not a cluster but a mistake. */
const CONNECTIONS_MAX = 1_024;
/** Who does not prove who it is in this time is no agent. */
const HANDSHAKE_MS_MAX = 5_000;
const IDENTITY_LOOK_MS = 1_000;

export interface HostListenerOptions {
  /** IP address that other hosts reach this one by. */
  address: string;
  /** 0: any. */
  port: number;
  /** Null: without encryption, and whoever dials is believed. */
  identity: Identity | null;
  log: Logger;
}

/** `proven`: the host in the certificate; null without encryption. */
export type AcceptHost = (socket: Socket, proven: string | null) => void;

/** Throws SHOAL_E_USAGE for an address that other agents cannot be told, or that would be open to anybody on a network. */
export function assertHostAddress(
  address: string,
  { identified, plain }: { identified: boolean; plain: boolean },
): void {
  if (isIP(address) === 0 || address === '0.0.0.0' || address === '::') {
    const detail = `--fabric must be an IP address of this host that the other hosts reach, not ${address}`;
    throw new ShoalError('SHOAL_E_USAGE', detail);
  }
  if (identified || plain || isLocal({ host: address, port: 0 })) return;
  const detail = `--fabric ${address} is open to a network, and without an identity agents neither know each other nor encrypt: give --identity (shoal cert agent), or --fabric-plain where only hosts of this cluster can reach it`;
  throw new ShoalError('SHOAL_E_USAGE', detail);
}

/** Listens for the agents of other hosts: with an identity by mutual TLS, and each speaks for the host of its certificate alone. */
export async function listenForHosts(options: HostListenerOptions, accept: AcceptHost): Promise<Server> {
  const { address, port, identity } = options;
  const server =
    identity === null ? createServer((socket) => accept(socket, null)) : tlsServer(identity, options.log, accept);
  server.maxConnections = CONNECTIONS_MAX;
  await new Promise<void>((resolve, reject) => {
    server.once('error', (cause) => {
      const detail = `cannot listen for agents of other hosts on ${address}:${port}: ${cause.message}`;
      reject(new ShoalError('SHOAL_E_USAGE', `${detail}; stop what uses it, or choose another --fabric`, { cause }));
    });
    server.listen(port, address, () => {
      server.removeAllListeners('error');
      resolve();
    });
  });
  server.on('error', (error) => options.log.error({ err: error }, 'the socket for other hosts failed'));
  return server;
}

export function portOf(server: Server): number {
  return (server.address() as AddressInfo).port;
}

function tlsServer(identity: Identity, log: Logger, accept: AcceptHost): Server {
  const server = createTlsServer(
    { ...identity.credentials(), requestCert: true, rejectUnauthorized: true, handshakeTimeout: HANDSHAKE_MS_MAX },
    (socket) => {
      const certificate = socket.getPeerCertificate();
      const host = nameOf(certificate, 'agent');
      if (host !== null && !identity.revoked().has(certificate.serialNumber)) {
        accept(socket, host);
        return;
      }
      const why = host === null ? 'its certificate is not that of an agent' : 'its certificate is revoked';
      log.warn({ from: socket.remoteAddress, host }, `agent of another host refused: ${why}`);
      socket.destroy();
    },
  );
  server.on('tlsClientError', (error, socket) => {
    log.warn(
      { from: socket.remoteAddress, detail: error.message },
      'a connection to the port for other hosts was refused',
    );
    socket.destroy();
  });
  let version = identity.version();
  const timer = setInterval(() => {
    const now = identity.version();
    if (now === version) return;
    version = now;
    try {
      server.setSecureContext(identity.credentials());
    } catch (error) {
      log.error({ err: error }, 'the new identity cannot be used; the one before stays');
    }
  }, IDENTITY_LOOK_MS);
  timer.unref();
  server.once('close', () => clearInterval(timer));
  return server;
}
