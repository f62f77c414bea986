import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  connect,
  constants,
  type SecureClientSessionOptions,
} from 'node:http2';
import type { Message } from '../../protobuf.js';
import { EtcdError } from './etcd.js';

/** One byte that says whether the message is compressed, four of its length: gRPC over HTTP/2, "Length-Prefixed-Message". */
const HEADER_BYTES = 5;
/** An answer is at most so large: a page of the store's keys, each of which is bounded. */
const ANSWER_BYTES_MAX = 64 * 1024 * 1024;
/** How much may be under way before it is acknowledged; the protocol's 64 KiB would slow large pages. */
const WINDOW_BYTES = 4 * 1024 * 1024;

/** By https://grpc.io/docs/guides/status-codes/; `compacted` is OUT_OF_RANGE, "required revision has been compacted". */
export const STATUS = {
  ok: 0,
  unknown: 2,
  deadlineExceeded: 4,
  notFound: 5,
  compacted: 11,
  unavailable: 14,
  unauthenticated: 16,
} as const;

export interface CallOptions {
  /** Such as /etcdserverpb.KV/Txn. */
  method: string;
  message: Message;
  /** Null: as long as the signal lets it. */
  timeoutMs: number | null;
  token: string | null;
  signal?: AbortSignal;
  /** Given each message of the answer; the call ends when it returns true. */
  take: (answer: Buffer) => boolean;
}

/** The connection to one server: made when it is first needed, and again after it broke. */
export class GrpcConnection {
  readonly #options: SecureClientSessionOptions;
  #session: ClientHttp2Session | null = null;

  constructor(
    /** http:// or https:// with host and port. */
    readonly url: string,
    options: SecureClientSessionOptions,
  ) {
    this.#options = { ...options, settings: { initialWindowSize: WINDOW_BYTES, enablePush: false } };
  }

  close(): void {
    this.#session?.destroy();
    this.#session = null;
  }

  /** One call with one message; resolves when `take` has what it wants, or the signal aborts. Throws EtcdError. */
  call({ method, message, timeoutMs, token, signal, take }: CallOptions): Promise<void> {
    const session = this.#open();
    return new Promise((resolve, reject) => {
      let stream: ClientHttp2Stream;
      let over = false;
      let timer: NodeJS.Timeout | undefined;
      const end = (error: EtcdError | null): void => {
        if (over) return;
        over = true;
        clearTimeout(timer);
        signal?.removeEventListener('abort', aborted);
        stream?.close(constants.NGHTTP2_CANCEL);
        if (error === null) resolve();
        else reject(error);
      };
      const aborted = (): void => end(null);
      try {
        stream = session.request(headersOf(method, timeoutMs, token));
      } catch (cause) {
        this.#drop(session);
        reject(new EtcdError('refused', `${this.url}: ${(cause as Error).message}`, STATUS.unavailable, { cause }));
        return;
      }
      if (timeoutMs !== null) {
        timer = setTimeout(() => {
          // Who does not answer in time may be stopped or cut off: the next call tries a connection of its own.
          this.#drop(session);
          end(new EtcdError('unknown', `${this.url} did not answer within ${Math.round(timeoutMs)} ms`));
        }, timeoutMs);
      }
      if (signal?.aborted) return end(null);
      signal?.addEventListener('abort', aborted, { once: true });
      const reader = new AnswerReader();
      const look = (headers: Record<string, unknown>): void => {
        const status = headers['grpc-status'];
        if (status === undefined) {
          const code = headers[':status'];
          if (code !== 200)
            end(new EtcdError('unknown', `${this.url} is no etcd: it answered with HTTP status ${String(code)}`));
          return;
        }
        end(refusalOf(this.url, Number(status), String(headers['grpc-message'] ?? '')));
      };
      stream.on('response', look);
      stream.on('trailers', look);
      stream.on('data', (chunk: Buffer) => {
        try {
          for (const answer of reader.push(chunk)) if (take(answer)) return end(null);
        } catch (cause) {
          end(
            new EtcdError('unknown', `${this.url} answered what is not understood: ${(cause as Error).message}`, null, {
              cause,
            }),
          );
        }
      });
      stream.on('error', (cause) => {
        // Nothing was sent when no connection came about.
        const fault = session.connecting ? 'refused' : 'unknown';
        end(new EtcdError(fault, `${this.url}: ${cause.message}`, STATUS.unavailable, { cause }));
      });
      stream.on('close', () => end(new EtcdError('unknown', `${this.url} ended the call without an answer`)));
      stream.end(framed(message));
    });
  }

