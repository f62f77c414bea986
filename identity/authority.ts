import { execFile } from 'node:child_process';
import { createPublicKey, randomBytes, X509Certificate } from 'node:crypto';
import { appendFile, chmod, copyFile, mkdir, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { isIP } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { ShoalError } from '../protocol/errors.js';
import { replaceFile } from './files.js';
import { COORDINATOR_NAME, FILES, ORGANISATION, type Role } from './identity.js';

const CA_KEY = 'ca.key';
const CA_DAYS = 3_650;
const DAYS_MAX = 825;
const REQUEST_BYTES_MAX = 8_192;
/** It takes milliseconds, a second on a machine that is busy. */
const OPENSSL_MS_MAX = 20_000;
const NAME = /^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$/;
const NEW_KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];
/** What a certificate may be used for: agents dial coordinators and each other. Who is what says the organisation. */
const USES = 'serverAuth,clientAuth';

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
    const uses = ['basicConstraints=critical,CA:TRUE,pathlen:0', 'keyUsage=critical,keyCertSign,cRLSign'];
    const extensions = uses.flatMap((each) => ['-addext', each]);
    const out = ['-keyout', key, '-out', join(this.folder, FILES.ca)];
    await openssl(
      'req',
      '-x509',
      ...NEW_KEY,
      '-days',
      String(CA_DAYS),
      '-subj',
      `/O=shoal/CN=${cluster}`,
      ...extensions,
      ...out,
    );
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
      const certificate = await this.sign(role, name, request, days, addresses);
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
    addresses: readonly string[] = [],
  ): Promise<string> {
    assertName(name);
    if (!Number.isInteger(days) || days < 1 || days > DAYS_MAX) {
      throw new ShoalError('SHOAL_E_USAGE', `a certificate is valid for 1 to ${DAYS_MAX} days, not ${days}`);
    }
    // By the second name members of etcd know each other; by the third they are reached on their own host.
    const alternatives = [name, COORDINATOR_NAME, '127.0.0.1', ...addresses].map(alternativeName);
    await this.#assertThere();
    const key = await keyOfRequest(request);
    return withFolder(async (work) => {
      const [asked, extensions, publicKey, out] = ['csr', 'ext', 'pub', 'crt'].map((each) => join(work, each));
      if (!asked || !extensions || !publicKey || !out) throw new Error('four paths');
      await writeFile(publicKey, key);
      const subject = `/O=${ORGANISATION[role]}/CN=${name}`;
      // A request of our own with the right subject, whose key is then replaced: nothing else of theirs goes in.
      await openssl('req', '-new', ...NEW_KEY, '-keyout', join(work, 'unused'), '-subj', subject, '-out', asked);
      const lines = ['basicConstraints=critical,CA:FALSE', 'keyUsage=critical,digitalSignature'];
      lines.push(`extendedKeyUsage=${USES}`);
      if (role === 'coordinator') lines.push(`subjectAltName=${alternatives.join(',')}`);
      await writeFile(extensions, `${lines.join('\n')}\n`);
      const signer = ['-CA', join(this.folder, FILES.ca), '-CAkey', join(this.folder, CA_KEY)];
      // The first bit is 0: a serial is a positive number of at most 20 bytes (RFC 5280, section 4.1.2.2).
      const serial = `0x7f${randomBytes(15).toString('hex')}`;
      const words = ['-set_serial', serial, '-days', String(days), '-extfile', extensions, '-out', out];
      await openssl('x509', '-req', '-in', asked, '-force_pubkey', publicKey, ...signer, ...words);
      return readFile(out, 'utf8');
    });
  }

  /** The certificate of the authority itself, in PEM. */
  async certificate(): Promise<string> {
    await this.#assertThere();
    return readFile(join(this.folder, FILES.ca), 'utf8');
  }

  /** Serials of the certificates that were voided one by one. */
  async revoked(): Promise<ReadonlySet<string>> {
    const text = await readFile(join(this.folder, FILES.revoked), 'utf8');
    return new Set(text.split('\n').filter((line) => line !== ''));
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
    await openssl('req', '-new', ...NEW_KEY, '-subj', `/CN=${name}`, '-keyout', key, '-out', request);
    await copyFile(key, keyFile);
    await chmod(keyFile, 0o600);
    return readFile(request, 'utf8');
  });
}

/** The public key of a request, in PEM, when the request proves that its maker has the private one. */
async function keyOfRequest(request: string): Promise<string> {
  const refuse = (why: string, cause?: unknown) =>
    new ShoalError('SHOAL_E_USAGE', `the request for a certificate ${why}`, { cause });
  if (request.length > REQUEST_BYTES_MAX) throw refuse(`is longer than ${REQUEST_BYTES_MAX} bytes`);
  return withFolder(async (work) => {
    const [asked, out] = [join(work, 'csr'), join(work, 'pub')];
    await writeFile(asked, request);
    let text: string;
    try {
      const said = await openssl('req', '-in', asked, '-verify', '-noout', '-pubkey', '-out', out);
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
    return text;
  });
}

/** As it stands in a certificate, or SHOAL_E_USAGE. */
function alternativeName(address: string): string {
  if (isIP(address) !== 0) return `IP:${address}`;
  if (NAME.test(address)) return `DNS:${address}`;
  throw new ShoalError('SHOAL_E_USAGE', `"${address}" is neither a name nor an IP address`);
}

async function withFolder<T>(work: (folder: string) => Promise<T>): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), 'shoal-issue-'));
  try {
    return await work(folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
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

/** What it says on standard error. */
async function openssl(...words: string[]): Promise<string> {
  try {
    const { stderr } = await promisify(execFile)('openssl', words, { timeout: OPENSSL_MS_MAX, killSignal: 'SIGKILL' });
    return stderr;
  } catch (cause) {
    const { code, killed = false, stderr = '' } = cause as { code?: unknown; killed?: boolean; stderr?: string };
    const late = killed ? `it did not end within ${OPENSSL_MS_MAX / 1_000} s` : stderr.trim();
    const why = code === 'ENOENT' ? 'it is not installed: apt-get install openssl' : late;
    throw new ShoalError('SHOAL_E_HOST', `openssl cannot make the certificate: ${why}`, { cause });
  }
}
