import { createClient, createCluster, RESP_TYPES } from '@redis/client';
import type { CacheAddress } from '../../protocol/cache-address.js';
import { ShoalError, toShoalError } from '../../protocol/errors.js';
import { LIMITS } from '../../protocol/limits.js';
import { monotonicMs } from '../../protocol/monotonic.js';
import { cacheError, unreachable } from './cache-errors.js';
import { Invalidations } from './invalidations.js';

/** Everything that is needed to reach a cache. */
export interface CacheTarget {
  servers: CacheAddress[];
  isCluster: boolean;
  user?: string;
  password?: string;
  /** Certificates of authorities, in PEM. */
  ca?: string;
  /** Whether what instances keep near is to be told when it is stale. */
  near: boolean;
}

export interface CacheEvents {
  /** What was read of this key is not its value any more; null: of any key. */
  stale(key: string | null): void;
  /** What is stale by then, in ms of CLOCK_MONOTONIC, will have been told by then. */
  near(untilMs: number): void;
  /** It can be reached; or not, and why. */
  trouble(why: string | null): void;
}

/** One server or a Redis Cluster, behind the same few words. */
interface Client {
  send(key: string, isReadonly: boolean, words: (string | Buffer)[]): Promise<unknown>;
  /** Asks each server that is connected for a sign of life. */
  ping(): Promise<unknown>;
  connect(): Promise<unknown>;
  destroy(): void;
  /** Servers that it is connected to. */
  connected(): number;
}

/** The value, and how long it lasts: -1 for good, -2 where there is none. In one step, so that they belong together. */
const READ = `return {redis.call('GET', KEYS[1]), redis.call('PTTL', KEYS[1])}`;

/** ARGV: whether there shall have been a value, and which; whether there shall be one, and which; its PX, or nothing. */
const SWAP = `
local before = ARGV[1] == '1' and ARGV[2]
local found = redis.call('GET', KEYS[1])
if found ~= before then return {0, found} end
if ARGV[3] == '0' then redis.call('DEL', KEYS[1])
elseif ARGV[5] ~= '' then redis.call('SET', KEYS[1], ARGV[4], 'PX', ARGV[5])
else redis.call('SET', KEYS[1], ARGV[4], 'KEEPTTL') end
return {1}`;

const TYPES = { typeMapping: { [RESP_TYPES.BLOB_STRING]: Buffer } } as const;

/**
 * The connections of this agent to one cache: one to each server, over which the commands of all its instances go one after the
 * other. Rejects what it cannot send at once, and gives up a server that says nothing.
 */
export class RedisCache {
  readonly #target: CacheTarget;
  readonly #events: CacheEvents;
  readonly #near: boolean;
  #client: Client;
  #trouble: string | null = 'it has not answered yet';
  #beat: NodeJS.Timeout;
  /** When it was asked for a sign of life that has not come yet. */
  #askedMs: number | null = null;
  #again: NodeJS.Timeout | undefined;
  #delayMs: number = LIMITS.reconnectMsMin;
  #closed = false;

  constructor(target: CacheTarget, events: CacheEvents) {
    this.#target = target;
    this.#events = events;
    this.#near = target.near;
    this.#client = this.#dial();
    this.#beat = setInterval(() => void this.#lookAlive(), LIMITS.cachePingMs);
  }

  /** Connections that can be used now. */
  get connections(): number {
    return this.#client.connected();
  }

