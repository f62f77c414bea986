import { Packr } from 'msgpackr';
import { ShoalError, toShoalError } from '../../protocol/errors.js';
import { LIMITS } from '../../protocol/limits.js';

// As in protocol/frame.ts; what is read is copied, since whose memory it is may use it again.
const packr = new Packr({ useRecords: false, moreTypes: false, copyBuffers: true });

/** A value of a state as it is kept: plain data in msgpack, or bytes as they are. Throws SHOAL_E_USAGE for what is neither. */
export function bytesOf(value: unknown, raw: boolean, state: string): Uint8Array {
  if (raw) {
    if (value instanceof Uint8Array) return value;
    throw new ShoalError('SHOAL_E_USAGE', `the values of ${state} are bytes, as it is raw`);
  }
  if (value === undefined) throw new ShoalError('SHOAL_E_USAGE', 'undefined is no value: delete the entry');
  try {
    return packr.pack(value);
  } catch (cause) {
    throw new ShoalError('SHOAL_E_USAGE', `a value is no plain data: ${toShoalError(cause).message}`, { cause });
  }
}

/** The value that is kept as these bytes; those of a raw state become the caller's. Throws SHOAL_E_STATE_DAMAGED. */
export function readValue<Value>(bytes: Uint8Array, raw: boolean, state: string): Value {
  if (raw) return bytes as Value;
  try {
    return packr.unpack(bytes as Buffer) as Value;
  } catch (cause) {
    throw new ShoalError('SHOAL_E_STATE_DAMAGED', `a value of state ${state} cannot be read`, { cause });
  }
}

/** Throws SHOAL_E_USAGE for what is no time to live. */
export function ttlOf(ttlMs: number): number {
  if (ttlMs > 0 && ttlMs <= LIMITS.stateTtlMsMax) return ttlMs;
  throw new ShoalError('SHOAL_E_USAGE', `ttlMs must be above 0 and at most ${LIMITS.stateTtlMsMax}, not ${ttlMs}`);
}

/** What `change` makes of the value. Throws SHOAL_E_USAGE when it is asynchronous. */
export function changed<Value>(
  change: (value: Value | undefined) => Value | undefined,
  before: Value | undefined,
): Value | undefined {
  const after = change(before);
  if (!(after instanceof Promise)) return after;
  // What it comes to is nobody's matter any more.
  after.catch(() => undefined);
  throw new ShoalError('SHOAL_E_USAGE', 'the change of an update may not be asynchronous: read what it needs before');
}
