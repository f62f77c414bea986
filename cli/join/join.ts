import { replaceFile } from '../../identity/files.js';
import { authorityHash, parseJoinToken } from '../../identity/join-token.js';
import { ShoalError } from '../../protocol/errors.js';
import type { JoinAnswer } from '../../protocol/http.js';
import { apiPath, Client } from '../client.js';
import type { MemberFiles } from './member-files.js';

/** Openssl and, where the leader is new, an election. */
const JOIN_MS_MAX = 60_000;

export interface JoinOptions {
  /** Such as https://10.0.0.1:7946. */
  server: string;
  token: string;
  host: string;
  /** More coordinators that the agent shall try, HOST:PORT. */
  coordinators: readonly string[];
  /** Options of the agent besides. */
  agentOptions: readonly string[];
  files: MemberFiles;
  signal: AbortSignal;
}

/**
 * Makes this host a member: by the token's hash the cluster is known before the secret is said; the key is made here and
 * stays here. Nothing is written before all has been found right.
 */
export async function joinCluster(options: JoinOptions): Promise<JoinAnswer> {
  const { server, token, host, files, signal } = options;
  const { authority } = parseJoinToken(token);
  if (!server.startsWith('https://')) {
    throw new ShoalError(
      'SHOAL_E_USAGE',
      `a token is sent by TLS alone: write https:// before the address, not ${server}`,
    );
  }
  await files.assertNone();
  const ca = await authorityAt(server, authority, signal);
  const request = await files.request(host);
  try {
    const answer = await new Client({ server, ca }).json<JoinAnswer>('POST', apiPath('join'), {
      body: { token: token.trim(), host, request },
      signal,
      timeoutMs: JOIN_MS_MAX,
    });
    if (authorityHash(answer.ca) !== authority) throw stranger(server);
    const sockets = assertLinks([...answer.links, ...options.coordinators]);
    await files.keep(answer, host);
    const words = ['--name', host, '--identity', files.identity, ...sockets.flatMap((each) => ['--socket', each])];
    await replaceFile(files.agentEnv, `OPTIONS=${[...words, ...options.agentOptions].join(' ')}\n`, 0o600);
    await replaceFile(files.clusterEnv, `SHOAL_SERVER=${server}\nSHOAL_CA=${files.identity}/ca.crt\n`, 0o644);
    return answer;
  } finally {
    await files.forgetRequest();
  }
}

/** A certificate for a new key, in the place of the one in use. */
export async function renewCertificate(
  files: MemberFiles,
  host: string,
  server: string,
  signal: AbortSignal,
): Promise<void> {
  const { certificate, ca } = await files.inUse();
  const request = await files.request(host);
  try {
    const body = { certificate, request, signature: await files.sign(request) };
    const options = { body, signal, timeoutMs: JOIN_MS_MAX };
    const answer = await new Client({ server, ca }).json<JoinAnswer>('POST', apiPath('renew'), options);
    // Its own authority stays: another one comes by joining.
    await files.keep({ ...answer, ca }, host);
  } finally {
    await files.forgetRequest();
  }
}

/** What the server says its authority is, when that is the one of the token. Whoever is asked has not been told anything. */
async function authorityAt(server: string, hash: string, signal: AbortSignal): Promise<string> {
  const { ca } = await new Client({ server, unverified: true }).json<{ ca?: unknown }>('GET', apiPath('ca'), {
    signal,
  });
  let found: string;
  try {
    found = authorityHash(String(ca));
  } catch (cause) {
    throw new ShoalError('SHOAL_E_FRAME', `${server} did not answer with a certificate`, { cause });
  }
  if (found !== hash) throw stranger(server);
  return String(ca);
}

function stranger(server: string): ShoalError {
  const why = 'it is another cluster, or somebody stands between; the token was not sent';
  return new ShoalError('SHOAL_E_UNAUTHORIZED', `${server} does not have the authority that the token names: ${why}`);
}

/** They go into a file that a shell-like reader splits. */
function assertLinks(links: readonly string[]): readonly string[] {
  const wrong = links.find((each) => !/^[A-Za-z0-9.:[\]-]+:\d{1,5}$/.test(each));
  if (wrong === undefined && links.length > 0) return links;
  throw new ShoalError('SHOAL_E_USAGE', `a coordinator is HOST:PORT, not ${JSON.stringify(wrong ?? '')}`);
}
