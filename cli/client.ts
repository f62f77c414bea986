import { readFile } from 'node:fs/promises';
import { request as httpRequest, type IncomingMessage } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { ShoalError } from '../protocol/errors.js';
import { ProblemError, readProblem } from './problem-error.js';

/** A whole answer must arrive within this time; the server answers from memory, so more means that it hangs. */
const ANSWER_MS_MAX = 30_000;

export interface ClientOptions {
  /** Such as http://127.0.0.1:7946. */
  server: string;
  token?: string;
}

export interface RequestOptions {
  /** Sent as JSON. */
  body?: unknown;
  headers?: Record<string, string>;
  signal?: AbortSignal;
  timeoutMs?: number;
}

/** The coordinator's HTTP API. Every failure is a ShoalError: the server's own problem, or SHOAL_E_UNREACHABLE. */
export class Client {
  readonly #base: URL;
  readonly #token: string | undefined;

  constructor({ server, token }: ClientOptions) {
    this.#base = parseServer(server);
    this.#token = token;
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
    const timeout = AbortSignal.timeout(options.timeoutMs ?? ANSWER_MS_MAX);
    const signal = options.signal === undefined ? timeout : AbortSignal.any([timeout, options.signal]);
    const headers = { ...this.#headers(), ...options.headers };
    const init: RequestInit = { method, headers, signal };
    if (options.body !== undefined) {
      init.body = JSON.stringify(options.body);
      init.headers = { 'content-type': 'application/json', ...headers };
    }
    let status: number;
    let body: Buffer;
    try {
      const response = await fetch(new URL(path, this.#base), init);
      status = response.status;
      body = Buffer.from(await response.arrayBuffer());
    } catch (cause) {
      if (options.signal?.aborted) throw new ShoalError('SHOAL_E_CANCELLED', 'interrupted', { cause });
      throw this.#unreachable(cause);
    }
    if (status < 200 || status > 299)
      throw new ProblemError(readProblem(status, body.toString('utf8'), `${method} ${path}`));
    return body;
  }

  /**
   * An answer that may go on for ever, as chunks of text. Not by fetch, which gives up after five quiet minutes.
   * Ends when the server ends it; throws SHOAL_E_UNREACHABLE when the connection breaks.
   */
  async *stream(path: string, { headers = {}, signal }: Omit<RequestOptions, 'body'> = {}): AsyncGenerator<string> {
    const response = await this.#open(path, { ...this.#headers(), ...headers }, signal);
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

  #open(path: string, headers: Record<string, string>, signal: AbortSignal | undefined): Promise<IncomingMessage> {
    const url = new URL(path, this.#base);
    const open = url.protocol === 'https:' ? httpsRequest : httpRequest;
    return new Promise((resolve, reject) => {
      const request = open(url, { headers, ...(signal === undefined ? {} : { signal }) });
      request.once('response', (response) => {
        request.setTimeout(0);
        resolve(response);
      });
      // A server that takes the connection and never answers would otherwise hang the command.
      request.setTimeout(ANSWER_MS_MAX, () => request.destroy(new Error(`no answer within ${ANSWER_MS_MAX} ms`)));
      request.on('error', (cause) => reject(this.#unreachable(cause)));
      request.end();
    });
  }

  #headers(): Record<string, string> {
    return this.#token === undefined ? {} : { authorization: `Bearer ${this.#token}` };
  }

  #unreachable(cause: unknown): ShoalError {
    return new ShoalError(
      'SHOAL_E_UNREACHABLE',
      `cannot reach the coordinator at ${this.address}: ${reasonOf(cause)}. Start one with \`shoal up\`, or name another with --server or SHOAL_SERVER`,
      { cause },
    );
  }
}

/** Path of the API from its parts, each escaped. */
export function apiPath(...parts: string[]): string {
  return `/v1/${parts.map(encodeURIComponent).join('/')}`;
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
  if (error.name === 'TimeoutError') return `no answer within ${ANSWER_MS_MAX / 1_000} s`;
  if (error instanceof AggregateError && error.errors.length > 0) return reasonOf(error.errors[0]);
  return error.cause === undefined ? error.message || error.name : reasonOf(error.cause);
}
