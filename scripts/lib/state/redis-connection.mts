import type { Socket } from 'node:net';

export type RedisReply = string | number | null | Error;

/**
 * One connection, whose answers come in the order of the questions (RESP2, redis.io/docs/reference/protocol-spec). Questions of
 * one turn of the event loop are sent together.
 */
export class RedisConnection {
  readonly #socket: Socket;
  readonly #waiting: { resolve(reply: RedisReply): void; reject(error: Error): void }[] = [];
  #questions: Buffer[] = [];
  #bytes: Buffer = Buffer.alloc(0);

  /** Of the socket everything is the connection's from here on. */
  constructor(socket: Socket) {
    this.#socket = socket;
    this.#socket.setNoDelay(true);
    this.#socket.on('data', (chunk: Buffer) => this.#take(chunk));
    this.#socket.on('error', (error) => this.#fail(error));
    this.#socket.on('close', () => this.#fail(new Error('the server closed the connection')));
  }

  ask(...words: (string | Buffer)[]): Promise<RedisReply> {
    if (this.#questions.length === 0) setImmediate(() => this.#flush());
    this.#questions.push(Buffer.from(`*${words.length}\r\n`));
    for (const word of words) {
      this.#questions.push(Buffer.from(`$${Buffer.byteLength(word)}\r\n`), Buffer.from(word), Buffer.from('\r\n'));
    }
    return new Promise((resolve, reject) => this.#waiting.push({ resolve, reject }));
  }

  close(): void {
    this.#socket.destroy();
  }

  #flush(): void {
    this.#socket.write(Buffer.concat(this.#questions));
    this.#questions = [];
  }

  #fail(error: Error): void {
    for (const { reject } of this.#waiting.splice(0)) reject(error);
  }

  #take(chunk: Buffer): void {
    const bytes = this.#bytes.length === 0 ? chunk : Buffer.concat([this.#bytes, chunk]);
    let at = 0;
    for (;;) {
      const end = bytes.indexOf('\r\n', at);
      if (end < 0) break;
      const kind = bytes.toString('latin1', at, at + 1);
      const line = bytes.toString('latin1', at + 1, end);
      const length = kind === '$' ? Number(line) : -1;
      const next = end + 2 + (length < 0 ? 0 : length + 2);
      if (bytes.length < next) break;
      const bulk = length < 0 ? null : bytes.toString('latin1', end + 2, end + 2 + length);
      at = next;
      this.#waiting.shift()?.resolve(replyOf(kind, line, bulk));
    }
    this.#bytes = bytes.subarray(at);
  }
}

function replyOf(kind: string, line: string, bulk: string | null): RedisReply {
  if (kind === '$') return bulk;
  if (kind === '-') return new Error(line);
  return kind === ':' ? Number(line) : line;
}
