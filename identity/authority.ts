import { execFile } from 'node:child_process';
import { randomBytes, X509Certificate } from 'node:crypto';
import { appendFile, chmod, copyFile, mkdir, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { ShoalError } from '../protocol/errors.js';
import { FILES, ORGANISATION, type Role } from './identity.js';

const CA_KEY = 'ca.key';
const CA_DAYS = 3_650;
const DAYS_MAX = 825;
const NAME = /^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$/;
const NEW_KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];
/** What a certificate may be used for; a host's never serves. */
const USES: Record<Role, string> = { agent: 'clientAuth', coordinator: 'serverAuth,clientAuth' };

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

  /** Certificate and key of a part, with all that it needs of the cluster, in a folder that is to be brought to its host. */
  async issue(role: Role, name: string, days: number, out: string): Promise<void> {
    assertName(name);
    if (!Number.isInteger(days) || days < 1 || days > DAYS_MAX) {
      throw new ShoalError('SHOAL_E_USAGE', `a certificate is valid for 1 to ${DAYS_MAX} days, not ${days}`);
    }
    await this.#assertThere();
    const work = await mkdtemp(join(tmpdir(), 'shoal-issue-'));
    try {
      const [key, request, extensions, certificate] = ['key', 'csr', 'ext', 'crt'].map((each) => join(work, each));
      if (!key || !request || !extensions || !certificate) throw new Error('four paths');
      await openssl(
        'req',
        '-new',
        ...NEW_KEY,
        '-subj',
        `/O=${ORGANISATION[role]}/CN=${name}`,
        '-keyout',
        key,
        '-out',
        request,
      );
      await writeFile(
        extensions,
        `basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\nextendedKeyUsage=${USES[role]}\n`,
      );
      const signer = ['-CA', join(this.folder, FILES.ca), '-CAkey', join(this.folder, CA_KEY)];
      // The first bit is 0: a serial is a positive number of at most 20 bytes (RFC 5280, section 4.1.2.2).
      const serial = `0x7f${randomBytes(15).toString('hex')}`;
      const words = ['-set_serial', serial, '-days', String(days), '-extfile', extensions, '-out', certificate];
      await openssl('x509', '-req', '-in', request, ...signer, ...words);
      await mkdir(out, { recursive: true, mode: 0o700 });
      await copyFile(join(this.folder, FILES.ca), join(out, FILES.ca));
      await copyFile(key, join(out, FILES.key));
      await chmod(join(out, FILES.key), 0o600);
      // Last: who reloads when it changes finds its key there.
      await copyFile(certificate, join(out, FILES.certificate));
    } finally {
      await rm(work, { recursive: true, force: true });
    }
  }

  /** Voids a certificate: its serial goes to the list that every coordinator is given. */
  async revoke(certificateFile: string): Promise<string> {
    await this.#assertThere();
    let serial: string;
    try {
      serial = new X509Certificate(await readFile(certificateFile)).serialNumber;
    } catch (cause) {
      throw new ShoalError('SHOAL_E_USAGE', `${certificateFile}: ${(cause as Error).message}`, { cause });
    }
    await appendFile(join(this.folder, FILES.revoked), `${serial}\n`);
    return serial;
  }

  async #assertThere(): Promise<void> {
    if (await exists(join(this.folder, CA_KEY))) return;
    throw new ShoalError(
      'SHOAL_E_NOT_FOUND',
      `${this.folder} holds no cluster authority: make one with \`shoal init\``,
    );
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

async function openssl(...words: string[]): Promise<void> {
  try {
    await promisify(execFile)('openssl', words);
  } catch (cause) {
    const { code, stderr = '' } = cause as { code?: unknown; stderr?: string };
    const why = code === 'ENOENT' ? 'it is not installed: apt-get install openssl' : stderr.trim();
    throw new ShoalError('SHOAL_E_HOST', `openssl cannot make the certificate: ${why}`, { cause });
  }
}
