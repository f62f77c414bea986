import { X509Certificate } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { PeerCertificate } from 'node:tls';
import { ShoalError } from '../protocol/errors.js';
import { replaceFile } from './files.js';

export type Role = 'agent' | 'coordinator';

/** The role of a part is the organisation in its certificate, its name the common name. */
export const ORGANISATION: Record<Role, string> = { agent: 'shoal-agent', coordinator: 'shoal-coordinator' };

/** A name that every coordinator's certificate has, and no agent's, for programs that cannot look at the organisation. */
export const COORDINATOR_NAME = 'shoal-coordinator';

/** The only name in an agent's certificate, which is that of no server (RFC 6761, section 6.4). */
export const AGENT_NAME = 'shoal-agent.invalid';

/** The files of an identity folder. */
export const FILES = { ca: 'ca.crt', certificate: 'own.crt', key: 'own.key', revoked: 'revoked' } as const;

/** What TLS needs, in PEM. */
export interface Credentials {
  ca: string;
  cert: string;
  key: string;
  minVersion: 'TLSv1.3';
}

/** The folder with which a part shows who it is and knows the others. Read anew each time: files may be replaced. */
export class Identity {
  /** Serials that the cluster has said are revoked. */
  readonly #told = new Set<string>();
  /** Written one after another. */
  #kept: Promise<void> = Promise.resolve();

  constructor(readonly folder: string) {}

  /** Throws SHOAL_E_USAGE with the file that is missing. */
  credentials(): Credentials {
    return {
      ca: this.#read(FILES.ca),
      cert: this.#read(FILES.certificate),
      key: this.#read(FILES.key),
      minVersion: 'TLSv1.3',
    };
  }

  /** Serials, as Node writes them: those in the file, and those that the cluster has told of. */
  revoked(): ReadonlySet<string> {
    return new Set([...this.#inFile(), ...this.#told]);
  }

  /** Whether the certificate that it shows is revoked. */
  isRevoked(): boolean {
    return this.revoked().has(new X509Certificate(this.#read(FILES.certificate)).serialNumber);
  }

  /** The cluster says that these are revoked. None is ever taken back. */
  tellRevoked(serials: Iterable<string>): void {
    for (const serial of serials) this.#told.add(serial);
  }

  /** As tellRevoked, and enters them in the file: who starts again knows them before it has spoken with anybody. */
  keepRevoked(serials: Iterable<string>): Promise<void> {
    this.tellRevoked(serials);
    this.#kept = this.#kept.catch(() => undefined).then(() => this.#writeRevoked());
    return this.#kept;
  }

  async #writeRevoked(): Promise<void> {
    const known = this.#inFile();
    if ([...this.#told].every((serial) => known.has(serial))) return;
    const text = [...this.revoked()].map((serial) => `${serial}\n`).join('');
    await replaceFile(join(this.folder, FILES.revoked), text, 0o644);
  }

  /** Changes with any of the files, and with what was told. */
  version(): string {
    const files = Object.values(FILES).map((name) => {
      const { mtimeMs = 0, ino = 0 } = statSync(join(this.folder, name), { throwIfNoEntry: false }) ?? {};
      return `${mtimeMs}:${ino}`;
    });
    return [...files, this.#told.size].join(' ');
  }

  #inFile(): ReadonlySet<string> {
    return serialsIn(this.#has(FILES.revoked) ? this.#read(FILES.revoked) : '');
  }

  #has(name: string): boolean {
    return statSync(join(this.folder, name), { throwIfNoEntry: false }) !== undefined;
  }

  #read(name: string): string {
    try {
      const text = readFileSync(join(this.folder, name), 'utf8');
      // TLS would take nothing for none, and refuse everybody.
      if (text === '' && name !== FILES.revoked) throw new Error(`${join(this.folder, name)} is empty`);
      return text;
    } catch (cause) {
      const remedy = '`shoal cert` makes the folder on the host of the authority';
      throw new ShoalError('SHOAL_E_USAGE', `the identity lacks a file: ${(cause as Error).message}; ${remedy}`, {
        cause,
      });
    }
  }
}

/** Of a list of revoked certificates: one serial in each line. */
export function serialsIn(text: string): ReadonlySet<string> {
  return new Set(text.split('\n').filter((line) => line !== ''));
}

/**
 * For TLS to whoever leads the cluster: a certificate of this cluster's coordinators is enough, whatever the address, since
 * nobody else gets one; unless its serial is one of those that are revoked.
 */
export function refuseUnlessCoordinator(
  certificate: PeerCertificate,
  revoked: ReadonlySet<string> = NONE,
): Error | undefined {
  if (nameOf(certificate, 'coordinator') === null) {
    return new Error('its certificate is not that of a coordinator of this cluster');
  }
  return revoked.has(certificate.serialNumber) ? new Error('its certificate is revoked') : undefined;
}

const NONE: ReadonlySet<string> = new Set();

/** The name in the certificate when it is of that role; null otherwise. TLS has checked who signed it, and its dates. */
export function nameOf(certificate: PeerCertificate, role: Role): string | null {
  const { subject } = certificate as { subject?: PeerCertificate['subject'] };
  return subject?.O === ORGANISATION[role] && typeof subject.CN === 'string' ? subject.CN : null;
}
