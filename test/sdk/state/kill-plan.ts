import type { LogLimits } from '../../../sdk/state/shard-log.js';

export const KILL_LIMITS: LogLimits = { shardBytesMax: 256 * 1024, valueBytesMax: 64 * 1024 };
export const KILL_KEYS = 37;

/** What write number n sets; every length comes up. */
export function killValue(n: number): Buffer {
  return Buffer.alloc((n * 131) % 5_000, `${n} `);
}
