import { createServer, type Server, type Socket } from 'node:net';
import { type CacheEntry, type CacheReply, type CacheRequest, parseFromCached } from '../../protocol/cache.js';
import { ShoalError, toShoalError } from '../../protocol/errors.js';
import { encodeFrame, FrameReader } from '../../protocol/frame.js';
import { LIMITS } from '../../protocol/limits.js';
import { listenForInstance } from '../instance-socket.js';
import type { CacheCounts, CacheOutcome } from './cache-counts.js';
import type { RedisCache } from './redis-cache.js';

export type CacheCommands = Pick<RedisCache, 'get' | 'set' | 'delete' | 'swap'>;

/** What an instance has not read yet is at most so much. */
const QUEUED_BYTES_MAX = 2 * LIMITS.frameBytesMax;
/** An instance has so many requests under way; more are read when those are answered. */
const REQUESTS_MAX = LIMITS.cacheRequestsMax;
const DETAIL_LENGTH_MAX = 1_000;

/**
 * The agent's end of the socket on which one instance reads and writes entries of its component in the cache. The process is not
 * trusted: what breaks the protocol is hung up on, and every key it names lies below the prefix of its component.
 */
export class CacheListener {
  readonly #prefix: string;
  readonly #cache: () => CacheCommands;
  readonly #valueBytesMax: () => number;
  readonly #counts: CacheCounts;
  readonly #sockets = new Set<Socket>();
  #server: Server | undefined;
  #closed = false;

  constructor(
    { app, component }: { app: string; component: string },
    cache: () => CacheCommands,
    valueBytesMax: () => number,
    counts: CacheCounts,
  ) {
    this.#prefix = prefixOf(app, component);
    this.#counts = counts;
    this.#cache = cache;
    this.#valueBytesMax = valueBytesMax;
  }

  /** On this path only the instance's own user may dial. */
  async listen(path: string, owner: number): Promise<void> {
    const server = createServer((socket) => this.#accept(socket));
    await listenForInstance(server, path, owner);
    server.on('error', () => this.close());
    if (this.#closed) server.close();
    else this.#server = server;
  }

  /** Processes of the instance that are connected. */
  get clients(): number {
    return this.#sockets.size;
  }

  /** To every process of the instance: what it keeps near of the key, or of any, is stale. */
  stale(key: string | null): void {
    const entry = key === null ? null : entryOf(key, this.#prefix);
    if (entry !== undefined) this.#tell({ type: 'stale', entry });
  }

  near(untilMs: number): void {
    this.#tell({ type: 'near', untilMs, counts: true });
  }

  close(): void {
    this.#closed = true;
    this.#server?.close();
    for (const socket of this.#sockets) socket.destroy();
  }

  #tell(message: CacheReply): void {
    for (const socket of this.#sockets) write(socket, message);
  }

  #accept(socket: Socket): void {
    this.#sockets.add(socket);
    const reader = new FrameReader();
    let underWay = 0;
    let nearHits = 0;
    const ended = () => {
      underWay -= 1;
      if (underWay < REQUESTS_MAX && socket.isPaused()) socket.resume();
    };
    socket.on('data', (chunk: Buffer) => {
      try {
        for (const message of reader.push(chunk)) {
          const request = parseFromCached(message);
          if (request.type === 'near-hits') {
            this.#counts.nearHits(Math.max(0, request.hits - nearHits));
            nearHits = request.hits;
            continue;
          }
          underWay += 1;
          this.#serve(socket, request, ended);
        }
        if (underWay >= REQUESTS_MAX) socket.pause();
      } catch {
        // Its SDK, if it is one, dials again.
        socket.destroy();
      }
    });
    socket.on('error', () => socket.destroy());
    socket.on('close', () => this.#sockets.delete(socket));
  }

  /** Answers once; `ended` when nothing of it is under way any more, which may be later. */
  #serve(socket: Socket, request: CacheRequest, ended: () => void): void {
    const { id } = request;
    const beganMs = performance.now();
    const done = this.#counts.begun();
    let answered = false;
    const answer = (reply: CacheReply) => {
      clearTimeout(timer);
      if (answered) return;
      answered = true;
      write(socket, reply);
      this.#counts.answered(outcomeOf(request, reply), performance.now() - beganMs);
    };
    const fail = (error: ShoalError) =>
      answer({ type: 'error', id, code: error.code, detail: error.message.slice(0, DETAIL_LENGTH_MAX) });
    const timer = setTimeout(() => {
      const detail = `the cache did not answer within ${LIMITS.cacheAnswerMsMax} ms: what was to be written may be written`;
      fail(new ShoalError('SHOAL_E_DEADLINE', detail));
    }, LIMITS.cacheAnswerMsMax);
    this.#carryOut(request)
      .then(answer, (error: unknown) => fail(toShoalError(error)))
      .finally(() => {
        done();
        ended();
      });
  }

  async #carryOut(request: CacheRequest): Promise<CacheReply> {
    const { id } = request;
    const key = `${this.#prefix}${request.state}:${request.key}`;
    const cache = this.#cache();
    switch (request.type) {
      case 'get':
        return { type: 'value', id, ...(await cache.get(key)) };
      case 'set':
        this.#assertSize(request.value);
        await cache.set(key, request.value, request.ttlMs);
        return { type: 'done', id, did: true };
      case 'delete':
        return { type: 'done', id, did: await cache.delete(key) };
      case 'swap': {
        const { before, after, ttlMs } = request;
        this.#assertSize(after);
        return { type: 'done', id, ...(await cache.swap(key, before, after, ttlMs)) };
      }
    }
  }

  #assertSize(value: Uint8Array | null): void {
    const max = this.#valueBytesMax();
    if (value === null || value.length <= max) return;
    throw new ShoalError('SHOAL_E_STATE_SIZE', `a value of ${value.length} bytes is above the limit of ${max}`);
  }
}

function outcomeOf({ type }: CacheRequest, reply: CacheReply): CacheOutcome {
  if (reply.type === 'error') return 'failed';
  if (type !== 'get') return 'writes';
  return reply.type === 'value' && reply.value !== null ? 'hits' : 'misses';
}

/** Before all keys of the component in its cache. Names have neither slash nor colon. */
export function prefixOf(app: string, component: string): string {
  return `shoal:${app}/${component}:`;
}

/** Undefined for a key of somebody else. */
function entryOf(key: string, prefix: string): CacheEntry | undefined {
  if (!key.startsWith(prefix)) return undefined;
  const cut = key.indexOf(':', prefix.length);
  return cut < 0 ? undefined : { state: key.slice(prefix.length, cut), key: key.slice(cut + 1) };
}

/** A process that does not read is cut off before what waits for it fills the agent's memory. */
function write(socket: Socket, message: CacheReply): void {
  if (socket.destroyed) return;
  socket.write(encodeFrame(message));
  if (socket.writableLength > QUEUED_BYTES_MAX) socket.destroy();
}
