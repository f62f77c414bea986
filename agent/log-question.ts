import { ShoalError } from '../protocol/errors.js';
import { LIMITS } from '../protocol/limits.js';
import { LOG_FILE_LENGTH_MAX, type LogFrom, type LogQuestion } from '../protocol/log.js';
import { isInstanceId } from './desired.js';

const BUILD_ID = /^[0-9a-f]{16}$/;

/** What the coordinator asks for, checked: the id becomes the name of a folder. Throws SHOAL_E_FRAME. */
export function parseLogQuestion(message: { request?: unknown; of?: unknown }): LogQuestion {
  const { kind, id, from } = (message.of ?? {}) as Record<string, unknown>;
  const place = parseFrom(from);
  if (!Number.isSafeInteger(message.request) || place === null)
    throw new ShoalError('SHOAL_E_FRAME', 'the coordinator asks for a log from nowhere on');
  if (kind === 'instance' && isInstanceId(id)) return { kind, id, from: place };
  if (kind === 'build' && typeof id === 'string' && BUILD_ID.test(id)) return { kind, id, from: place };
  throw new ShoalError('SHOAL_E_FRAME', 'the coordinator asks for the log of nothing');
}

function parseFrom(value: unknown): LogFrom | null {
  const { tail, file, position } = (value ?? {}) as Record<string, unknown>;
  if (isCount(tail, LIMITS.logTailLinesMax)) return { tail };
  const isFile = typeof file === 'string' && file.length <= LOG_FILE_LENGTH_MAX;
  return isFile && isCount(position, Number.MAX_SAFE_INTEGER) ? { file, position } : null;
}

function isCount(value: unknown, most: number): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 && value <= most;
}
