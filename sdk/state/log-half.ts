import { ShoalError } from '../../protocol/errors.js';
import { isRecordHead, RECORD, recordUnits } from '../../protocol/state-record.js';
import { UNIT_BYTES } from '../../protocol/state-segment.js';
import type { KeyBytes } from './key-bytes.js';
import type { KeyMatcher } from './key-index.js';

/** Up to so many bytes a loop copies faster than the runtime's own function. */
const LOOP_BYTES_MAX = 48;

/**
 * Memory with records, read as if a stranger had written them: an owner before may have been one. As much of it as is in
 * use is mapped.
 */
export class LogHalf {
  bytes!: Uint8Array;
  #words!: Int32Array;
  #times!: Float64Array;

  constructor(buffer: ArrayBuffer) {
    this.remap(buffer);
  }

  /** More of the same is mapped now. */
  remap(buffer: ArrayBuffer): void {
    this.bytes = new Uint8Array(buffer);
    this.#words = new Int32Array(buffer);
    this.#times = new Float64Array(buffer);
  }

  /** Mapped. */
  get units(): number {
    return this.#times.length;
  }

  /** Throws SHOAL_E_STATE_DAMAGED unless a record begins here and ends at `end` or before; answers its units. */
  check(position: number, end: number): number {
    const word = this.#words[2 * position + 1] as number;
    if (!isRecordHead(this.valueLength(position), word, end - position)) {
      throw new ShoalError('SHOAL_E_STATE_DAMAGED', `what is at unit ${position} of ${end} is no record`);
    }
    return this.unitsOf(position);
  }

  flags(position: number): number {
    return (this.#words[2 * position + 1] as number) >>> 24;
  }

  nameLength(position: number): number {
    return ((this.#words[2 * position + 1] as number) >>> 16) & 0xff;
  }

  /** Of name and key. */
  keyLength(position: number): number {
    return (this.#words[2 * position + 1] as number) & 0xffff;
  }

  keyStart(position: number): number {
    return (position + 1 + (this.flags(position) & RECORD.expires ? 1 : 0)) * UNIT_BYTES;
  }

  valueLength(position: number): number {
    return (this.#words[2 * position] as number) >>> 0;
  }

  unitsOf(position: number): number {
    return recordUnits(this.keyLength(position), this.valueLength(position), this.flags(position));
  }

  /** When the record expires; infinity when never. */
  expiresAtMs(position: number): number {
    return this.flags(position) & RECORD.expires ? (this.#times[position + 1] as number) : Number.POSITIVE_INFINITY;
  }

  loadKey(position: number, key: KeyBytes): void {
    key.load(this.bytes, this.keyStart(position), this.nameLength(position), this.keyLength(position));
  }

  /** Writes a record where nobody looks yet. */
  write(position: number, key: KeyBytes, value: Uint8Array, flags: number, expiresAtMs: number): void {
    this.#words[2 * position] = value.length;
    this.#words[2 * position + 1] = key.length | (key.nameLength << 16) | (flags << 24);
    let at = (position + 1) * UNIT_BYTES;
    if (flags & RECORD.expires) {
      this.#times[position + 1] = expiresAtMs;
      at += UNIT_BYTES;
    }
    const { bytes } = this;
    for (let i = 0; i < key.length; i += 1) bytes[at + i] = key.bytes[i] as number;
    at += key.length;
    if (value.length > LOOP_BYTES_MAX) bytes.set(value, at);
    else for (let i = 0; i < value.length; i += 1) bytes[at + i] = value[i] as number;
  }

  copyFrom(other: LogHalf, from: number, to: number, units: number): void {
    if (2 * units <= LOOP_BYTES_MAX) {
      for (let i = 0; i < 2 * units; i += 1) this.#words[2 * to + i] = other.#words[2 * from + i] as number;
    } else {
      this.#words.set(other.#words.subarray(2 * from, 2 * (from + units)), 2 * to);
    }
  }

  /** The same records, whatever is mapped later. */
  snapshot(): LogHalf {
    return new LogHalf(this.bytes.buffer as ArrayBuffer);
  }

  /** The same records in memory of their own. */
  detached(units: number): LogHalf {
    return new LogHalf((this.bytes.buffer as ArrayBuffer).slice(0, units * UNIT_BYTES));
  }
}

/** Compares records of a half with a key. */
export class HalfMatcher implements KeyMatcher {
  half: LogHalf;
  readonly #key: KeyBytes;

  constructor(half: LogHalf, key: KeyBytes) {
    this.half = half;
    this.#key = key;
  }

  hasKey(position: number): boolean {
    const { half } = this;
    const key = this.#key;
    if (half.keyLength(position) !== key.length || half.nameLength(position) !== key.nameLength) return false;
    const start = half.keyStart(position);
    const { bytes } = half;
    for (let i = 0; i < key.length; i += 1) if (bytes[start + i] !== key.bytes[i]) return false;
    return true;
  }
}
