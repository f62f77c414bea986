import { ClientClosedError, ClientOfflineError, ErrorReply, RootNodesUnavailableError } from '@redis/client';
import { ShoalError } from '../../protocol/errors.js';

/** Redis' own words begin with a code in capitals (redis.io/docs, RESP: simple errors). */
const FULL = /^OOM\b|-OOM\b/;
const OF_OTHERS = /^WRONGTYPE\b|-WRONGTYPE\b/;

/** Why a command failed, for the instance that gave it. `trouble`: what is known of the connection. */
export function cacheError(error: unknown, trouble: string | null): ShoalError {
  const said = error instanceof Error ? error.message : String(error);
  if (error instanceof ShoalError) return error;
  if (error instanceof ErrorReply) {
    if (FULL.test(said)) return new ShoalError('SHOAL_E_STATE_FULL', `the cache has no memory left: ${said}`);
    if (OF_OTHERS.test(said)) {
      return new ShoalError('SHOAL_E_STATE_DAMAGED', 'the cache holds something else under this key than a value');
    }
    return new ShoalError('SHOAL_E_UNREACHABLE', `the cache refuses: ${said}`);
  }
  const neverSent = [ClientOfflineError, ClientClosedError, RootNodesUnavailableError];
  if (neverSent.some((kind) => error instanceof kind)) return unreachable(trouble ?? said);
  const detail = `the connection to the cache was lost: what was to be written may be written or not (${said})`;
  return new ShoalError('SHOAL_E_PEER_DIED', detail);
}

export function unreachable(trouble: string): ShoalError {
  return new ShoalError('SHOAL_E_UNREACHABLE', `the cache cannot be reached: ${trouble}`);
}
