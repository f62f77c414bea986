import { ShoalError } from './errors.js';
import { LIMITS } from './limits.js';
import { UNIT_BYTES } from './state-segment.js';

/**
 * A record of a state shard's log: two words (length of the value; length of name and key, length of the name, flags), then
 * the time it expires when it has one, name and key, value, and padding to the next unit.
 */
export const RECORD = { present: 1, tombstone: 2, raw: 4, expires: 8 } as const;
const ALL_FLAGS = RECORD.present | RECORD.tombstone | RECORD.raw | RECORD.expires;

export function recordUnits(keyLength: number, valueLength: number, flags: number): number {
  return 1 + ((flags & RECORD.expires) === 0 ? 0 : 1) + Math.ceil((keyLength + valueLength) / UNIT_BYTES);
}

/** Whether two first words of a record can be such, and what they lead to fits into so many units. */
export function isRecordHead(valueLength: number, word: number, unitsMax: number): boolean {
  const flags = word >>> 24;
  const keyLength = word & 0xffff;
  const nameLength = (word >>> 16) & 0xff;
  return (
    (flags & ~ALL_FLAGS) === 0 &&
    (flags & RECORD.present) !== 0 &&
    nameLength > 0 &&
    nameLength <= LIMITS.nameLengthMax &&
    keyLength >= nameLength &&
    keyLength - nameLength <= LIMITS.stateKeyBytesMax &&
    valueLength <= LIMITS.stateValueBytesMax &&
    ((flags & RECORD.tombstone) === 0 || valueLength === 0) &&
    recordUnits(keyLength, valueLength, flags) <= unitsMax
  );
}

/** A record as it lies in bytes that somebody else wrote. */
export interface RecordView {
  /** Whole, padding included. */
  bytes: Buffer;
  /** Name and key, as they tell entries apart. */
  key: string;
  gone: boolean;
  /** Ms since the epoch; infinity when never. */
  expiresAtMs: number;
}

/** How many bytes the record has that begins at `at`, where there are two words of it. Throws SHOAL_E_STATE_DAMAGED. */
export function recordBytesAt(bytes: Buffer, at: number): number {
  const valueLength = bytes.readUInt32LE(at);
  const word = bytes.readUInt32LE(at + 4);
  if (!isRecordHead(valueLength, word, Number.POSITIVE_INFINITY)) {
    throw new ShoalError('SHOAL_E_STATE_DAMAGED', `what is at byte ${at} of a log is no record`);
  }
  return recordUnits(word & 0xffff, valueLength, word >>> 24) * UNIT_BYTES;
}

/** Whole records, one after the other. Throws SHOAL_E_STATE_DAMAGED where they are none, or the last one is cut off. */
export function* recordsIn(bytes: Buffer): Generator<RecordView> {
  for (let at = 0; at < bytes.length; ) {
    const length = at + UNIT_BYTES > bytes.length ? Number.POSITIVE_INFINITY : recordBytesAt(bytes, at);
    if (at + length > bytes.length)
      throw new ShoalError('SHOAL_E_STATE_DAMAGED', `a record at byte ${at} of a log is cut off`);
    yield recordAt(bytes.subarray(at, at + length));
    at += length;
  }
}

function recordAt(bytes: Buffer): RecordView {
  const word = bytes.readUInt32LE(4);
  const expires = (word >>> 24) & RECORD.expires;
  const start = expires ? 2 * UNIT_BYTES : UNIT_BYTES;
  const nameLength = (word >>> 16) & 0xff;
  return {
    bytes,
    // Two states may have keys that only together with their names look alike.
    key: `${nameLength} ${bytes.toString('latin1', start, start + (word & 0xffff))}`,
    gone: ((word >>> 24) & RECORD.tombstone) !== 0,
    expiresAtMs: expires ? bytes.readDoubleLE(UNIT_BYTES) : Number.POSITIVE_INFINITY,
  };
}
