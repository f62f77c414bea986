import { createPublicKey, randomBytes, X509Certificate } from 'node:crypto';
import { appendFile, chmod, copyFile, mkdir, readFile, stat, writeFile } from 'node:fs/promises';
import { isIP } from 'node:net';
import { join } from 'node:path';
import { ShoalError } from '../protocol/errors.js';
import { replaceFile } from './files.js';
import { AGENT_NAME, COORDINATOR_NAME, FILES, ORGANISATION, type Role, serialsIn } from './identity.js';
import { openssl, signRequest, withFolder } from './signing.js';

const CA_KEY = 'ca.key';
const CA_DAYS = 3_650;
const DAYS_MAX = 825;
const DAY_MS = 86_400_000;
const REQUEST_BYTES_MAX = 8_192;
const NAME = /^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$/;
const NEW_KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];
/** What a certificate may be used for: agents dial coordinators and each other. Who is what says the organisation. */
const USES = 'serverAuth,clientAuth';

/** Certificates are valid from so long before they are made: clocks of hosts may be behind by that much. */
export const CERTIFICATE_BACKDATE_MS = 3_600_000;

export interface SignOptions {
  /** Names or IP addresses that stand in a coordinator's, for callers that go by them. */
  addresses?: readonly string[];
  nowMs?: number;
  /** It is valid from no earlier moment, which has to be past. */
  notBeforeMs?: number;
}

export interface RevokedCertificate {
  serial: string;
  /** What it says whose it is. */
  name: string;
  validToMs: number;
}

/**
 * The cluster's certificate authority: a folder that only its operator reads. Certificates are made by openssl, since Node
 * signs none. Errors are SHOAL_E_USAGE for what cannot be meant so, SHOAL_E_HOST where openssl is missing or fails.
 */
export class Authority {
  constructor(readonly folder: string) {}

  /** A new authority. Throws SHOAL_E_CONFLICT where there is one, whose certificates would all become void. */
  async init(cluster: string): Promise<void> {
    assertName(cluster);
    const key = join(this.folder, CA_KEY);
    if (await exists(key)) throw new ShoalError('SHOAL_E_CONFLICT', `${this.folder} already holds a cluster authority`);
    await mkdir(this.folder, { recursive: true, mode: 0o700 });
    await withFolder(async (work) => {
      const request = join(work, 'csr');
      const subject = `/O=shoal/CN=${cluster}`;
      await openssl(['req', '-new', ...NEW_KEY, '-keyout', key, '-subj', subject, '-out', request]);
      const uses = ['basicConstraints=critical,CA:TRUE,pathlen:0', 'keyUsage=critical,keyCertSign,cRLSign'];
      const extensions = [...uses, 'subjectKeyIdentifier=hash'];
      const signed = { request, subject, extensions, serial: newSerial(), ...validity(CA_DAYS, Date.now()) };
      await replaceFile(join(this.folder, FILES.ca), await signRequest({ key }, signed), 0o644);
    });
    await chmod(key, 0o600);
    await writeFile(join(this.folder, FILES.revoked), '', { flag: 'a' });
  }

  /**
   * Certificate and key of a part, with all that it needs of the cluster, in a folder that is to be brought to its host.
   * `addresses`, names or IP addresses, stand in a coordinator's for callers that go by them.
   */
  async issue(role: Role, name: string, days: number, out: string, addresses: readonly string[] = []): Promise<void> {
    assertName(name);
    await withFolder(async (work) => {
      const key = join(work, 'key');
      const request = await makeRequest(key, name);
      const certificate = await this.sign(role, name, request, days, { addresses });
      await mkdir(out, { recursive: true, mode: 0o700 });
      await replaceFile(join(out, FILES.ca), await this.certificate(), 0o644);
      await replaceFile(join(out, FILES.key), await readFile(key, 'utf8'), 0o600);
      // Last: who reloads when it changes finds its key there.
      await replaceFile(join(out, FILES.certificate), certificate, 0o644);
    });
  }

  /**
   * A certificate in PEM for who made the request (PKCS #10 in PEM) and so has its key. Of the request only the key counts:
   * role and name are what the caller says. Throws SHOAL_E_USAGE for a request that is none, is not signed by its own key, or
   * has another kind of key than ours.
   */
  async sign(
    role: Role,
    name: string,
    request: string,
    days: number,
    { addresses = [], nowMs = Date.now(), notBeforeMs = 0 }: SignOptions = {},
  ): Promise<string> {
    assertName(name);
    if (!Number.isInteger(days) || days < 1 || days > DAYS_MAX) {
      throw new ShoalError('SHOAL_E_USAGE', `a certificate is valid for 1 to ${DAYS_MAX} days, not ${days}`);
    }
    // By the second name members of etcd know each other; by the third they are reached on their own host.
    const alternatives = [name, COORDINATOR_NAME, '127.0.0.1', ...addresses].map(alternativeName);
    await this.#assertThere();
    await assertRequest(request);
    return withFolder(async (work) => {
      const asked = join(work, 'csr');
      await writeFile(asked, request);
      const extensions = ['basicConstraints=critical,CA:FALSE', 'keyUsage=critical,digitalSignature'];
      extensions.push(`extendedKeyUsage=${USES}`);
      // Callers that go by names alone (RFC 9525 leaves CN out, many do not) believe no host's certificate to be of that name.
      const names = role === 'coordinator' ? alternatives.join(',') : `DNS:${AGENT_NAME}`;
      extensions.push(`subjectAltName=${names}`);
      const { validFromMs, validToMs } = validity(days, nowMs);
      const dates = { validFromMs: Math.max(validFromMs, notBeforeMs), validToMs };
      const subject = `/O=${ORGANISATION[role]}/CN=${name}`;
      const signer = { key: join(this.folder, CA_KEY), certificate: join(this.folder, FILES.ca) };
      return signRequest(signer, { request: asked, subject, extensions, serial: newSerial(), ...dates });
    });
  }

