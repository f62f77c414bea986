import { connect, type Socket } from 'node:net';
import {
  type AskedOfCache,
  type CacheEntry,
  type CacheReply,
  type CacheRequest,
  type NearHits,
  parseCacheReply,
} from '../../protocol/cache.js';
import type { CachedSettings } from '../../protocol/control.js';
import { isErrorCode, ShoalError, toShoalError } from '../../protocol/errors.js';
import { encodeFrame, FrameReader } from '../../protocol/frame.js';
import { LIMITS } from '../../protocol/limits.js';
import { monotonicMs } from '../../protocol/monotonic.js';
import { Redial } from '../redial.js';
import { NearCache } from './near-cache.js';

type Answer = Extract<CacheReply, { type: 'value' | 'done' }>;

interface Pending {
  asked: AskedOfCache;
  sentMs: number;
  timer: NodeJS.Timeout;
  resolve(answer: Answer): void;
  reject(error: ShoalError): void;
}

/** How long a request waits for an agent that is away; and for the answer, which the agent itself bounds. */
const CONNECT_MS_MAX = 2_000;
const ANSWER_MS_MAX = LIMITS.cacheAnswerMsMax + 2_000;

/**
 * The way to the cache of this component, through the agent of this host, which has the connections and the passwords. The agent
 * may come and go; what it was asked and has not answered then fails.
 */
export class CacheConnection {
  readonly #path: string;
  readonly #near: NearCache | undefined;
  readonly #pending = new Map<number, Pending>();
  readonly #redial = new Redial(() => this.#dial());
  #socket: Socket | undefined;
  #nextId = 1;
  /** Near hits that were told on earlier connections, and on this one. */
  #hitsBefore = 0;
  #hitsTold = 0;

  constructor(path: string, { near }: Pick<CachedSettings, 'near'>) {
    this.#path = path;
    this.#near = near === undefined ? undefined : new NearCache(near, monotonicMs);
    this.#dial();
  }

  /** What is kept near; undefined when nothing shall be. */
  get near(): Pick<NearCache, 'hits' | 'bytes' | 'entries'> | undefined {
    return this.#near;
  }

  /** The value, or null: from near where it may be. */
  async read(entry: CacheEntry): Promise<Uint8Array | null> {
    const near = this.#near?.find(entry);
    if (near !== undefined) return near;
    const answer = await this.#ask({ type: 'get', ...entry });
    return answer.type === 'value' ? answer.value : null;
  }

  /** Whether it was done; and else, for a swap, what the value was. */
  async write(asked: Exclude<AskedOfCache, { type: 'get' }>): Promise<{ did: boolean; value: Uint8Array | null }> {
    // Not kept from before the write, whatever becomes of it; nor is what is read meanwhile, once the answer is there.
    this.#near?.stale(asked);
    try {
      const answer = await this.#ask(asked);
      return answer.type === 'done' ? { did: answer.did, value: answer.value ?? null } : { did: false, value: null };
    } finally {
      this.#near?.stale(asked);
    }
  }

  close(): void {
    this.#redial.close();
    this.#lost();
  }

  async #ask(asked: AskedOfCache): Promise<Answer> {
    if (this.#pending.size >= LIMITS.cacheRequestsMax) {
      throw new ShoalError('SHOAL_E_OVERLOADED', `${LIMITS.cacheRequestsMax} requests wait for the cache`);
    }
    if (this.#redial.closed) throw unreachable('this instance has closed its connections');
    if (this.#socket === undefined) {
      const away = () => unreachable('the agent of this host is away, and with it the cache');
      await this.#redial.untilConnected(CONNECT_MS_MAX, away);
    }
    const id = this.#nextId++;
    const frame = encodeFrame({ ...asked, id } satisfies CacheRequest);
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#settle(id)?.reject(new ShoalError('SHOAL_E_DEADLINE', `no answer within ${ANSWER_MS_MAX} ms`));
      }, ANSWER_MS_MAX);
      this.#pending.set(id, { asked, sentMs: monotonicMs(), timer, resolve, reject });
      this.#socket?.write(frame);
    });
  }

  #dial(): void {
    const socket = connect(this.#path);
    const reader = new FrameReader();
    socket.on('connect', () => {
      if (this.#redial.closed) {
        socket.destroy();
        return;
      }
      this.#socket = socket;
      this.#hitsBefore += this.#hitsTold;
      this.#hitsTold = 0;
      this.#redial.connected();
    });
    socket.on('data', (chunk: Buffer) => {
      try {
        for (const message of reader.push(chunk)) this.#take(parseCacheReply(message));
        this.#redial.heard();
      } catch (error) {
        socket.destroy(toShoalError(error));
      }
    });
    // Why it broke does not matter here: it is dialled again, and the agent's log says more.
    socket.on('error', () => undefined);
    socket.on('close', () => {
      if (this.#socket === socket) this.#lost();
      this.#redial.later();
    });
  }

  #take(reply: CacheReply): void {
    if (reply.type === 'stale') this.#near?.stale(reply.entry);
    else if (reply.type === 'near') this.#vouched(reply);
    else this.#answered(reply);
  }

  #vouched({ untilMs, counts = false }: Extract<CacheReply, { type: 'near' }>): void {
    if (this.#near === undefined) return;
    this.#near.vouch(untilMs);
    const hits = this.#near.hits - this.#hitsBefore;
    if (!counts || hits === this.#hitsTold) return;
    this.#hitsTold = hits;
    this.#socket?.write(encodeFrame({ type: 'near-hits', hits } satisfies NearHits));
  }

  #answered(reply: Answer | Extract<CacheReply, { type: 'error' }>): void {
    const pending = this.#settle(reply.id);
    if (pending === undefined) return; // Too late; the one who asked has gone on.
    if (reply.type === 'error') {
      const code = isErrorCode(reply.code) ? reply.code : 'SHOAL_E_INTERNAL';
      pending.reject(new ShoalError(code, reply.detail));
      return;
    }
    if (reply.type === 'value') {
      // Here and not after the promise: what comes next on the socket may be that it is stale.
      const { ttlMs = Number.POSITIVE_INFINITY } = reply;
      this.#near?.keep(pending.asked, reply.value, pending.sentMs + ttlMs);
    } else this.#near?.stale(pending.asked);
    pending.resolve(reply);
  }

  #settle(id: number): Pending | undefined {
    const pending = this.#pending.get(id);
    this.#pending.delete(id);
    clearTimeout(pending?.timer);
    return pending;
  }

  #lost(): void {
    this.#socket?.destroy();
    this.#socket = undefined;
    this.#near?.lost();
    const detail = 'the agent closed the connection: what was to be written may be written or not';
    for (const id of [...this.#pending.keys()]) {
      this.#settle(id)?.reject(new ShoalError('SHOAL_E_PEER_DIED', detail));
    }
  }
}

function unreachable(detail: string): ShoalError {
  return new ShoalError('SHOAL_E_UNREACHABLE', detail);
}
