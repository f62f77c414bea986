import { isDeepStrictEqual } from 'node:util';
import type { CachesFigures } from '../../protocol/cache-figures.js';
import { CacheCounts } from './cache-counts.js';
import { unreachable } from './cache-errors.js';
import { CacheListener } from './cache-listener.js';
import { type CacheTarget, RedisCache } from './redis-cache.js';

/** A component with instances on this host whose state is in a cache. */
export interface WantedCache {
  app: string;
  component: string;
  valueBytesMax: number;
  /** Or why it cannot be reached at all, such as a secret that was not set. */
  target: CacheTarget | string;
}

/** Where an instance of such a component dials. */
export interface WantedListener {
  /** `APP/COMPONENT`. */
  of: string;
  path: string;
  owner: number;
}

/** All that shall be: by `APP/COMPONENT`. */
export interface WantedCaches {
  caches: Record<string, WantedCache>;
  listeners: WantedListener[];
}

export interface CacheNews {
  /** `APP/COMPONENT`; why its cache cannot be reached, null when it can. */
  of: string;
  trouble: string | null;
}

interface Held {
  wanted: WantedCache;
  counts: CacheCounts;
  redis: RedisCache | null;
}

/** The caches of this host's instances: connections that all instances of a component share, and a socket for each instance. */
export class HostCaches {
  readonly #tell: (news: CacheNews) => void;
  readonly #held = new Map<string, Held>();
  readonly #listeners = new Map<string, { of: string; listener: CacheListener }>();
  #working: Promise<void> = Promise.resolve();

  constructor(tell: (news: CacheNews) => void) {
    this.#tell = tell;
  }

  /** One after the other. Rejects when a socket cannot be listened on; what was done stays. */
  sync(wanted: WantedCaches): Promise<void> {
    const done = this.#working.then(() => this.#sync(wanted));
    this.#working = done.catch(() => undefined);
    return done;
  }

  /** What was done with each, up to now. */
  figures(): CachesFigures {
    const clients = new Map<string, number>();
    for (const { of, listener } of this.#listeners.values()) clients.set(of, (clients.get(of) ?? 0) + listener.clients);
    return Object.fromEntries(
      [...this.#held].map(([key, { counts, redis }]) => {
        const now = { connections: redis?.connections ?? 0, clients: clients.get(key) ?? 0 };
        return [key, { ...counts.take(), ...now }];
      }),
    );
  }

  close(): void {
    for (const { listener } of this.#listeners.values()) listener.close();
    for (const { redis } of this.#held.values()) redis?.close();
    this.#listeners.clear();
    this.#held.clear();
  }

  async #sync({ caches, listeners }: WantedCaches): Promise<void> {
    const paths = new Set(listeners.map(({ path }) => path));
    for (const [path, { listener }] of this.#listeners) {
      if (paths.has(path)) continue;
      listener.close();
      this.#listeners.delete(path);
    }
    for (const [key, { redis }] of this.#held) {
      if (Object.hasOwn(caches, key)) continue;
      redis?.close();
      this.#held.delete(key);
    }
    for (const [key, wanted] of Object.entries(caches)) this.#hold(key, wanted);
    for (const each of listeners) if (!this.#listeners.has(each.path)) await this.#listen(each);
  }

  #hold(key: string, wanted: WantedCache): void {
    const before = this.#held.get(key);
    if (before !== undefined && isDeepStrictEqual(before.wanted.target, wanted.target)) {
      before.wanted = wanted;
      return;
    }
    before?.redis?.close();
    const { target } = wanted;
    const counts = before?.counts ?? new CacheCounts();
    // Another server knows nothing of what was read from the one before.
    this.#stale(key, null);
    if (typeof target === 'string') {
      this.#held.set(key, { wanted, counts, redis: null });
      this.#tell({ of: key, trouble: target });
      return;
    }
    const redis = new RedisCache(target, {
      stale: (stale) => this.#stale(key, stale),
      near: (untilMs) => this.#each(key, (listener) => listener.near(untilMs)),
      trouble: (trouble) => this.#tell({ of: key, trouble }),
    });
    this.#held.set(key, { wanted, counts, redis });
  }

  /**
   * Not before what was read earlier has gone to the instances: they would keep it after having been told that it is stale. Answers
   * of the same packet are settled by then.
   */
  #stale(key: string, stale: string | null): void {
    setImmediate(() => this.#each(key, (listener) => listener.stale(stale)));
  }

  #each(key: string, action: (listener: CacheListener) => void): void {
    for (const { of, listener } of this.#listeners.values()) if (of === key) action(listener);
  }

  async #listen({ of, path, owner }: WantedListener): Promise<void> {
    const { wanted, counts } = this.#get(of);
    const cache = () => {
      const { redis, wanted: now } = this.#get(of);
      if (redis === null) throw unreachable(typeof now.target === 'string' ? now.target : 'it is not known');
      return redis;
    };
    const listener = new CacheListener(wanted, cache, () => this.#get(of).wanted.valueBytesMax, counts);
    await listener.listen(path, owner);
    this.#listeners.set(path, { of, listener });
  }

  #get(key: string): Held {
    const held = this.#held.get(key);
    if (held === undefined) throw unreachable(`${key} has none any more`);
    return held;
  }
}
