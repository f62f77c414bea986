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

/** An entry as its record has it. */
export interface Entry {
  /** Of the state. */
  name: string;
  key: string;
  /** A view. */
  value: Buffer;
  raw: boolean;
  /** Ms since the epoch; infinity when never. */
  expiresAtMs: number;
}

// A key may begin with what would be a byte order mark.
const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** The entry of one whole record, such as recordsIn answers. Throws SHOAL_E_STATE_DAMAGED for one without: a key that is gone. */
export function readEntry(record: Buffer): Entry {
  const valueLength = record.readUInt32LE();
  const word = record.readUInt32LE(4);
  const flags = word >>> 24;
  if (flags & RECORD.tombstone)
    throw new ShoalError('SHOAL_E_STATE_DAMAGED', 'a record is of no entry, but of one that is gone');
  const start = (flags & RECORD.expires ? 2 : 1) * UNIT_BYTES;
  const nameEnd = start + ((word >>> 16) & 0xff);
  const keyEnd = start + (word & 0xffff);
  let [name, key] = ['', ''];
  try {
    name = text.decode(record.subarray(start, nameEnd));
    key = text.decode(record.subarray(nameEnd, keyEnd));
  } catch (cause) {
    throw new ShoalError('SHOAL_E_STATE_DAMAGED', 'a key is no text', { cause });
  }
  const expiresAtMs = flags & RECORD.expires ? record.readDoubleLE(UNIT_BYTES) : Number.POSITIVE_INFINITY;
  const value = record.subarray(keyEnd, keyEnd + valueLength);
  return { name, key, value, raw: (flags & RECORD.raw) !== 0, expiresAtMs };
}