  #open(): ClientHttp2Session {
    const before = this.#session;
    if (before !== null && !before.closed && !before.destroyed) return before;
    const session = connect(this.url, this.#options);
    // What went wrong is told to every call that is under way.
    session.on('error', () => this.#drop(session));
    session.on('goaway', () => this.#forget(session));
    session.on('close', () => this.#forget(session));
    // A call may have given it up meanwhile; it connects all the same.
    session.on('connect', () => {
      if (!session.destroyed) session.setLocalWindowSize(WINDOW_BYTES);
    });
    this.#session = session;
    return session;
  }

  #forget(session: ClientHttp2Session): void {
    if (this.#session === session) this.#session = null;
  }

  #drop(session: ClientHttp2Session): void {
    this.#forget(session);
    session.destroy();
  }
}

function headersOf(method: string, timeoutMs: number | null, token: string | null): Record<string, string> {
  return {
    ':method': 'POST',
    ':path': method,
    'content-type': 'application/grpc',
    te: 'trailers',
    // A member that has lost the others says so instead of waiting for them.
    hasleader: 'true',
    ...(timeoutMs === null ? {} : { 'grpc-timeout': `${Math.max(1, Math.ceil(timeoutMs))}m` }),
    ...(token === null ? {} : { token }),
  };
}

function framed(message: Message): Buffer {
  const body = message.encode();
  const header = Buffer.alloc(HEADER_BYTES);
  header.writeUInt32BE(body.length, 1);
  return Buffer.concat([header, body]);
}

/** Cuts what arrives into messages. */
class AnswerReader {
  #chunks: Buffer[] = [];
  #bytes = 0;
  /** So much is needed until there is a message. */
  #wanted = HEADER_BYTES;

  push(chunk: Buffer): Buffer[] {
    this.#chunks.push(chunk);
    this.#bytes += chunk.length;
    const answers: Buffer[] = [];
    while (this.#bytes >= this.#wanted) {
      const all = this.#chunks.length === 1 ? (this.#chunks[0] as Buffer) : Buffer.concat(this.#chunks);
      this.#chunks = [all];
      const length = all.readUInt32BE(1);
      if (all[0] !== 0) throw new RangeError('it is compressed');
      if (length > ANSWER_BYTES_MAX)
        throw new RangeError(`${length} bytes, of which at most ${ANSWER_BYTES_MAX} are taken`);
      this.#wanted = HEADER_BYTES + length;
      if (this.#bytes < this.#wanted) break;
      answers.push(all.subarray(HEADER_BYTES, this.#wanted));
      const rest = all.subarray(this.#wanted);
      this.#chunks = [rest];
      this.#bytes = rest.length;
      this.#wanted = HEADER_BYTES;
    }
    return answers;
  }
}

/** What a status says. Some statuses leave open whether the request was carried out. */
function refusalOf(url: string, status: number, encoded: string): EtcdError {
  const open: readonly number[] = [STATUS.ok, STATUS.unknown, STATUS.deadlineExceeded, STATUS.unavailable];
  return new EtcdError(
    open.includes(status) ? 'unknown' : 'refused',
    `${url}: ${decoded(encoded)} (gRPC status ${status})`,
    status,
  );
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
