import { type ErrorCode, isErrorCode, ShoalError } from './errors.js';
import { LIMITS } from './limits.js';

/**
 * What is said over a connection on which the entries of a component's state shards are read or written, between who asked for it
 * and the agent of a host, in frames as in frame.ts. The coordinator only carries it. Requests are answered one after the
 * other: the next one is sent when the one before is answered.
 */
export const STATE_PROTOCOL = 'shoal-state/1';

/** `replace`: what the shard has beside what was written is gone when the last part is written. */
export type WriteMode = 'merge' | 'replace';

/** Of a shard that is written: parts in order, from 0. The same can be written again with the same result. */
export interface WritePart {
  shard: number;
  part: number;
  mode: WriteMode;
  /** Whole records, as in a segment. */
  records: Uint8Array;
  last: boolean;
}

export type ToState =
  /** All entries of a shard as they are now. */
  { type: 'read'; shard: number } | ({ type: 'write' } & WritePart);

export type FromState =
  /** Whole records of the shard that is read. */
  | { type: 'records'; records: Uint8Array }
  /** The shard was read: so many entries, as of this write. */
  | { type: 'read'; entries: number; last: number }
  /** The part was written, and is held by as many hosts as the component asks for; so many entries were removed with it. */
  | { type: 'written'; removed: number }
  /** Nothing of this request is of use. With SHOAL_E_SHARD_MOVED the shard is elsewhere, now. */
  | { type: 'refused'; code: ErrorCode; why: string };

const TEXT_LENGTH_MAX = 2_000;

/** Throws SHOAL_E_FRAME. */
export function readToState(message: unknown): ToState {
  const { type, shard } = fieldsOf(message);
  if (type === 'read' && isShard(shard)) return { type, shard };
  if (type === 'write') return { type, ...readWritePart(message) };
  throw new ShoalError('SHOAL_E_FRAME', 'of state a shard is read, or a part of one written');
}

/** Throws SHOAL_E_FRAME. */
export function readWritePart(message: unknown): WritePart {
  const { shard, part, mode, records, last } = fieldsOf(message);
  const isPart = isShard(shard) && isCount(part) && typeof last === 'boolean';
  if (isPart && (mode === 'merge' || mode === 'replace') && records instanceof Uint8Array) {
    return { shard, part, mode, records, last };
  }
  throw new ShoalError('SHOAL_E_FRAME', 'a part of a state shard has a wrong shape');
}

/** Throws SHOAL_E_FRAME. */
export function readFromState(message: unknown): FromState {
  const { type, records, entries, last, removed, code, why } = fieldsOf(message);
  if (type === 'records' && records instanceof Uint8Array) return { type, records };
  if (type === 'read' && isCount(entries) && isCount(last)) return { type, entries, last };
  if (type === 'written' && isCount(removed)) return { type, removed };
  if (type === 'refused' && isErrorCode(code) && typeof why === 'string') {
    return { type, code, why: why.slice(0, TEXT_LENGTH_MAX) };
  }
  throw new ShoalError('SHOAL_E_FRAME', 'of state there are records, what was read or written, and refusals');
}

function fieldsOf(message: unknown): Partial<Record<string, unknown>> {
  return typeof message === 'object' && message !== null ? { ...message } : {};
}
function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}
function isShard(value: unknown): value is number {
  return isCount(value) && value < LIMITS.shardCountMax;
}
