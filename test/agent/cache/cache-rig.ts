import { mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Test } from 'tap';
import { type CacheNews, HostCaches } from '../../../agent/cache/host-caches.js';
import type { CacheTarget } from '../../../agent/cache/redis-cache.js';
import type { CacheFigures } from '../../../protocol/cache-figures.js';
import type { CachedSettings } from '../../../protocol/control.js';
import { RedisServer } from '../../../scripts/lib/state/redis-server.js';
import { CacheConnection } from '../../../sdk/cache/cache-connection.js';
import { SharedState } from '../../../sdk/shared-state.js';
import type { KeyedState, StateOptions } from '../../../sdk/state.js';

export const SETTINGS: CachedSettings = { mode: 'cache', valueBytesMax: 1024 * 1024 };
export const NEAR: CachedSettings = { ...SETTINGS, near: { bytesMax: 1024 * 1024, entriesMax: 1000 } };

/** The agent's side of caches, and instances' own, over real sockets in this process. */
export class CacheRig {
  readonly news: CacheNews[] = [];
  readonly #caches = new HostCaches((news) => this.news.push(news));
  readonly #instances: CacheConnection[] = [];
  readonly #paths = new Map<string, string>();

  private constructor(readonly folder: string) {}

  static async make(): Promise<CacheRig> {
    return new CacheRig(await mkdtemp('/dev/shm/shoal-cache-'));
  }

  /** What the agent last said of the cache. */
  get trouble(): string | null | undefined {
    return this.news.at(-1)?.trouble;
  }

  /** What was done with the cache of the component. */
  figuresOf(component = 'shop'): CacheFigures | undefined {
    return this.#caches.figures()[`app/${component}`];
  }

  /** The component's instances are to reach this cache, from now on. */
  async want(target: CacheTarget | string, ids: readonly string[], component = 'shop'): Promise<void> {
    for (const id of ids) this.#paths.set(id, join(this.folder, `${id}.sock`));
    const key = `app/${component}`;
    await this.#caches.sync({
      caches: { [key]: { app: 'app', component, valueBytesMax: SETTINGS.valueBytesMax, target } },
      listeners: ids.map((id) => ({ of: key, path: this.path(id), owner: process.geteuid?.() ?? 0 })),
    });
  }

  path(id: string): string {
    return this.#paths.get(id) ?? '';
  }

  instance(id: string, settings: CachedSettings = SETTINGS): Instance {
    const connection = new CacheConnection(this.path(id), settings);
    this.#instances.push(connection);
    return new Instance(connection, settings);
  }

  async close(): Promise<void> {
    for (const instance of this.#instances) instance.close();
    this.#caches.close();
    await rm(this.folder, { recursive: true, force: true });
  }
}

export class Instance {
  constructor(
    readonly connection: CacheConnection,
    readonly settings: CachedSettings,
  ) {}

  state<Value>(name: string, options: StateOptions = {}): KeyedState<Value> {
    return new SharedState<Value>(this.connection, this.settings, name, options);
  }
}

export const PASSWORD = 'a secret of the app';

/** A rig with a server that has a password. */
export async function rigWith(t: Test, words: string[] = [], near = false) {
  const server = await RedisServer.start(words, PASSWORD);
  const rig = await CacheRig.make();
  t.teardown(async () => {
    await rig.close();
    await server.close();
  });
  const target: CacheTarget = { servers: [server.address], isCluster: false, password: PASSWORD, near };
  return { server, rig, target };
}
