import assert from 'node:assert/strict';
import { closeSync, fstatSync, ftruncateSync, mkdirSync, openSync, renameSync, rmSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';
import { ShoalError } from '../../protocol/errors.js';
import { LIMITS } from '../../protocol/limits.js';
import type { LogRecord } from '../../protocol/state-copies.js';
import { type RecordView, recordsIn } from '../../protocol/state-record.js';
import {
  newSegmentHeader,
  SEGMENT_HEADER_BYTES,
  SEGMENT_WORD,
  segmentBytesFor,
  UNIT_BYTES,
} from '../../protocol/state-segment.js';
import type { CopyStore } from './copy-memory.js';
import { halfStart, readBytes, readHeader, readRecords, type SegmentHeader } from './segment-reader.js';

/** Latest writes that are kept for who follows, of one shard. */
const KEPT_BYTES_MAX = 1024 * 1024;
/** Bytes of writes in one answer of recordsAfter, beyond which no entries are sent beside them. */
const SENT_BYTES_MAX = 512 * 1024;
/** A replica's log is written anew when it is longer than twice what it then was, and this. */
const GARBAGE_BYTES_MIN = 1024 * 1024;

/** What a fill has still to send. */
interface Scan {
  /** Where the record of each key lies; those that have been overwritten since are gone from it. */
  at: Map<string, { start: number; length: number }>;
  keys: Iterator<string>;
  generation: number;
}

/**
 * A copy of a state shard in its segment. While this host owns the shard, an instance writes there and this only reads, from
 * where it has read to; `refresh` looks for more. Else nobody but this writes: what it is given is written down by `flush`,
 * in one go, so that it is there when anybody is told of it. A record of the protocol is a record of the segment's log, as
 * bytes under the key ''. Nothing of the segment is mapped here; an instance that shortens it harms nobody else.
 */
export class SegmentStore implements CopyStore {
  readonly #path: string;
  readonly #clock: () => number;
  #fd: number | null = null;
  #header: SegmentHeader | null = null;
  /** Of the active half: bytes that are known here, and records in them. */
  #bytes = 0;
  #records = 0;
  #base = 0;
  /** Bytes that the log had when it was begun or written anew. */
  #wholeBytes = 0;
  /** The latest writes; the first of them has the index `#last - #kept.length + 1`. */
  #kept: Buffer[] = [];
  #keptBytes = 0;
  #sentBytes = 0;
  readonly #scans = new Set<Scan>();
  /** To be written. */
  #unwritten: Buffer[] = [];
  #unwrittenBytes = 0;
  #isBegun = false;
  /** Null: not known. */
  #watched: boolean | null = null;
  /** An instance that has mapped the file may not have let go of it. */
  #isShared = false;
  /** Rises when the segment is another file: what was mapped of it before is of no use. */
  file = 0;

  constructor(path: string, clock: () => number = Date.now) {
    this.#path = path;
    this.#clock = clock;
  }

  /** Whether there is a segment. */
  get exists(): boolean {
    return this.#open() !== null;
  }

  get last(): number {
    return this.#base + this.#records;
  }

  /** Whether it was begun anew since the last flush. */
  get isBegun(): boolean {
    return this.#isBegun;
  }

  /** Reads what somebody else has written since. Throws SHOAL_E_STATE_DAMAGED. */
  refresh(): void {
    const fd = this.#open();
    if (fd === null) return;
    const header = readHeader(fd, fstatSync(fd).size);
    if (this.#header === null) this.#restart(header);
    else if (header.active !== this.#header.active || header.generation > this.#header.generation + 1) {
      this.#follow(this.#header, header);
    }
    const start = halfStart(header.active, header.halfBytes);
    for (const record of readRecords(fd, start, this.#bytes, header.committedBytes)) this.#note(record);
    if (this.#watched) this.#tellFollowed();
  }

  /** Whether calls on the shard wait for other copies. Before it is asked whether they hold what there is. */
  watch(watched: boolean): void {
    let fd = this.#open();
    if (watched) fd ??= this.#create();
    if (fd === null || watched === this.#watched) return;
    this.#watched = watched;
    writeWord(fd, SEGMENT_WORD.watched, watched ? 1 : 0);
  }

  /**
   * From here on no instance that has mapped the segment may write there. `frozen`: it has said that it does not. Else what is
   * written here goes to another file.
   */
  depose(frozen: boolean): void {
    const fd = this.#open();
    if (fd === null) return;
    writeWord(fd, SEGMENT_WORD.epoch, readHeader(fd, fstatSync(fd).size).epoch + 1);
    this.refresh();
    this.#isShared ||= !frozen;
  }

  /** Writes up to this index are not asked for any more. */
  forget(index: number): void {
    const count = Math.min(this.#kept.length, index - (this.last - this.#kept.length));
    for (const each of count > 0 ? this.#kept.splice(0, count) : []) this.#keptBytes -= each.length;
  }

  apply(record: LogRecord): void {
    const bytes = bytesOf(record.changes[0]?.[1]);
    const [first, second] = recordsIn(bytes);
    if (first === undefined || second !== undefined)
      throw new ShoalError('SHOAL_E_FRAME', 'a write of a state shard is none');
    assert.equal(record.index, this.last + 1);
    this.#write(bytes);
    this.#note(first);
  }

  recordsAfter(index: number, countMax: number): LogRecord[] | null {
    const first = this.last - this.#kept.length;
    if (index < first) return null;
    const records: LogRecord[] = [];
    let bytes = 0;
    for (let at = index - first; at < this.#kept.length && records.length < countMax; at += 1) {
      const record = this.#kept[at] as Buffer;
      bytes += record.length;
      if (records.length > 0 && bytes > SENT_BYTES_MAX) break;
      records.push({ index: first + at + 1, changes: [['', record]] });
    }
    this.#sentBytes = bytes;
    return records;
  }

  entriesFrom(cursor: unknown, bytesMax: number): { entries: [string, unknown][]; next: unknown } {
    let scan = (cursor as Scan | undefined) ?? this.#scan();
    // The records have moved: those that were sent are sent again.
    if (!this.#scans.has(scan)) scan = this.#scan();
    if (this.#sentBytes > SENT_BYTES_MAX) return { entries: [], next: scan };
    const parts: Buffer[] = [];
    for (let bytes = 0; bytes < bytesMax; ) {
      const { value: key, done } = scan.keys.next();
      if (done === true) {
        this.#scans.delete(scan);
        return { entries: parts.length === 0 ? [] : [['', Buffer.concat(parts)]], next: null };
      }
      const { start, length } = scan.at.get(key) as { start: number; length: number };
      parts.push(readBytes(this.#fd as number, start, length));
      bytes += length;
    }
    return { entries: [['', Buffer.concat(parts)]], next: scan };
  }

  put(entries: readonly [string, unknown][]): void {
    for (const [, value] of entries) {
      const bytes = bytesOf(value);
      let records = 0;
      for (const { key: _ } of recordsIn(bytes)) records += 1;
      this.#write(bytes);
      this.#bytes += bytes.length;
      // Entries are no writes: the index stays.
      this.#records += records;
      this.#base -= records;
    }
  }

  begin(last: number): void {
    this.#isBegun = true;
    this.#unwritten = [];
    this.#unwrittenBytes = 0;
    this.#kept = [];
    this.#keptBytes = 0;
    this.#scans.clear();
    this.#bytes = 0;
    this.#records = 0;
    this.#base = last;
    this.#wholeBytes = 0;
  }

  /** Writes down what was given since the last time. Throws SHOAL_E_HOST without memory. */
  flush(): void {
    if (this.#isBegun) this.#beginFile();
    if (this.#unwritten.length === 0) return;
    if (this.#isShared) this.#leaveFile();
    const fd = this.#open() ?? this.#create();
    this.#header ??= readHeader(fd, fstatSync(fd).size);
    const { active, halfBytes } = this.#header;
    if (this.#bytes > halfBytes) throw new ShoalError('SHOAL_E_STATE_FULL', `${this.#path} has no room for its copy`);
    const at = halfStart(active, halfBytes) + this.#bytes - this.#unwrittenBytes;
    writeAll(fd, Buffer.concat(this.#unwritten), at);
    this.#unwritten = [];
    this.#unwrittenBytes = 0;
    this.#commit(fd, active);
    if (this.#wholeBytes === 0) this.#wholeBytes = this.#bytes;
    if (this.#bytes > 2 * this.#wholeBytes + GARBAGE_BYTES_MIN) this.#writeAnew();
  }

  close(): void {
    if (this.#fd !== null) closeSync(this.#fd);
    this.#fd = null;
    this.#header = null;
  }

  #open(): number | null {
    if (this.#fd !== null || this.#isBegun) return this.#fd;
    try {
      this.#fd = openSync(this.#path, 'r+');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    }
    return this.#fd;
  }

  /** Nothing is known yet of what is there. */
  #restart(header: SegmentHeader): void {
    this.#header = header;
    this.#bytes = 0;
    this.#records = 0;
    this.#base = header.base;
    this.#kept = [];
    this.#keptBytes = 0;
    this.#wholeBytes = header.committedBytes;
  }

  /** The other half has become active. Where all before it is known, what comes after it follows. */
  #follow(before: SegmentHeader, after: SegmentHeader): void {
    const knowsAll = this.last === after.base + after.switchedRecords;
    const isNext = after.active !== before.active && after.generation - before.generation <= 1;
    if (!knowsAll || !isNext) {
      this.#kept = [];
      this.#keptBytes = 0;
    }
    this.#header = { ...after, generation: isNext ? before.generation + 1 : after.generation };
    this.#bytes = after.switchedBytes;
    this.#records = after.switchedRecords;
    this.#base = after.base;
    this.#scans.clear();
  }

  #tellFollowed(): void {
    // While entries are sent they stay where they are.
    const followed = this.#scans.size > 0 ? 0 : this.#bytes / UNIT_BYTES;
    writeWord(this.#fd as number, SEGMENT_WORD.followed, followed);
  }

  #note({ bytes, key }: RecordView): void {
    this.#bytes += bytes.length;
    this.#records += 1;
    // Not as a part of a larger buffer, all of which it would keep.
    this.#kept.push(Buffer.from(bytes));
    this.#keptBytes += bytes.length;
    while (this.#keptBytes > KEPT_BYTES_MAX && this.#kept.length > 1)
      this.#keptBytes -= this.#kept.shift()?.length ?? 0;
    for (const { at } of this.#scans) at.delete(key);
  }

  #write(bytes: Buffer): void {
    this.#unwritten.push(bytes);
    this.#unwrittenBytes += bytes.length;
  }

  /** Where the entries are that there are now. */
  #scan(): Scan {
    const at: Scan['at'] = new Map();
    const header = this.#header;
    const nowMs = this.#clock();
    if (header !== null && this.#fd !== null) {
      const start = halfStart(header.active, header.halfBytes);
      let position = start;
      for (const { key, gone, bytes, expiresAtMs } of readRecords(this.#fd, start, 0, this.#bytes)) {
        at.delete(key);
        if (!gone && expiresAtMs > nowMs) at.set(key, { start: position, length: bytes.length });
        position += bytes.length;
      }
    }
    const scan: Scan = { at, keys: at.keys(), generation: header?.generation ?? 0 };
    this.#scans.add(scan);
    return scan;
  }

  /** What is not written yet is no part of it. */
  #leaveFile(): void {
    const [unwritten, bytes, records] = [this.#unwritten, this.#unwrittenBytes, this.#unwrittenRecords()];
    this.#bytes -= bytes;
    this.#records -= records;
    this.#writeAnew();
    this.#unwritten = unwritten;
    this.#bytes += bytes;
    this.#records += records;
  }

  #unwrittenRecords(): number {
    let records = 0;
    for (const _ of recordsIn(Buffer.concat(this.#unwritten))) records += 1;
    return records;
  }

  #beginFile(): void {
    this.close();
    rmSync(this.#path, { force: true });
    this.#isBegun = false;
    this.#watched = false;
    this.#isShared = false;
    this.file += 1;
    if (this.#base !== 0 || this.#unwritten.length > 0) this.#create();
  }

  #create(): number {
    this.#fd = makeSegment(this.#path);
    this.#header = readHeader(this.#fd, fstatSync(this.#fd).size);
    this.#commit(this.#fd, 0, 0);
    return this.#fd;
  }

  /** Lets what is in the half count. In one write, which no kill can cut in two. */
  #commit(fd: number, half: 0 | 1, bytes = this.#bytes): void {
    const from = SEGMENT_WORD.committed + half;
    const to = SEGMENT_WORD.base + 2 * half + 2;
    const words = readBytes(fd, from * 4, (to - from) * 4);
    words.writeUInt32LE(bytes / UNIT_BYTES, 0);
    words.writeDoubleLE(this.#base, words.length - 8);
    writeAll(fd, words, from * 4);
  }

  /** Without what was overwritten, deleted or has expired, in another file. */
  #writeAnew(): void {
    const scan = this.#scan();
    this.#scans.delete(scan);
    const parts = [...scan.at.values()].map(({ start, length }) => readBytes(this.#fd as number, start, length));
    const { last } = this;
    const path = `${this.#path}.new`;
    rmSync(path, { force: true });
    const fd = makeSegment(path);
    const bytes = Buffer.concat(parts);
    writeAll(fd, bytes, SEGMENT_HEADER_BYTES);
    closeSync(this.#fd as number);
    this.#fd = fd;
    this.#header = readHeader(fd, fstatSync(fd).size);
    this.#bytes = bytes.length;
    this.#records = parts.length;
    this.#base = last - parts.length;
    this.#wholeBytes = bytes.length;
    this.#watched = false;
    this.#isShared = false;
    this.file += 1;
    this.#commit(fd, 0);
    renameSync(path, this.#path);
  }
}

function bytesOf(value: unknown): Buffer {
  if (!(value instanceof Uint8Array)) throw new ShoalError('SHOAL_E_FRAME', 'entries of a state shard are no bytes');
  return Buffer.from(value.buffer, value.byteOffset, value.byteLength);
}

/**
 * A new segment without entries: of one size, of which only what is written takes memory, so that a limit in the manifest can
 * change at any time.
 */
export function makeSegment(path: string): number {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  // It has its name once it is whole: what a kill leaves before is begun anew.
  const begun = `${path}.begun`;
  const fd = openSync(begun, 'w+', 0o600);
  try {
    ftruncateSync(fd, segmentBytesFor(LIMITS.stateShardBytesMax));
    writeSync(fd, newSegmentHeader(LIMITS.stateShardBytesMax), 0, undefined, 0);
    renameSync(begun, path);
    return fd;
  } catch (cause) {
    closeSync(fd);
    rmSync(begun, { force: true });
    const { message } = cause as Error;
    throw new ShoalError('SHOAL_E_HOST', `no shared memory for state: ${message}; see \`shoal doctor\``, { cause });
  }
}

function writeWord(fd: number, index: number, value: number): void {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value >>> 0);
  writeSync(fd, bytes, 0, 4, index * 4);
}

function writeAll(fd: number, bytes: Buffer, at: number): void {
  for (let done = 0; done < bytes.length; ) done += writeSync(fd, bytes, done, bytes.length - done, at + done);
}
