import { createPrivateKey, sign, X509Certificate } from 'node:crypto';
import { access, mkdir, readFile, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { makeRequest } from '../../identity/authority.js';
import { replaceFile } from '../../identity/files.js';
import { FILES } from '../../identity/identity.js';
import { ShoalError } from '../../protocol/errors.js';
import type { JoinAnswer } from '../../protocol/http.js';

/** What a member of a cluster keeps in /etc/shoal, or another folder. */
export class MemberFiles {
  /** Certificate and key of the agent. */
  readonly identity: string;
  /** Options of the agent's service. */
  readonly agentEnv: string;
  /** The cluster's address and authority, as the command takes them from its environment. */
  readonly clusterEnv: string;

  constructor(readonly folder: string) {
    this.identity = join(folder, 'identity', 'agent');
    this.agentEnv = join(folder, 'agent.env');
    this.clusterEnv = join(folder, 'cluster.env');
  }

  /** Throws SHOAL_E_CONFLICT when this host is a member already. */
  async assertNone(): Promise<void> {
    const certificate = join(this.identity, FILES.certificate);
    if (!(await exists(certificate))) return;
    const remedy = `\`shoal renew\` renews it; to join anew, remove ${this.identity}`;
    throw new ShoalError('SHOAL_E_CONFLICT', `this host has a certificate in ${certificate}: ${remedy}`);
  }

  /** A new key beside the one in use, and a request for its certificate. The key never leaves this folder. */
  async request(host: string): Promise<string> {
    await mkdir(dirname(this.identity), { recursive: true, mode: 0o700 });
    await mkdir(this.identity, { recursive: true, mode: 0o700 });
    return makeRequest(this.#newKey, host);
  }

  /** The new key and its certificate become those in use. */
  async keep({ certificate, ca }: JoinAnswer, host: string): Promise<void> {
    const key = await readFile(this.#newKey, 'utf8');
    assertFits(certificate, ca, key, host);
    await replaceFile(join(this.identity, FILES.ca), ca, 0o644);
    await rename(this.#newKey, join(this.identity, FILES.key));
    await replaceFile(join(this.identity, FILES.certificate), certificate, 0o644);
  }

  /** After a try that failed. */
  async forgetRequest(): Promise<void> {
    await rm(this.#newKey, { force: true });
  }

  /** Signs by the key in use. Base64. */
  async sign(text: string): Promise<string> {
    const key = createPrivateKey(await readFile(join(this.identity, FILES.key), 'utf8'));
    return sign('sha256', Buffer.from(text), key).toString('base64');
  }

  /** Certificate in use and authority, in PEM. Throws SHOAL_E_NOT_FOUND where this host is no member. */
  async inUse(): Promise<{ certificate: string; ca: string }> {
    try {
      const [certificate, ca] = await Promise.all(
        [FILES.certificate, FILES.ca].map((each) => readFile(join(this.identity, each), 'utf8')),
      );
      return { certificate: certificate as string, ca: ca as string };
    } catch (cause) {
      const detail = `this host has no certificate in ${this.identity}: \`shoal join\` brings one`;
      throw new ShoalError('SHOAL_E_NOT_FOUND', detail, { cause });
    }
  }

  get #newKey(): string {
    return join(this.identity, `${FILES.key}.new`);
  }
}

/** The other side has no reason to answer with something else; when it does, nothing is written. */
function assertFits(certificate: string, ca: string, key: string, host: string): void {
  const given = new X509Certificate(certificate);
  const fits =
    given.checkPrivateKey(createPrivateKey(key)) &&
    given.verify(new X509Certificate(ca).publicKey) &&
    given.toLegacyObject().subject.CN === host;
  if (!fits)
    throw new ShoalError('SHOAL_E_FRAME', 'the coordinator answered with a certificate that is not for this host');
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
