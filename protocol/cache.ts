import { ShoalError } from './errors.js';
import { LIMITS } from './limits.js';

/**
 * What an instance with `state: cache` and its agent say to each other on the Unix socket CACHE_SOCKET, which the agent listens
 * on. Frames as in frame.ts. The instance dials, and dials again when the agent restarts. The agent alone speaks with the cache:
 * an instance names states and keys of its own component and has no password, no address and no other command.
 */
export const CACHE_SOCKET = '/run/shoal/cache.sock';

/** Which entry. */
export interface CacheEntry {
  state: string;
  key: string;
}

export type CacheRequest = { id: number } & CacheEntry &
  (
    | { type: 'get' }
    /** `ttlMs` absent: for good. */
    | { type: 'set'; value: Uint8Array; ttlMs?: number }
    | { type: 'delete' }
    /**
     * Sets `after` when the value is `before`; null: there is none, or shall be none. `ttlMs` absent: expires when it would
     * have.
     */
    | { type: 'swap'; before: Uint8Array | null; after: Uint8Array | null; ttlMs?: number }
  );

/** What is asked, whoever numbers it. */
export type AskedOfCache = CacheRequest extends infer One
  ? One extends CacheRequest
    ? Omit<One, 'id'>
    : never
  : never;

/** How often it has read from near that was not said on earlier connections; by an instance that may say so. */
export interface NearHits {
  type: 'near-hits';
  hits: number;
}

export type CacheReply =
  /** Answers get. `ttlMs`: how long it lasts from when it was asked for; only told to who keeps values near. */
  | { type: 'value'; id: number; value: Uint8Array | null; ttlMs?: number }
  /** Answers the others. `did`: there was something to delete; the value was `before`. `value`: of a swap, what it was if not. */
  | { type: 'done'; id: number; did: boolean; value?: Uint8Array | null }
  | { type: 'error'; id: number; code: string; detail: string }
  /** What is kept near of this entry is not its value any more; null: of any entry. */
  | { type: 'stale'; entry: CacheEntry | null }
  /** What is kept near may be used until then, in ms of CLOCK_MONOTONIC of the host. `counts`: near-hits may be said. */
  | { type: 'near'; untilMs: number; counts?: boolean };

const STATE_NAME = /^[a-z0-9][a-z0-9-]*$/;

/** The message of an instance; throws SHOAL_E_FRAME when it has another shape. */
export function parseCacheRequest(message: unknown): CacheRequest {
  const fail = (what: string) => new ShoalError('SHOAL_E_FRAME', `request for an entry of a state: ${what}`);
  if (typeof message !== 'object' || message === null) throw fail('is not a map');
  const { type, id, state, key, value, before, after, ttlMs } = message as Record<string, unknown>;
  if (typeof id !== 'number' || !Number.isSafeInteger(id) || id < 0) throw fail('has no id');
  if (typeof state !== 'string' || state.length > LIMITS.nameLengthMax || !STATE_NAME.test(state)) {
    throw fail('names no state');
  }
  if (typeof key !== 'string' || Buffer.byteLength(key) > LIMITS.stateKeyBytesMax) throw fail('has no key');
  if (ttlMs !== undefined && !isTtl(ttlMs)) throw fail('has a wrong ttlMs');
  const lasts = ttlMs === undefined ? {} : { ttlMs };
  switch (type) {
    case 'get':
    case 'delete':
      return { type, id, state, key };
    case 'set':
      if (!isValue(value)) throw fail('set has no value');
      return { type, id, state, key, value, ...lasts };
    case 'swap':
      if (!isValueOrNone(before) || !isValueOrNone(after)) throw fail('swap has no values');
      return { type, id, state, key, before, after, ...lasts };
    default:
      throw fail('has an unknown type');
  }
}

/** Whatever an instance says to its agent; throws SHOAL_E_FRAME when it has another shape. */
export function parseFromCached(message: unknown): CacheRequest | NearHits {
  const isHits = typeof message === 'object' && message !== null && 'type' in message && message.type === 'near-hits';
  if (!isHits) return parseCacheRequest(message);
  const { hits } = message as { hits?: unknown };
  if (typeof hits === 'number' && Number.isSafeInteger(hits) && hits >= 0) return { type: 'near-hits', hits };
  throw new ShoalError('SHOAL_E_FRAME', `message on ${CACHE_SOCKET}: near-hits says no number`);
}

/** The message of the agent; throws SHOAL_E_FRAME when it has another shape. */
export function parseCacheReply(message: unknown): CacheReply {
  const fail = (what: string) => new ShoalError('SHOAL_E_FRAME', `message of the agent on ${CACHE_SOCKET}: ${what}`);
  if (typeof message !== 'object' || message === null) throw fail('is not a map');
  const { type, id, value, ttlMs, did, code, detail, entry, untilMs, counts } = message as Record<string, unknown>;
  if (type === 'stale') {
    if (entry === null) return { type, entry };
    const { state, key } = (entry ?? {}) as Record<string, unknown>;
    if (typeof state !== 'string' || typeof key !== 'string') throw fail('stale names no entry');
    return { type, entry: { state, key } };
  }
  if (type === 'near') {
    if (typeof untilMs !== 'number') throw fail('near names no time');
    return { type, untilMs, ...(counts === true ? { counts } : {}) };
  }
  if (typeof id !== 'number') throw fail('has no id');
  if (type === 'value') {
    if (!isValueOrNone(value) || (ttlMs !== undefined && typeof ttlMs !== 'number')) throw fail('value has none');
    return { type, id, value, ...(ttlMs === undefined ? {} : { ttlMs }) };
  }
  if (type === 'done') {
    if (typeof did !== 'boolean' || (value !== undefined && !isValueOrNone(value)))
      throw fail('done has a wrong shape');
    return { type, id, did, ...(value === undefined ? {} : { value }) };
  }
  if (type === 'error' && typeof code === 'string' && typeof detail === 'string') return { type, id, code, detail };
  throw fail('has an unknown type');
}

function isValue(value: unknown): value is Uint8Array {
  return value instanceof Uint8Array && value.length <= LIMITS.stateValueBytesMax;
}
function isValueOrNone(value: unknown): value is Uint8Array | null {
  return value === null || isValue(value);
}
function isTtl(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 1 && value <= LIMITS.stateTtlMsMax;
}
