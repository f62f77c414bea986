import { readSync } from 'node:fs';
import { ShoalError } from '../../protocol/errors.js';
import { type RecordView, recordBytesAt, recordsIn } from '../../protocol/state-record.js';
import {
  HEADER_WORDS,
  problemOfSegment,
  SEGMENT_HEADER_BYTES,
  SEGMENT_WORD,
  UNIT_BYTES,
} from '../../protocol/state-segment.js';

/** Read at once. */
const CHUNK_BYTES = 1024 * 1024;

/** The header of a segment, as its owner last wrote it. */
export interface SegmentHeader {
  active: 0 | 1;
  generation: number;
  epoch: number;
  halfBytes: number;
  /** Of the active half: bytes of records, and the index of the write before the first of them. */
  committedBytes: number;
  base: number;
  switchedBytes: number;
  switchedRecords: number;
}

/** Throws SHOAL_E_STATE_DAMAGED. */
export function readHeader(fd: number, segmentBytes: number): SegmentHeader {
  const bytes = Buffer.alloc(HEADER_WORDS * 4);
  readSync(fd, bytes, 0, bytes.length, 0);
  const words = new Int32Array(bytes.buffer, bytes.byteOffset, HEADER_WORDS);
  const problem = problemOfSegment(words, segmentBytes);
  if (problem !== null) throw new ShoalError('SHOAL_E_STATE_DAMAGED', `a segment ${problem}`);
  const word = (name: keyof typeof SEGMENT_WORD, more = 0) => (words[SEGMENT_WORD[name] + more] ?? 0) >>> 0;
  const active = word('active') === 0 ? 0 : 1;
  const base = bytes.readDoubleLE((SEGMENT_WORD.base + 2 * active) * 4);
  if (!Number.isSafeInteger(base)) throw new ShoalError('SHOAL_E_STATE_DAMAGED', `a segment begins at write ${base}`);
  return {
    active,
    generation: word('generation'),
    epoch: word('epoch'),
    halfBytes: word('halfUnits') * UNIT_BYTES,
    committedBytes: word('committed', active) * UNIT_BYTES,
    base,
    switchedBytes: word('switchedUnits') * UNIT_BYTES,
    switchedRecords: word('switchedRecords'),
  };
}

/** Where in a segment a half begins. */
export function halfStart(half: 0 | 1, halfBytes: number): number {
  return SEGMENT_HEADER_BYTES + half * halfBytes;
}

/**
 * The records of a half between two bytes of it, in order. Throws SHOAL_E_STATE_DAMAGED where there are none: whoever wrote
 * them is not trusted.
 */
export function* readRecords(fd: number, start: number, from: number, to: number): Generator<RecordView> {
  for (let at = from; at < to; ) {
    const chunk = readBytes(fd, start + at, Math.min(CHUNK_BYTES, to - at));
    const whole = wholeBytes(chunk);
    const bytes = whole > 0 ? chunk.subarray(0, whole) : readBytes(fd, start + at, recordBytesAt(chunk, 0));
    if (at + bytes.length > to) throw new ShoalError('SHOAL_E_STATE_DAMAGED', 'a record of a segment is cut off');
    yield* recordsIn(bytes);
    at += bytes.length;
  }
}

function wholeBytes(chunk: Buffer): number {
  let whole = 0;
  while (whole + UNIT_BYTES <= chunk.length) {
    const length = recordBytesAt(chunk, whole);
    if (whole + length > chunk.length) break;
    whole += length;
  }
  return whole;
}

export function readBytes(fd: number, at: number, length: number): Buffer {
  const bytes = Buffer.allocUnsafeSlow(length);
  const read = readSync(fd, bytes, 0, length, at);
  if (read !== length) throw new ShoalError('SHOAL_E_STATE_DAMAGED', 'a segment is shorter than it says');
  return bytes;
}
