/**
 * The segment of one state shard: a file of a memory file system that the agent makes and keeps and that the shard's
 * owner maps. A header of 4096 bytes, then two halves of equal size; one is active and holds the shard's log, the other
 * is empty or being filled with what is left of the log once garbage is taken out. docs/state.md says why it is so.
 *
 * All numbers are little-endian words of 32 bits; sizes and positions count units of 8 bytes.
 */
export const SEGMENT_HEADER_BYTES = 4096;
export const UNIT_BYTES = 8;

/** Indices of the header's words. */
export const SEGMENT_WORD = {
  magic: 0,
  version: 1,
  halfUnits: 2,
  /** Of the owner that may write. Whoever finds a higher one than its own has been deposed. */
  epoch: 3,
  /** 0 or 1: the half that holds the log. */
  active: 4,
  /** Of each half: the units that hold records. */
  committed: 5,
  /** For those who look from outside: units of the entries that are there, and how many they are. */
  liveUnits: 7,
  entries: 8,
  /** Changes whenever the other half becomes active. */
  generation: 9,
  /** Of each half, a float64 in two words: the index of the write before its first record. Each record is one write. */
  base: 10,
  /** Of the active half: units and records that were in it when it became active. */
  switchedUnits: 14,
  switchedRecords: 15,
  /** By the agent: not 0 while somebody else is to hold what is written before a call on the shard is answered. */
  watched: 16,
  /** By the agent: units of the active half that it has read. While watched, no half becomes active before it has all. */
  followed: 17,
  /** For those who look from outside, each a float64 in two words: entries looked up, written or deleted, and refused writes. */
  reads: 18,
  writes: 20,
  refused: 22,
  /** Entries looked up by who does not own the shard: a word, which may begin anew. */
  copyReads: 24,
} as const;

/** Of the header, words that mean something. */
export const HEADER_WORDS = 26;

const MAGIC = 0x54534853;
const VERSION = 2;

/** A half holds so many times the entries that a shard may have: what is written while garbage is taken out needs room. */
const HALF_FACTOR = 3;
/** Of a half beyond that, so that tiny limits work as well. */
const HALF_SLACK_BYTES = 256 * 1024;

export function halfBytesFor(shardBytesMax: number): number {
  const bytes = HALF_FACTOR * shardBytesMax + HALF_SLACK_BYTES;
  return Math.ceil(bytes / SEGMENT_HEADER_BYTES) * SEGMENT_HEADER_BYTES;
}

export function segmentBytesFor(shardBytesMax: number): number {
  return SEGMENT_HEADER_BYTES + 2 * halfBytesFor(shardBytesMax);
}

/** The first bytes of a new segment; all others are 0. */
export function newSegmentHeader(shardBytesMax: number): Buffer {
  const header = Buffer.alloc(HEADER_WORDS * 4);
  header.writeUInt32LE(MAGIC, SEGMENT_WORD.magic * 4);
  header.writeUInt32LE(VERSION, SEGMENT_WORD.version * 4);
  header.writeUInt32LE(halfBytesFor(shardBytesMax) / UNIT_BYTES, SEGMENT_WORD.halfUnits * 4);
  return header;
}

/** What is wrong with the header of a segment of so many bytes; null when nothing is. */
export function problemOfSegment(words: Int32Array, segmentBytes: number): string | null {
  const word = (name: keyof typeof SEGMENT_WORD): number => (words[SEGMENT_WORD[name]] ?? 0) >>> 0;
  if (word('magic') !== MAGIC || word('version') !== VERSION) return 'is no segment of this version';
  const halfUnits = word('halfUnits');
  if (SEGMENT_HEADER_BYTES + 2 * halfUnits * UNIT_BYTES !== segmentBytes) return 'has another size than it says';
  const active = word('active');
  if (active > 1) return `has the active half ${active}`;
  const committed = (words[SEGMENT_WORD.committed + active] ?? 0) >>> 0;
  return committed > halfUnits ? `holds ${committed} units where ${halfUnits} have room` : null;
}
