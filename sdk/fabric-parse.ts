import type { FabricRequest, FabricResponse, StreamMessage } from '../protocol/control.js';
import { isErrorCode, ShoalError } from '../protocol/errors.js';
import { LIMITS } from '../protocol/limits.js';
import { shardOfKey } from '../protocol/shard.js';

/** What was read of a last item may be given back at once with what came before: more than a window at most by one item. */
const CREDIT_MAX = LIMITS.streamWindowBytes + LIMITS.streamItemOverheadBytes + LIMITS.frameBytesMax;

/** `shardCount`: of this component; undefined when it has no state shards. */
export function parseRequest(message: unknown, shardCount: number | undefined): FabricRequest {
  const fail = (what: string) => new ShoalError('SHOAL_E_FRAME', `request: ${what}`);
  if (typeof message !== 'object' || message === null) throw fail('is not a map');
  const { type, id, handler, key, shards, deadlineMs, stream, input, moved, body, bytes } = message as Record<
    string,
    unknown
  >;
  if (typeof id !== 'number' || !Number.isSafeInteger(id)) throw fail('has no id');
  if (type === 'cancel' || type === 'end') return { type, id };
  if (type === 'item' || type === 'credit') return parseStreamMessage(type, id, bytes, fail);
  if (type !== 'call' || typeof handler !== 'string') throw fail('is none that there is');
  const endless = deadlineMs === undefined && (stream !== undefined || input === true);
  if (!endless && (typeof deadlineMs !== 'number' || !(deadlineMs > 0) || deadlineMs > LIMITS.callDeadlineMsMax)) {
    throw fail(`deadline of ${String(deadlineMs)} ms`);
  }
  if (stream !== undefined && !isCredit(stream)) throw fail('has a wrong credit');
  if (key !== undefined && typeof key !== 'string') throw fail('key is no text');
  if (shards !== undefined && !areShards(shards, shardCount)) throw fail('shards are no shard numbers');
  if (key !== undefined && shards !== undefined) {
    const shard = shardCount === undefined ? undefined : shardOfKey(key, shardCount);
    if (shards.length !== 1 || shards[0] !== shard) throw fail('the shards are not those of the key');
  }
  const call: Extract<FabricRequest, { type: 'call' }> = { type, id, handler, body };
  if (typeof deadlineMs === 'number') call.deadlineMs = deadlineMs;
  if (key !== undefined) call.key = key;
  if (shards !== undefined) call.shards = shards;
  if (stream !== undefined) call.stream = stream;
  if (input === true) call.input = true;
  if (moved === true) call.moved = true;
  return call;
}

function parseStreamMessage(
  type: 'item' | 'credit',
  id: number,
  bytes: unknown,
  fail: (what: string) => ShoalError,
): StreamMessage {
  if (type === 'item' && bytes instanceof Uint8Array) return { type, id, bytes };
  if (type === 'credit' && isCredit(bytes)) return { type, id, bytes };
  throw fail(`${type} has a wrong shape`);
}

function isCredit(value: unknown): value is number {
  return Number.isInteger(value) && (value as number) > 0 && (value as number) <= CREDIT_MAX;
}

function areShards(value: unknown, count: number = LIMITS.shardCountMax): value is number[] {
  if (!Array.isArray(value) || value.length > count) return false;
  return value.every((shard) => Number.isInteger(shard) && shard >= 0 && shard < count);
}

/** The response when it has the right shape; throws SHOAL_E_FRAME otherwise. */
export function parseResponse(message: unknown): FabricResponse {
  const fail = (what: string) => new ShoalError('SHOAL_E_FRAME', `response: ${what}`);
  if (typeof message !== 'object' || message === null) throw fail('is not a map');
  const { type, id, body, code, detail, outstanding, refused, owner, bytes } = message as Record<string, unknown>;
  if (type === 'leaving') return { type };
  if (typeof id !== 'number') throw fail('has no id');
  if (type === 'item' || type === 'credit') return parseStreamMessage(type, id, bytes, fail);
  if (type === 'stop') return { type, id };
  if (typeof outstanding !== 'number') throw fail('has no count of calls');
  if (type === 'result') return { type, id, body, outstanding };
  if (type !== 'error' || !isErrorCode(code) || typeof detail !== 'string') throw fail('is neither result nor error');
  const error: FabricResponse = { type, id, code, detail, outstanding, refused: refused === true };
  if (typeof owner === 'string') error.owner = owner;
  return error;
}
