import { newSegmentHeader, segmentBytesFor } from '../../../protocol/state-segment.js';
import type { SegmentMemory } from '../../../sdk/state/shard-log.js';

/** A segment in memory of this process, which can be copied as a kill would leave it. */
export class TestSegment implements SegmentMemory {
  readonly buffer: ArrayBuffer;
  /** Bytes that may be taken still; then there is no memory. */
  bytesLeft = Number.POSITIVE_INFINITY;
  released = 0;

  constructor(buffer: ArrayBuffer) {
    this.buffer = buffer;
  }

  static make(shardBytesMax: number): TestSegment {
    const buffer = new ArrayBuffer(segmentBytesFor(shardBytesMax));
    new Uint8Array(buffer).set(newSegmentHeader(shardBytesMax));
    return new TestSegment(buffer);
  }

  get words(): Int32Array {
    return new Int32Array(this.buffer);
  }

  reserve(_offset: number, length: number): void {
    if (length > this.bytesLeft) throw new Error('ENOSPC');
    this.bytesLeft -= length;
  }

  release(offset: number, length: number): void {
    new Uint8Array(this.buffer, offset, length).fill(0);
    this.released += 1;
  }

  close(): void {}

  copy(): TestSegment {
    return new TestSegment(this.buffer.slice(0));
  }
}
