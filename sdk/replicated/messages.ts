import { type AskedOfCache, parseCacheRequest } from '../../protocol/cache.js';
import { ShoalError } from '../../protocol/errors.js';

/**
 * What the instances of a component with `state: replicated` ask of the one that owns its entries, by calls that carry
 * the key REPLICATED_KEY and so go to the owner, wherever that is.
 */
export const FOLLOW_HANDLER = 'shoal:follow';
export const WRITE_HANDLER = 'shoal:write';
/** All entries are in one state shard, that of any key. */
export const REPLICATED_SHARD = 0;
export const REPLICATED_KEY = '';

/** Handlers of the SDK itself, whose names a component may not take. */
export function isOwnHandler(name: string): boolean {
  return name.startsWith('shoal:');
}

/** Up to where entries are known: all writes up to this index of the owner with this epoch, which is later than any owner's before. */
export interface Position {
  epoch: number;
  index: number;
}

/** What is before any owner. */
export const NOWHERE: Position = { epoch: -1, index: -1 };

export function isBefore(a: Position, b: Position): boolean {
  return a.epoch < b.epoch || (a.epoch === b.epoch && a.index < b.index);
}

/** `value` null: the entry is gone. `expiresAtMs`: since 1970; 0: never. */
export type Change = [state: string, key: string, value: Uint8Array | null, expiresAtMs: number];

/**
 * Answers FOLLOW_HANDLER, whose body is the asker's position: `changes` are those after the index `from`, in order, up to
 * the position; or, with `from` null, all entries that there are.
 */
export interface News extends Position {
  from: number | null;
  changes: Change[];
}

/** Answers WRITE_HANDLER. `value`: of a swap, what was found instead. `position`: from where on replicas have it. */
export interface Written {
  did: boolean;
  value: Uint8Array | null;
  position: Position;
}

/** As the requests of `state: cache`, without get. */
export type WriteRequest = Exclude<AskedOfCache, { type: 'get' }>;

/** The body of a call to WRITE_HANDLER; throws SHOAL_E_FRAME for another shape. */
export function parseWrite(body: unknown): WriteRequest {
  const request = parseCacheRequest(isRecord(body) ? { ...body, id: 0 } : body);
  if (request.type === 'get') throw new ShoalError('SHOAL_E_FRAME', 'a write of replicated state: get is none');
  return request;
}

/** Throws SHOAL_E_FRAME for another shape; so do the next ones. */
export function parsePosition(value: unknown): Position {
  const { epoch, index } = isRecord(value) ? value : {};
  if (isPlace(epoch) && isPlace(index)) return { epoch, index };
  throw new ShoalError('SHOAL_E_FRAME', 'replicated state: a position has no epoch or index');
}

export function parseNews(value: unknown): News {
  const position = parsePosition(value);
  const { from, changes } = value as Record<string, unknown>;
  const fail = (what: string) => new ShoalError('SHOAL_E_FRAME', `news of replicated state: ${what}`);
  if (from !== null && !isPlace(from)) throw fail('begin nowhere');
  if (!Array.isArray(changes) || !changes.every(isChange)) throw fail('have changes that are none');
  if (from !== null && changes.length !== position.index - from) throw fail('lack changes');
  return { ...position, from, changes };
}

export function parseWritten(body: unknown): Written {
  const { did, value, position } = isRecord(body) ? body : {};
  if (typeof did === 'boolean' && (value === null || value instanceof Uint8Array)) {
    return { did, value, position: parsePosition(position) };
  }
  throw new ShoalError('SHOAL_E_FRAME', 'the answer to a write of replicated state has a wrong shape');
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null;
}

function isPlace(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= -1;
}

function isChange(value: unknown): value is Change {
  if (!Array.isArray(value) || value.length !== 4) return false;
  const [state, key, bytes, expiresAtMs] = value;
  const named = typeof state === 'string' && typeof key === 'string';
  return named && (bytes === null || bytes instanceof Uint8Array) && Number.isFinite(expiresAtMs) && expiresAtMs >= 0;
}
