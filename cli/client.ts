import { X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { type ClientRequest, request as httpRequest, type IncomingMessage } from 'node:http';
import { request as httpsRequest, type RequestOptions as TlsOptions } from 'node:https';
import type { Socket } from 'node:net';
import { dirname, join } from 'node:path';
import { checkServerIdentity, type PeerCertificate } from 'node:tls';
import { FILES, nameOf, refuseUnlessCoordinator, serialsIn } from '../identity/identity.js';
import { ShoalError } from '../protocol/errors.js';
import { ProblemError, readProblem } from './problem-error.js';

/** A whole answer must arrive within this time; the server answers from memory, so more means that it hangs. */
const ANSWER_MS_MAX = 30_000;

export interface ClientOptions {
  /** Such as http://127.0.0.1:7946. */
  server: string;
  token?: string;
  /** Certificate in PEM of the authority that must have signed the server's; without it those that the host trusts. */
  ca?: string;
  /** Serials of certificates that are void; nobody who shows one is told anything. */
  revoked?: ReadonlySet<string>;
  /** Any server is believed: only to ask for what can be checked by itself, and without a token. */
  unverified?: true;
}

export interface RequestOptions {
  /** Sent as JSON. */
  body?: unknown;
  /** Sent as they are, in place of a body. */
  bytes?: Buffer;
  headers?: Record<string, string>;
  signal?: AbortSignal;
  timeoutMs?: number;
}

/** The coordinator's HTTP API. Every failure is a ShoalError: the server's own problem, or SHOAL_E_UNREACHABLE. */
export class Client {
  readonly #base: URL;
  readonly #token: string | undefined;
  readonly #tls: TlsOptions;

  constructor({ server, token, ca, revoked = new Set(), unverified }: ClientOptions) {
    this.#base = parseServer(server);
    this.#token = token;
    const checkServerIdentity = (host: string, shown: PeerCertificate) => refuseStranger(host, shown, revoked);
    this.#tls = ca === undefined ? {} : { ca, checkServerIdentity };
    if (unverified) this.#tls.rejectUnauthorized = false;
  }

  get address(): string {
    return this.#base.origin;
  }

  /** The JSON answer, or undefined for an empty one. */
  async json<T>(method: string, path: string, options: RequestOptions = {}): Promise<T> {
    const text = await this.text(method, path, options);
    if (text === '') return undefined as T;
    try {
      return JSON.parse(text) as T;
    } catch (cause) {
      throw new ShoalError('SHOAL_E_FRAME', `${this.address}${path} answered with something that is not JSON`, {
        cause,
      });
    }
  }

  /** A JSON list. */
  async list<T>(path: string, options: RequestOptions = {}): Promise<T[]> {
    const answer = await this.json<unknown>('GET', path, options);
    if (!Array.isArray(answer))
      throw new ShoalError('SHOAL_E_FRAME', `${this.address}${path} did not answer with a list`);
    return answer as T[];
  }

  async text(method: string, path: string, options: RequestOptions = {}): Promise<string> {
    return (await this.bytes(method, path, options)).toString('utf8');
  }

  async bytes(method: string, path: string, options: RequestOptions = {}): Promise<Buffer> {
    const deadline = new Deadline(options.timeoutMs ?? ANSWER_MS_MAX, options.signal);
    const headers = { ...this.#headers(), ...options.headers };
    const chunks: Buffer[] = [];
    let status: number;
    try {
      const response = await this.#open(path, { method, headers, signal: deadline.signal }, options);
      status = response.statusCode ?? 0;
      for await (const chunk of response) chunks.push(chunk as Buffer);
    } catch (cause) {
      if (options.signal?.aborted) throw new ShoalError('SHOAL_E_CANCELLED', 'interrupted', { cause });
      if (deadline.passed !== undefined) throw this.#unreachable(deadline.passed);
      throw cause instanceof ShoalError ? cause : this.#unreachable(cause);
    } finally {
      deadline.clear();
    }
    const body = Buffer.concat(chunks);
    if (status < 200 || status > 299)
      throw new ProblemError(readProblem(status, body.toString('utf8'), `${method} ${path}`));
    return body;
  }

  /**
   * An answer that may go on for ever, as chunks of text.
   * Ends when the server ends it; throws SHOAL_E_UNREACHABLE when the connection breaks.
   */
  async *stream(path: string, { headers = {}, signal }: Omit<RequestOptions, 'body'> = {}): AsyncGenerator<string> {
    const options = { headers: { ...this.#headers(), ...headers }, ...(signal === undefined ? {} : { signal }) };
    const response = await this.#open(path, options);
    response.setEncoding('utf8');
    try {
      if ((response.statusCode ?? 0) !== 200) {
        let body = '';
        for await (const chunk of response) body += String(chunk);
        throw new ProblemError(readProblem(response.statusCode ?? 0, body, `GET ${path}`));
      }
      for await (const chunk of response) yield String(chunk);
    } catch (cause) {
      if (cause instanceof ShoalError) throw cause;
      if (signal?.aborted) return;
      throw this.#unreachable(cause);
    } finally {
      response.destroy();
    }
  }

  /** A connection that speaks another protocol from here on. Throws the server's own problem, or SHOAL_E_UNREACHABLE. */
  upgrade(method: string, path: string, protocol: string, { signal }: { signal: AbortSignal }): Promise<Socket> {
    const url = new URL(path, this.#base);
    const headers = { ...this.#headers(), connection: 'Upgrade', upgrade: protocol };
    const options = { method, headers, signal, agent: false, ...this.#tls };
    return new Promise((resolve, reject) => {
      const request = url.protocol === 'https:' ? httpsRequest(url, options) : httpRequest(url, options);
      boundAnswer(request);
      request.once('upgrade', (_response, socket: Socket, head: Buffer) => {
        if (head.length > 0) socket.unshift(head);
        resolve(socket);
      });
      request.once('response', (response) => {
        textOf(response).then(
          (body) => reject(new ProblemError(readProblem(response.statusCode ?? 0, body, `${method} ${url.pathname}`))),
          (cause: unknown) => reject(this.#unreachable(cause)),
        );
      });
      request.on('error', (cause) =>
        reject(signal.aborted ? new ShoalError('SHOAL_E_CANCELLED', 'interrupted') : this.#unreachable(cause)),
      );
      request.end();
    });
  }

  /** Resolves when the answer has begun. `body` is sent as JSON. */
  #open(
    path: string,
    options: TlsOptions,
    { body, bytes }: Pick<RequestOptions, 'body' | 'bytes'> = {},
  ): Promise<IncomingMessage> {
    const url = new URL(path, this.#base);
    const text = bytes ?? (body === undefined ? undefined : JSON.stringify(body));
    const typed =
      text === undefined
        ? {}
        : {
            'content-type': bytes === undefined ? 'application/json' : 'application/octet-stream',
            'content-length': Buffer.byteLength(text),
          };
    const all = { ...options, headers: { ...typed, ...options.headers } };
    return new Promise((resolve, reject) => {
      const request = url.protocol === 'https:' ? httpsRequest(url, { ...all, ...this.#tls }) : httpRequest(url, all);
      boundAnswer(request);
      request.once('response', resolve);
      request.on('error', (cause) => reject(this.#unreachable(cause)));
      request.end(text);
    });
  }

  #headers(): Record<string, string> {
    return this.#token === undefined ? {} : { authorization: `Bearer ${this.#token}` };
  }

  #unreachable(cause: unknown): ShoalError {
    if (isTlsFault(cause)) {
      const remedy = "name the cluster's ca.crt with --ca or SHOAL_CA";
      const detail = `the coordinator at ${this.address} does not prove who it is: ${reasonOf(cause)}; ${remedy}`;
      return new ShoalError('SHOAL_E_UNREACHABLE', detail, { cause });
    }
    return new ShoalError(
      'SHOAL_E_UNREACHABLE',
      `cannot reach the coordinator at ${this.address}: ${reasonOf(cause)}. Start one with \`shoal up\`, or name another with --server or SHOAL_SERVER`,
      { cause },
    );
  }
}

/**
 * Ends a request whose answer has not begun in time: a server that takes the connection and never answers, or does not even
 * take it, would otherwise hang the command. The time-out of a socket counts from when it is connected only.
 */
function boundAnswer(request: ClientRequest): void {
  const late = () => request.destroy(new Error(`no answer within ${ANSWER_MS_MAX / 1_000} s`));
  const timer = setTimeout(late, ANSWER_MS_MAX);
  for (const event of ['response', 'upgrade', 'close']) request.once(event, () => clearTimeout(timer));
}

/**
 * Aborts when the time is over, or with another signal. Not AbortSignal.any() of AbortSignal.timeout(): in Node 20 the
 * latter is collected as garbage when nothing else holds it, and never fires (nodejs/node, pull request 57867).
 */
class Deadline {
  /** Why it aborted, when that was the time. */
  passed: Error | undefined;
  readonly #abort = new AbortController();
  readonly #timer: NodeJS.Timeout;
  readonly #with: AbortSignal | undefined;
  readonly #onAbort = () => this.#abort.abort();

  constructor(ms: number, other: AbortSignal | undefined) {
    this.#timer = setTimeout(() => {
      this.passed = new Error(`no whole answer within ${ms / 1_000} s`);
      this.#abort.abort();
    }, ms);
    this.#with = other;
    if (other?.aborted) this.#onAbort();
    other?.addEventListener('abort', this.#onAbort, { once: true });
  }

  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  clear(): void {
    clearTimeout(this.#timer);
    this.#with?.removeEventListener('abort', this.#onAbort);
  }
}

async function textOf(response: IncomingMessage): Promise<string> {
  let text = '';
  for await (const chunk of response.setEncoding('utf8')) text += String(chunk);
  return text;
}

/** Path of the API from its parts, each escaped. */
export function apiPath(...parts: string[]): string {
  return `/v1/${parts.map(encodeURIComponent).join('/')}`;
}

/** A coordinator of the cluster whose authority is trusted, or, as behind a proxy, whoever the certificate names rightly. */
function refuseStranger(host: string, certificate: PeerCertificate, revoked: ReadonlySet<string>): Error | undefined {
  const refused = refuseUnlessCoordinator(certificate, revoked);
  // Also where it bears the right address.
  if (revoked.has(certificate.serialNumber)) return refused;
  // An agent may bear the name of the coordinator's host, and serves other agents alone.
  return nameOf(certificate, 'agent') === null ? refused && checkServerIdentity(host, certificate) : refused;
}

/** What OpenSSL finds wrong with a certificate. */
function isTlsFault(cause: unknown): boolean {
  const { code = '' } = cause as NodeJS.ErrnoException;
  return (
    /^(CERT_|UNABLE_TO_|SELF_SIGNED_|DEPTH_ZERO_|INVALID_|ERR_TLS_)/.test(code) || /certificate/.test(reasonOf(cause))
  );
}

/** The certificate of an authority. Throws SHOAL_E_USAGE when there is none in the file. */
export async function readCa(file: string | undefined): Promise<string | undefined> {
  if (file === undefined) return undefined;
  try {
    const text = await readFile(file, 'utf8');
    // Says now what TLS would say later, without the file's name.
    return new X509Certificate(text) && text;
  } catch (cause) {
    throw new ShoalError('SHOAL_E_USAGE', `--ca ${file} is no certificate: ${reasonOf(cause)}`, { cause });
  }
}

/** What lies beside the authority's certificate, as where the agent of this host keeps it: serials that are void. */
export async function readRevoked(ca: string | undefined): Promise<ReadonlySet<string>> {
  if (ca === undefined) return new Set();
  const file = join(dirname(ca), FILES.revoked);
  try {
    return serialsIn(await readFile(file, 'utf8'));
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return new Set();
    throw new ShoalError('SHOAL_E_USAGE', `cannot read what is revoked: ${reasonOf(cause)}`, { cause });
  }
}

export async function readToken(file: string | undefined): Promise<string | undefined> {
  if (file === undefined) return undefined;
  let text: string;
  try {
    text = (await readFile(file, 'utf8')).trim();
  } catch (cause) {
    throw new ShoalError('SHOAL_E_USAGE', `cannot read the token file ${file}: ${reasonOf(cause)}`, { cause });
  }
  if (!/^[\x21-\x7e]+$/.test(text)) {
    throw new ShoalError('SHOAL_E_USAGE', `the token file ${file} must hold one token: printable ASCII without blanks`);
  }
  return text;
}

function parseServer(server: string): URL {
  const url = URL.canParse(server) ? new URL(server) : null;
  if (url === null || !['http:', 'https:'].includes(url.protocol)) {
    throw new ShoalError('SHOAL_E_USAGE', `"${server}" is no server address; write one such as http://127.0.0.1:7946`);
  }
  return url;
}

/** The innermost message: fetch wraps what really happened in "fetch failed". */
export function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  if (error instanceof AggregateError && error.errors.length > 0) return reasonOf(error.errors[0]);
  return error.cause === undefined ? error.message || error.name : reasonOf(error.cause);
}
