import type { CacheEntry } from '../../protocol/cache.js';
import { ShoalError } from '../../protocol/errors.js';
import { LIMITS } from '../../protocol/limits.js';
import type { CallOptions } from '../router.js';
import type { ShardStore } from '../shard-store.js';
import { Feed } from './feed.js';
import {
  FOLLOW_HANDLER,
  isBefore,
  type News,
  NOWHERE,
  parseNews,
  parsePosition,
  parseWrite,
  parseWritten,
  REPLICATED_KEY,
  REPLICATED_SHARD,
  WRITE_HANDLER,
  type WriteRequest,
  type Written,
} from './messages.js';
import { OwnedEntries } from './owned-entries.js';
import { Replica } from './replica.js';
import { Waiters } from './waiters.js';

/** Calls a handler of this instance's own component. */
type CallOwner = (handler: string, body: unknown, options: CallOptions) => Promise<unknown>;

/** An owner that has nothing new says so after this: the beat by which a replica knows that it is not behind. */
const BEAT_MS = 500;
/** What could not be asked is asked again after this. */
const RETRY_MS = 50;

/**
 * The entries of a component with `state: replicated` in this instance: a replica that follows the owner, and the feed by which
 * others follow when this one is the owner. Nothing is told to a replica that is not settled, so that none shows a write which
 * the loss of a host takes back.
 */
export class ReplicatedEntries {
  readonly #store: ShardStore;
  readonly #callOwner: CallOwner;
  readonly #owned: OwnedEntries;
  readonly #feed = new Feed();
  readonly #replica = new Replica();
  /** Replicas of others, and this one, that have all there is. */
  readonly #followers = new Waiters();
  /** Calls here that wait for the replica to reach what they have written. */
  readonly #behind = new Waiters();
  readonly #closed = new AbortController();
  /** When the news were asked for that came last, by performance.now(). */
  #knownAtMs: number | undefined;

  constructor(store: ShardStore, callOwner: CallOwner) {
    this.#store = store;
    this.#callOwner = callOwner;
    this.#owned = new OwnedEntries(store);
    store.onFreeze(() => this.#followers.wake());
  }

  /** Begins to follow the owner. */
  start(): void {
    void this.#follow();
  }

  /** Resolves once all entries are here, or this instance is closed. */
  async caughtUp(): Promise<void> {
    await this.#behind.until(() => this.#replica.position !== NOWHERE, { signal: this.#closed.signal });
  }

  /** What is read here lacks no write that is older than so many ms; undefined before all entries are here. */
  get lagMs(): number | undefined {
    return this.#knownAtMs === undefined ? undefined : performance.now() - this.#knownAtMs;
  }

  async read({ state, key }: CacheEntry): Promise<Uint8Array | null> {
    if (this.#replica.position === NOWHERE) await this.caughtUp();
    return this.#replica.get(state, key, Date.now());
  }

  /**
   * Resolves when the write can be read here. Rejects as calls do: with SHOAL_E_PEER_DIED or SHOAL_E_DEADLINE it may be written
   * or not.
   */
  async write(request: WriteRequest): Promise<{ did: boolean; value: Uint8Array | null }> {
    const { did, value, position } = this.#store.serves(REPLICATED_SHARD)
      ? await this.#settled(() => this.handleWrite(request))
      : parseWritten(await this.#callOwner(WRITE_HANDLER, request, { key: REPLICATED_KEY }));
    const timeoutMs = LIMITS.callDeadlineMsDefault;
    const isHere = () => !isBefore(this.#replica.position, position);
    if (await this.#behind.until(isHere, { timeoutMs, signal: this.#closed.signal })) return { did, value };
    const detail = `a write is done, and this instance has not heard of it for ${timeoutMs} ms: its owner cannot be reached`;
    throw new ShoalError('SHOAL_E_DEADLINE', detail);
  }

  /** Serves WRITE_HANDLER, on a shard that stays here meanwhile. */
  handleWrite(body: unknown): Written {
    const { change, ...written } = this.#owned.write(parseWrite(body));
    if (change !== undefined) {
      this.#feed.wrote(written.position, change);
      this.#followers.wake();
    }
    return written;
  }

  /** Serves FOLLOW_HANDLER, likewise: answers at once when there is news, else when there is or after a beat. */
  async handleFollow(body: unknown, signal: AbortSignal): Promise<News> {
    const asked = parsePosition(body);
    // Who is not the owner any more cannot have this acknowledged by its copies, and so answers nobody.
    if (isBefore(this.#owned.position, asked)) this.#owned.reignAfter(asked.epoch);
    const isNews = () => isBefore(asked, this.#owned.position) || !this.#store.serves(REPLICATED_SHARD);
    await this.#followers.until(isNews, { timeoutMs: BEAT_MS, signal });
    return this.#feed.newsFor(asked, this.#owned.source);
  }

  close(): void {
    this.#closed.abort();
  }

  async #follow(): Promise<void> {
    const { signal } = this.#closed;
    while (!signal.aborted) {
      const askedAtMs = performance.now();
      try {
        if (this.#replica.take(await this.#ask(), Date.now())) {
          this.#knownAtMs = askedAtMs;
          this.#behind.wake();
          continue;
        }
      } catch {
        // An owner that moves, starts or is away: `lagMs` tells how long already.
      }
      await this.#behind.until(() => false, { timeoutMs: RETRY_MS, signal });
    }
  }

  async #ask(): Promise<News> {
    const { signal } = this.#closed;
    const { position } = this.#replica;
    if (this.#store.serves(REPLICATED_SHARD)) return this.#settled(() => this.handleFollow(position, signal));
    return parseNews(await this.#callOwner(FOLLOW_HANDLER, position, { key: REPLICATED_KEY, signal }));
  }

  /** As a call that came from elsewhere: the shard stays until it is done, and all that it saw is held by its copies. */
  async #settled<T>(work: () => T | Promise<T>): Promise<T> {
    const leave = this.#store.enter([REPLICATED_SHARD]);
    try {
      const result = await work();
      await this.#store.settled([REPLICATED_SHARD]);
      return result;
    } finally {
      leave();
    }
  }
}