  /** Rejects with SHOAL_E_UNREACHABLE, SHOAL_E_DEADLINE or SHOAL_E_PEER_DIED. `ttlMs` only when it is told what is stale. */
  async get(key: string): Promise<{ value: Buffer | null; ttlMs?: number }> {
    if (!this.#near) return { value: asValue(await this.#send(key, true, ['GET', key])) };
    const [value, ttlMs] = asList(await this.#send(key, false, ['EVAL', READ, '1', key]));
    return { value: asValue(value), ...(typeof ttlMs === 'number' && ttlMs >= 0 ? { ttlMs } : {}) };
  }

  async set(key: string, value: Uint8Array, ttlMs: number | undefined): Promise<void> {
    const lasts = ttlMs === undefined ? [] : ['PX', String(ttlMs)];
    await this.#send(key, false, ['SET', key, bufferOf(value), ...lasts]);
  }

  /** Whether there was such an entry. */
  async delete(key: string): Promise<boolean> {
    return (await this.#send(key, false, ['DEL', key])) === 1;
  }

  /** Whether the value was `before`, so that it is `after` now; and else what it was. */
  async swap(
    key: string,
    before: Uint8Array | null,
    after: Uint8Array | null,
    ttlMs: number | undefined,
  ): Promise<{ did: boolean; value: Buffer | null }> {
    const given = (value: Uint8Array | null) => (value === null ? ['0', ''] : ['1', bufferOf(value)]);
    const words = ['EVAL', SWAP, '1', key, ...given(before), ...given(after), String(ttlMs ?? '')];
    const [did, value] = asList(await this.#send(key, false, words));
    return { did: did === 1, value: asValue(value ?? null) };
  }

  close(): void {
    this.#closed = true;
    clearInterval(this.#beat);
    clearTimeout(this.#again);
    this.#client.destroy();
  }

  async #send(key: string, isReadonly: boolean, words: (string | Buffer)[]): Promise<unknown> {
    if (this.#closed) throw unreachable('its settings have changed');
    try {
      return await this.#client.send(key, isReadonly, words);
    } catch (error) {
      throw cacheError(error, this.#trouble);
    }
  }

  #dial(): Client {
    const failed = (error: unknown) => {
      if (!this.#closed) this.#say(toShoalError(error).message.slice(0, TROUBLE_LENGTH_MAX));
    };
    const make = this.#target.isCluster ? clusterOf : serverOf;
    const client = make(this.#target, this.#events, failed);
    this.#connect(client, failed);
    return client;
  }

  #connect(client: Client, failed: (error: unknown) => void): void {
    client.connect().then(
      () => {
        this.#delayMs = LIMITS.reconnectMsMin;
      },
      (error: unknown) => {
        if (this.#closed || client !== this.#client) return;
        failed(error);
        this.#again = setTimeout(() => this.#connect(client, failed), this.#delayMs);
        this.#delayMs = Math.min(LIMITS.reconnectMsMax, 2 * this.#delayMs);
      },
    );
  }

  /** What was sent to a server that hangs would wait for as long as it does. */
  #dialAnew(): void {
    clearTimeout(this.#again);
    this.#client.destroy();
    this.#askedMs = null;
    this.#events.stale(null);
    this.#say(`it has said nothing for ${LIMITS.cacheSilenceMsMax} ms`);
    this.#client = this.#dial();
  }

  async #lookAlive(): Promise<void> {
    const nowMs = monotonicMs();
    if (this.#askedMs !== null) {
      if (nowMs - this.#askedMs > LIMITS.cacheSilenceMsMax) this.#dialAnew();
      return;
    }
    const client = this.#client;
    this.#askedMs = nowMs;
    const alive = await client.ping().then(
      () => true,
      // Who gives a command is told why, and so are the listeners for errors of the client.
      () => false,
    );
    if (this.#closed || client !== this.#client) return;
    this.#askedMs = null;
    if (!alive) return;
    this.#say(null);
    if (this.#near) this.#events.near(nowMs + LIMITS.cacheNearMsMax);
  }

  #say(trouble: string | null): void {
    if (trouble === this.#trouble) return;
    this.#trouble = trouble;
    this.#events.trouble(trouble);
  }
}

const TROUBLE_LENGTH_MAX = 500;

/** What holds for each connection. */
function optionsOf({ user, password, ca, near, servers }: CacheTarget, events: CacheEvents) {
  const tls = servers[0]?.tls === true ? { tls: true as const, ...(ca === undefined ? {} : { ca }) } : {};
  return {
    connection: {
      ...(user === undefined ? {} : { username: user }),
      ...(password === undefined ? {} : { password }),
      disableOfflineQueue: true,
      maintNotifications: 'disabled' as const,
      socket: {
        ...tls,
        connectTimeout: LIMITS.cacheSilenceMsMax,
        // While it waits for the first answer; later on something is always written.
        socketTimeout: LIMITS.cacheSilenceMsMax,
        reconnectStrategy: (retries: number) =>
          Math.min(LIMITS.reconnectMsMax, LIMITS.reconnectMsMin * 2 ** Math.min(retries, 10)),
      },
    },
    ...(near ? { clientSideCache: new Invalidations((key) => events.stale(key)) } : {}),
  };
}

function serverOf(target: CacheTarget, events: CacheEvents, failed: (error: unknown) => void): Client {
  const { connection, ...tracking } = optionsOf(target, events);
  const [address] = target.servers;
  if (address === undefined) throw new ShoalError('SHOAL_E_INTERNAL', 'a cache has no server');
  const { host, port, database } = address;
  const socket = { ...connection.socket, host, port };
  const client = createClient({ ...connection, ...tracking, RESP: 3, database, socket });
  client.on('error', failed);
  return {
    send: (_key, _isReadonly, words) => client.sendCommand(words, TYPES),
    ping: () => client.sendCommand(['PING']),
    connect: () => client.connect(),
    destroy: () => client.destroy(),
    connected: () => (client.isReady ? 1 : 0),
  };
}

function clusterOf(target: CacheTarget, events: CacheEvents, failed: (error: unknown) => void): Client {
  const { connection, ...tracking } = optionsOf(target, events);
  const rootNodes = target.servers.map(({ host, port }) => ({ socket: { ...connection.socket, host, port } }));
  // Connections when they are needed: one server that hangs must not keep the others waiting.
  const cluster = createCluster({ rootNodes, defaults: connection, ...tracking, minimizeConnections: true, RESP: 3 });
  cluster.on('error', failed);
  cluster.on('node-error', failed);
  const ready = () =>
    cluster.masters.flatMap(({ client }) =>
      client !== undefined && 'isReady' in client && client.isReady ? [client] : [],
    );
  return {
    send: (key, isReadonly, words) => cluster.sendCommand(key, isReadonly, words, TYPES),
    // Those that have no connection now have read nothing that could be stale.
    ping: async () => {
      if (!cluster.isReady) throw unreachable('it is not connected yet');
      await Promise.all(ready().map((client) => client.sendCommand(['PING'])));
    },
    connect: () => cluster.connect(),
    destroy: () => cluster.destroy(),
    connected: () => ready().length,
  };
}

function bufferOf(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
function asList(reply: unknown): unknown[] {
  if (Array.isArray(reply)) return reply;
  throw new ShoalError('SHOAL_E_UNREACHABLE', 'the cache answered a script by something else than a list');
}
function asValue(reply: unknown): Buffer | null {
  if (reply === null || Buffer.isBuffer(reply)) return reply;
  throw new ShoalError('SHOAL_E_UNREACHABLE', 'the cache answered something else than a value');
}
