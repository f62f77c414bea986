import { CACHE_SOCKET } from '../../protocol/cache.js';
import { parseCacheAddress } from '../../protocol/cache-address.js';
import type { Cache, Component } from '../../protocol/manifest.js';
import type { WantedCache, WantedCaches } from './host-caches.js';
import type { CacheTarget } from './redis-cache.js';

/** An instance of this host, or a process that waits to be one. */
export interface CachedInstance {
  app: string;
  component: string;
  made: Component;
  /** First of its user ids. */
  owner: number;
  /** Path on the host of what it has as /run/shoal/NAME. */
  socket(name: string): string;
}

/** The caches that instances of this host need. `componentOf`: as the manifest says now; `secretOf`: the value in base64. */
export function wantedCaches(
  instances: Iterable<CachedInstance>,
  componentOf: (app: string, component: string) => Component | undefined,
  secretOf: (app: string, name: string) => string | undefined,
): WantedCaches {
  const wanted: WantedCaches = { caches: {}, listeners: [] };
  for (const { app, component, made, owner, socket } of instances) {
    const cache = componentOf(app, component)?.cache ?? made.cache;
    if (made.cache === undefined || cache === undefined) continue;
    const key = `${app}/${component}`;
    wanted.caches[key] ??= cacheOf(app, component, cache, secretOf);
    wanted.listeners.push({ of: key, path: socket(SOCKET_NAME), owner });
  }
  return wanted;
}

const SOCKET_NAME = CACHE_SOCKET.replace(/^.*\/|\.sock$/g, '');

function cacheOf(
  app: string,
  component: string,
  cache: Cache,
  secretOf: (app: string, name: string) => string | undefined,
): WantedCache {
  const { valueBytesMax } = cache;
  return { app, component, valueBytesMax, target: targetOf(app, cache, secretOf) };
}

function targetOf(
  app: string,
  { servers, isCluster, user, password, ca, near }: Cache,
  secretOf: (app: string, name: string) => string | undefined,
): CacheTarget | string {
  const target: CacheTarget = { servers: [], isCluster, near: near !== undefined };
  for (const text of servers) {
    const address = parseCacheAddress(text);
    if (address === null) return 'the manifest names no address of a server that this version understands';
    target.servers.push(address);
  }
  if (user !== undefined) target.user = user;
  for (const [field, name] of [
    ['password', password],
    ['ca', ca],
  ] as const) {
    if (name === undefined) continue;
    const value = secretOf(app, name);
    if (value === undefined) return `the secret ${name} was not set: \`shoal secret set ${app}/${name}\``;
    // A file often ends with a line's end that is no part of a password.
    target[field] = Buffer.from(value, 'base64')
      .toString()
      .replace(/\r?\n$/, '');
  }
  return target;
}
