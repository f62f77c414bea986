import { closeSync, fstatSync, ftruncateSync, openSync, readSync, unlinkSync, writeSync } from 'node:fs';
import { native } from '../../../native/index.js';
import type { MappedPart, SharedFileHandle } from '../../../native/types.js';
import { HEADER_WORDS, newSegmentHeader, segmentBytesFor } from '../../../protocol/state-segment.js';
import type { SegmentMemory } from '../../../sdk/state/shard-log.js';

let made = 0;

/** A segment as the agent makes it, which can be copied as a kill would leave it, and changed as a stranger could. */
export class TestSegment implements SegmentMemory {
  /** Bytes that may be taken still; then there is no memory. */
  bytesLeft = Number.POSITIVE_INFINITY;
  readonly #fd: number;
  readonly #file: SharedFileHandle;

  private constructor(bytes: number) {
    made += 1;
    const path = `/dev/shm/shoal-test-${process.pid}-${made}`;
    this.#fd = openSync(path, 'w+');
    ftruncateSync(this.#fd, bytes);
    this.#file = native.openSharedFile(openSync(path, 'r+'));
    unlinkSync(path);
  }

  static make(shardBytesMax: number): TestSegment {
    const segment = new TestSegment(segmentBytesFor(shardBytesMax));
    segment.write(newSegmentHeader(shardBytesMax), 0);
    return segment;
  }

  get bytes(): number {
    return this.#file.bytes;
  }

  /** Memory that it takes of the host. */
  get heldBytes(): number {
    return fstatSync(this.#fd).blocks * 512;
  }

  /** Of the header, as they are now. */
  get words(): Int32Array {
    const words = new Int32Array(HEADER_WORDS);
    readSync(this.#fd, words, 0, words.byteLength, 0);
    return words;
  }

  write(bytes: Uint8Array, offset: number): void {
    writeSync(this.#fd, bytes, 0, bytes.length, offset);
  }

  copy(): TestSegment {
    const all = Buffer.alloc(this.bytes);
    readSync(this.#fd, all, 0, all.length, 0);
    const copy = new TestSegment(this.bytes);
    copy.write(all, 0);
    return copy;
  }

  /** The same memory, for another owner. */
  share(): SegmentMemory {
    return native.openSharedFile(openSync(`/proc/self/fd/${this.#fd}`, 'r+'));
  }

  map(offset: number, length: number): MappedPart {
    return this.#file.map(offset, length);
  }

  reserve(offset: number, length: number): void {
    if (length > this.bytesLeft) throw new Error('ENOSPC');
    this.bytesLeft -= length;
    this.#file.reserve(offset, length);
  }

  release(offset: number, length: number): void {
    this.#file.release(offset, length);
  }

  /** What is mapped lives on; the file goes with the last of it. */
  close(): void {
    this.#file.close();
    closeSync(this.#fd);
  }
}