  /** The certificate of the authority itself, in PEM. */
  async certificate(): Promise<string> {
    await this.#assertThere();
    return readFile(join(this.folder, FILES.ca), 'utf8');
  }

  /** Serials of the certificates that were voided one by one. */
  async revoked(): Promise<ReadonlySet<string>> {
    return serialsIn(await readFile(join(this.folder, FILES.revoked), 'utf8'));
  }

  /**
   * Voids a certificate: its serial goes to the authority's list, of which the cluster has to be told. Throws SHOAL_E_USAGE
   * for what is no certificate of this authority.
   */
  async revoke(certificateFile: string): Promise<RevokedCertificate> {
    const ca = new X509Certificate(await this.certificate());
    let certificate: X509Certificate;
    try {
      certificate = new X509Certificate(await readFile(certificateFile));
    } catch (cause) {
      throw new ShoalError('SHOAL_E_USAGE', `${certificateFile}: ${(cause as Error).message}`, { cause });
    }
    if (!certificate.verify(ca.publicKey)) {
      throw new ShoalError('SHOAL_E_USAGE', `${certificateFile} is no certificate of the authority in ${this.folder}`);
    }
    const { serialNumber: serial } = certificate;
    if (!(await this.revoked()).has(serial)) await appendFile(join(this.folder, FILES.revoked), `${serial}\n`);
    const name = certificate.subject.split('\n').join(', ');
    return { serial, name, validToMs: Date.parse(certificate.validTo) };
  }

  async #assertThere(): Promise<void> {
    if (await exists(join(this.folder, CA_KEY))) return;
    throw new ShoalError(
      'SHOAL_E_NOT_FOUND',
      `${this.folder} holds no cluster authority: make one with \`shoal init\``,
    );
  }
}

/** A new key in the file, which only its owner can read, and a request for a certificate of it in PEM. */
export async function makeRequest(keyFile: string, name: string): Promise<string> {
  assertName(name);
  return withFolder(async (work) => {
    const [key, request] = [join(work, 'key'), join(work, 'csr')];
    await openssl(['req', '-new', ...NEW_KEY, '-subj', `/CN=${name}`, '-keyout', key, '-out', request]);
    await copyFile(key, keyFile);
    await chmod(keyFile, 0o600);
    return readFile(request, 'utf8');
  });
}

/** Throws SHOAL_E_USAGE unless the request is for a key of our kind, and proves that its maker has the private one. */
async function assertRequest(request: string): Promise<void> {
  const refuse = (why: string, cause?: unknown) =>
    new ShoalError('SHOAL_E_USAGE', `the request for a certificate ${why}`, { cause });
  if (request.length > REQUEST_BYTES_MAX) throw refuse(`is longer than ${REQUEST_BYTES_MAX} bytes`);
  return withFolder(async (work) => {
    const [asked, out] = [join(work, 'csr'), join(work, 'pub')];
    await writeFile(asked, request);
    let text: string;
    try {
      const said = await openssl(['req', '-in', asked, '-verify', '-noout', '-pubkey', '-out', out]);
      // OpenSSL 3.0 says so, and ends with 0 all the same.
      if (!said.includes('verify OK')) throw refuse('is not signed by its own key');
      text = await readFile(out, 'utf8');
    } catch (cause) {
      if (!(cause instanceof ShoalError) || cause.code !== 'SHOAL_E_HOST' || cause.message.includes('not installed'))
        throw cause;
      throw refuse('cannot be read', cause);
    }
    const curve = createPublicKey(text).asymmetricKeyDetails?.namedCurve;
    if (curve !== 'prime256v1') throw refuse('must be for a key on the curve P-256, as `shoal join` makes it');
  });
}

/** From a while before now: a host whose clock is behind takes it too. */
function validity(days: number, nowMs: number): { validFromMs: number; validToMs: number } {
  return { validFromMs: nowMs - CERTIFICATE_BACKDATE_MS, validToMs: nowMs + days * DAY_MS };
}

/** The first bit is 0: a serial is a positive number of at most 20 bytes (RFC 5280, section 4.1.2.2). */
function newSerial(): string {
  return `7f${randomBytes(15).toString('hex')}`;
}

/** As it stands in a certificate, or SHOAL_E_USAGE. */
function alternativeName(address: string): string {
  if (isIP(address) !== 0) return `IP:${address}`;
  if (NAME.test(address)) return `DNS:${address}`;
  throw new ShoalError('SHOAL_E_USAGE', `"${address}" is neither a name nor an IP address`);
}

function assertName(name: string): void {
  if (!NAME.test(name)) throw new ShoalError('SHOAL_E_NAME', `"${name}" is no name of a host, coordinator or cluster`);
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}
