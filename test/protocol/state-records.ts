import { type Entry, RECORD, recordUnits } from '../../protocol/state-record.js';

export type Given = Pick<Entry, 'name' | 'key' | 'raw' | 'expiresAtMs'> & { value: Uint8Array };

/** The entry's record, as a segment has it. */
export function recordOf({ name, key, value, raw, expiresAtMs }: Given): Buffer {
  const text = Buffer.from(name + key);
  const flags = RECORD.present | (raw ? RECORD.raw : 0) | (Number.isFinite(expiresAtMs) ? RECORD.expires : 0);
  const bytes = Buffer.alloc(recordUnits(text.length, value.length, flags) * 8);
  bytes.writeUInt32LE(value.length);
  bytes.writeUInt32LE((text.length | (Buffer.byteLength(name) << 16) | (flags << 24)) >>> 0, 4);
  if (flags & RECORD.expires) bytes.writeDoubleLE(expiresAtMs, 8);
  const start = flags & RECORD.expires ? 16 : 8;
  text.copy(bytes, start);
  bytes.set(value, start + text.length);
  return bytes;
}
