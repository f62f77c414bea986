import type { SecureClientSessionOptions } from 'node:http2';
import type { Message } from '../../protobuf.js';
import { type Etcd, EtcdError, type Outcome, type Transaction } from './etcd.js';
import { GrpcConnection, STATUS } from './grpc.js';
import {
  authenticateMessage,
  compactMessage,
  grantMessage,
  leaseMessage,
  readGrant,
  readKept,
  readOutcome,
  readToken,
  readWatched,
  transactionMessage,
  watchMessage,
} from './messages.js';

export interface EtcdOptions {
  /** http:// or https:// with host and port, of one or more members of one cluster. */
  endpoints: readonly string[];
  /** PEM. */
  tls?: { ca?: string; cert?: string; key?: string };
  user?: { name: string; password: string };
}

const KV = '/etcdserverpb.KV';
const LEASE = '/etcdserverpb.Lease';

/** An endpoint that did not answer in time is asked again after so long, unless none else is left. */
const SILENT_MS = 3_000;

/** A client of etcd's API version 3 over one connection at a time; the next endpoint's when one does not answer. */
export class EtcdClient implements Etcd {
  readonly address: string;
  readonly #connections: readonly GrpcConnection[];
  readonly #user: EtcdOptions['user'];
  #current = 0;
  /** Of each endpoint: by a clock that only rises, when it last did not answer. */
  readonly #silentAtMs: number[];
  #token: string | null = null;

  constructor({ endpoints, tls = {}, user }: EtcdOptions) {
    const options: SecureClientSessionOptions = { ...tls, minVersion: 'TLSv1.2' };
    this.address = endpoints.join(', ');
    this.#connections = endpoints.map((url) => new GrpcConnection(url, options));
    this.#silentAtMs = endpoints.map(() => Number.NEGATIVE_INFINITY);
    this.#user = user;
  }

  async transact(transaction: Transaction, timeoutMs: number): Promise<Outcome> {
    return readOutcome(await this.#ask(`${KV}/Txn`, transactionMessage(transaction), timeoutMs));
  }

  async grantLease(seconds: number, timeoutMs: number): Promise<{ id: bigint; seconds: number }> {
    return readGrant(await this.#ask(`${LEASE}/LeaseGrant`, grantMessage(seconds), timeoutMs));
  }

  async keepLease(id: bigint, timeoutMs: number): Promise<number> {
    return readKept(await this.#ask(`${LEASE}/LeaseKeepAlive`, leaseMessage(id), timeoutMs));
  }

  async endLease(id: bigint, timeoutMs: number): Promise<void> {
    try {
      await this.#ask(`${LEASE}/LeaseRevoke`, leaseMessage(id), timeoutMs);
    } catch (error) {
      if (!(error instanceof EtcdError && error.status === STATUS.notFound)) throw error;
    }
  }

  async untilChanged(range: { key: string; end: string }, fromRevision: number, signal: AbortSignal): Promise<void> {
    const message = watchMessage(range, fromRevision);
    await this.#call('/etcdserverpb.Watch/Watch', message, { timeoutMs: null, signal, take: readWatched });
  }

  async compact(revision: number, timeoutMs: number): Promise<void> {
    await this.#ask(`${KV}/Compact`, compactMessage(revision), timeoutMs);
  }

  close(): void {
    for (const connection of this.#connections) connection.close();
  }

  /** The one answer to a message. */
  async #ask(method: string, message: Message, timeoutMs: number): Promise<Buffer> {
    let answer: Buffer | null = null;
    const take = (bytes: Buffer) => {
      answer = bytes;
      return true;
    };
    await this.#call(method, message, { timeoutMs, take });
    if (answer === null) throw new EtcdError('unknown', `${this.address}: an answer without a message`);
    return answer;
  }

  async #call(
    method: string,
    message: Message,
    options: { timeoutMs: number | null; signal?: AbortSignal; take: (bytes: Buffer) => boolean },
  ): Promise<void> {
    const at = this.#current;
    const connection = this.#connections[at] as GrpcConnection;
    try {
      const token = await this.#authenticated(connection, options.timeoutMs);
      await connection.call({ method, message, token, ...options });
    } catch (error) {
      const status = error instanceof EtcdError ? error.status : null;
      // A token ends after some minutes, or with the member that gave it; the caller's next try gets another.
      if (isAboutToken(error)) this.#token = null;
      else if (status === null || status === STATUS.unavailable) this.#leave(at, status === null);
      throw error;
    }
  }

  /** The next call goes to another member: the next one that is not known to be silent. */
  #leave(at: number, silent: boolean): void {
    const nowMs = performance.now();
    if (silent) this.#silentAtMs[at] = nowMs;
    if (this.#current !== at) return;
    const count = this.#connections.length;
    const others = Array.from({ length: count }, (_, i) => (at + 1 + i) % count);
    const answers = (each: number) => nowMs - (this.#silentAtMs[each] as number) > SILENT_MS;
    this.#current = others.find(answers) ?? (others[0] as number);
  }

  async #authenticated(connection: GrpcConnection, timeoutMs: number | null): Promise<string | null> {
    if (this.#user === undefined || this.#token !== null) return this.#token;
    const { name, password } = this.#user;
    let token = '';
    await connection.call({
      method: '/etcdserverpb.Auth/Authenticate',
      message: authenticateMessage(name, password),
      timeoutMs: timeoutMs ?? AUTHENTICATE_MS_MAX,
      token: null,
      take: (bytes) => {
        token = readToken(bytes);
        return true;
      },
    });
    this.#token = token;
    return token;
  }
}

/** Comparing a password is slow on purpose (bcrypt). */
const AUTHENTICATE_MS_MAX = 5_000;

/** Etcd's own words for a token that it does not know (any more): a refusal that another try may pass. */
function isAboutToken(error: unknown): boolean {
  return error instanceof EtcdError && error.status === STATUS.unauthenticated;
}
