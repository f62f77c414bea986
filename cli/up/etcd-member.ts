import { join } from 'node:path';
import { isLoopback } from '../../coordinator/api/access.js';
import type { StoreSettings } from '../../coordinator/store/flags.js';
import { COORDINATOR_NAME, FILES } from '../../identity/identity.js';
import { ShoalError } from '../../protocol/errors.js';

export interface MemberSettings {
  /** NAME=URL of every member with commas between them, ours among them; '': this is the only one. */
  members: string;
  /** Of our member. */
  name: string;
  /** Where our own coordinator reaches it, on loopback; a member that is alone has its peer port one above. */
  port: number;
  /** Absolute path. */
  data: string;
  /** Folder of the coordinator's certificate, with which members and the coordinator know each other. */
  identity?: string;
}

/**
 * How members of etcd elect, given to each of them. Times are etcd's own defaults, for members of one network, in ms. Without
 * a vote before the vote, which etcd 3.4 leaves off, a member whose log is behind makes the others begin to wait anew, so that an
 * election can take many rounds; and one that was cut off deposes the leader when it is back.
 */
export const ETCD_ELECTION = ['--heartbeat-interval', '100', '--election-timeout', '1000', '--pre-vote'] as const;

export interface EtcdMember {
  args: string[];
  /** How the coordinator on this host reaches it. */
  store: Omit<StoreSettings, 'data'>;
}

/**
 * A member of etcd for this host. It answers to its own host alone, and to members; with an identity only to those with a
 * coordinator's certificate: agents have certificates of the same authority. Throws SHOAL_E_USAGE.
 */
export function etcdMember({ members, name, port, data, identity }: MemberSettings): EtcdMember {
  const scheme = identity === undefined ? 'http' : 'https';
  const all = members === '' ? `${name}=${scheme}://127.0.0.1:${port + 1}` : members;
  const peers = new Map(all.split(',').map((each) => readPeer(each, scheme)));
  const own = peers.get(name);
  if (own === undefined) throw usage(`names no member ${name}, which is this host: give it, or another --name`);
  const client = `${scheme}://127.0.0.1:${port}`;
  const args = ['--name', name, '--data-dir', data, '--log-level', 'warn', '--initial-cluster', all, ...ETCD_ELECTION];
  args.push('--listen-client-urls', client, '--advertise-client-urls', client);
  args.push('--listen-peer-urls', own, '--initial-advertise-peer-urls', own);
  if (identity === undefined) return { args, store: { etcd: client } };
  const [ca, cert, key] = [FILES.ca, FILES.certificate, FILES.key].map((each) => join(identity, each));
  if (!ca || !cert || !key) throw new Error('three files');
  for (const peer of ['', 'peer-']) {
    args.push(`--${peer}trusted-ca-file`, ca, `--${peer}cert-file`, cert, `--${peer}key-file`, key);
    args.push(`--${peer}client-cert-auth`);
  }
  args.push('--peer-cert-allowed-hostname', COORDINATOR_NAME, '--client-cert-allowed-hostname', COORDINATOR_NAME);
  return { args, store: { etcd: client, etcdCa: ca, etcdCert: cert, etcdKey: key } };
}

function readPeer(text: string, scheme: string): [string, string] {
  const [, name, url] = /^([A-Za-z0-9._-]+)=(.+)$/.exec(text) ?? [];
  if (name === undefined || url === undefined || !URL.canParse(url)) throw usage(`has NAME=URL,…, not "${text}"`);
  const { protocol, hostname } = new URL(url);
  if (protocol === `${scheme}:` && (scheme === 'https' || isLoopback(hostname))) return [name, url];
  throw usage(
    scheme === 'https' ? `needs https:// with --identity: ${url}` : `leaves this host at ${url}: give --identity`,
  );
}

function usage(detail: string): ShoalError {
  return new ShoalError('SHOAL_E_USAGE', `--cluster ${detail}`);
}
