import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { ShoalError } from '../protocol/errors.js';

/** It takes milliseconds, a second on a machine that is busy. */
const OPENSSL_MS_MAX = 20_000;

export interface Signed {
  /** File of the request (PKCS #10 in PEM), whose key is certified; of what else it says nothing is taken. */
  request: string;
  /** Such as /O=shoal-agent/CN=h1. */
  subject: string;
  /** Lines of X.509 version 3. */
  extensions: readonly string[];
  /** Hex. */
  serial: string;
  /** Ms since the epoch. */
  validFromMs: number;
  validToMs: number;
}

/**
 * A certificate in PEM by the authority's key; without `certificate` by the request's own one, for the authority itself. By
 * `openssl ca`, which, before OpenSSL 3.4, is the only one of its commands that takes a first moment.
 */
export function signRequest(signer: { key: string; certificate?: string }, signed: Signed): Promise<string> {
  return withFolder(async (work) => {
    const at = (name: string) => join(work, name);
    await writeFile(at('index'), '');
    await writeFile(at('serial'), `${signed.serial}\n`);
    await writeFile(at('extensions'), `${signed.extensions.join('\n')}\n`);
    await writeFile(at('config'), CONFIG);
    const by = signer.certificate === undefined ? ['-selfsign'] : ['-cert', signer.certificate];
    const dates = ['-startdate', asn1Time(signed.validFromMs), '-enddate', asn1Time(signed.validToMs)];
    const words = ['-config', at('config'), '-extfile', at('extensions'), '-subj', signed.subject, ...dates];
    const files = ['-keyfile', signer.key, ...by, '-in', signed.request, '-out', at('crt')];
    await openssl(['ca', '-batch', '-notext', ...words, ...files], work);
    return readFile(at('crt'), 'utf8');
  });
}

/** Its paths are those of the folder that it runs in. `preserve`: the subject in the order in which it was said. */
const CONFIG = `[ca]
default_ca = authority
[authority]
database = index
serial = serial
new_certs_dir = .
default_md = sha256
unique_subject = no
preserve = yes
policy = subject
[subject]
organizationName = supplied
commonName = supplied
`;

/** GeneralizedTime of RFC 5280, section 4.1.2.5.2. */
function asn1Time(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 19).replace(/[-:T]/g, '')}Z`;
}

export async function withFolder<T>(work: (folder: string) => Promise<T>): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), 'shoal-issue-'));
  try {
    return await work(folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** What it says on standard error. Throws SHOAL_E_HOST where it is missing or fails. */
export async function openssl(words: readonly string[], cwd?: string): Promise<string> {
  try {
    const options = { timeout: OPENSSL_MS_MAX, killSignal: 'SIGKILL', ...(cwd === undefined ? {} : { cwd }) } as const;
    const { stderr } = await promisify(execFile)('openssl', words, options);
    return stderr;
  } catch (cause) {
    const { code, killed = false, stderr = '' } = cause as { code?: unknown; killed?: boolean; stderr?: string };
    const late = killed ? `it did not end within ${OPENSSL_MS_MAX / 1_000} s` : stderr.trim();
    const why = code === 'ENOENT' ? 'it is not installed: apt-get install openssl' : late;
    throw new ShoalError('SHOAL_E_HOST', `openssl cannot make the certificate: ${why}`, { cause });
  }
}
