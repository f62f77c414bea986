import { STATE_VARIABLE, type StateSettings } from '../../protocol/control.js';
import { ShoalError } from '../../protocol/errors.js';
import { LIMITS } from '../../protocol/limits.js';

/** What the agent says of this component's state; null for one without. Throws SHOAL_E_USAGE for what makes no sense. */
export function stateSettings(env: NodeJS.ProcessEnv): StateSettings | null {
  const text = env[STATE_VARIABLE];
  if (text === undefined) return null;
  const fail = () => new ShoalError('SHOAL_E_USAGE', `${STATE_VARIABLE} is set by the agent and cannot be ${text}`);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw fail();
  }
  const { mode, shards, shardBytesMax, valueBytesMax, near, stalenessMs } = (value ?? {}) as Record<string, unknown>;
  if (mode === 'cache' && isUpTo(valueBytesMax, LIMITS.stateValueBytesMax)) {
    if (near === undefined) return { mode, valueBytesMax };
    const { bytesMax, entriesMax } = (near ?? {}) as Record<string, unknown>;
    if (!isUpTo(bytesMax, LIMITS.cacheNearBytesMax) || !isUpTo(entriesMax, LIMITS.cacheNearEntriesMax)) throw fail();
    return { mode, valueBytesMax, near: { bytesMax, entriesMax } };
  }
  const counts = isUpTo(shards, LIMITS.shardCountMax) && isUpTo(shardBytesMax, LIMITS.stateShardBytesMax);
  const isSharded = mode === 'partitioned' || (mode === 'replicated' && shards === 1);
  if (!isSharded || !counts || !isUpTo(valueBytesMax, LIMITS.stateValueBytesMax)) throw fail();
  if (stalenessMs === undefined) return { mode, shards, shardBytesMax, valueBytesMax };
  if (!isUpTo(stalenessMs, LIMITS.stateStalenessMsMax)) throw fail();
  return { mode, shards, shardBytesMax, valueBytesMax, stalenessMs };
}

function isUpTo(value: unknown, max: number): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 1 && value <= max;
}
