import { ShoalError } from '../protocol/errors.js';

/**
 * The two ends of a ring in shared memory, as native/src/fabric/ring.h has them: that file argues why nothing is lost and
 * no peer can do harm, docs/fabric.md says what the memory looks like. No native call is made here. All of Atomics is
 * sequentially consistent, and V8 moves no other access across a call of it.
 */
const HEADER_BYTES = 4096;
const LINE_BYTES = 128;
const WORD_BYTES = 8;
const CONTROL = { tail: 0, head: 1, consumerSleeps: 2, producerSleeps: 3, lines: 4 } as const;
const PRESENT = 1 << 31;
const MORE = 1 << 30;
const PADDING = 1 << 29;
const LENGTH_MASK = PADDING - 1;

/** One of the two rings of a channel. */
export class Ring {
  readonly words: Int32Array;
  readonly bytes: Uint8Array;
  /** Where its bytes begin in the mapping. */
  readonly start: number;
  /** Words of 8 bytes: a power of two. */
  readonly size: number;
  readonly lengthMax: number;
  readonly #mask: number;
  readonly #control: number;

  constructor(buffer: ArrayBuffer, ringBytes: number, index: 0 | 1) {
    this.words = new Int32Array(buffer);
    this.bytes = new Uint8Array(buffer);
    this.start = HEADER_BYTES + index * ringBytes;
    this.size = ringBytes / WORD_BYTES;
    this.lengthMax = ringBytes / 4 - WORD_BYTES;
    this.#mask = this.size - 1;
    this.#control = ((1 + index * CONTROL.lines) * LINE_BYTES) / 4;
  }

  /** Index into `words` of the header at a position. */
  headerAt(position: number): number {
    return (this.start >>> 2) + ((position & this.#mask) << 1);
  }

  wordsToEnd(position: number): number {
    return this.size - (position & this.#mask);
  }

  /** Index into `words` of a control word. */
  control(word: keyof typeof CONTROL): number {
    return this.#control + (CONTROL[word] * LINE_BYTES) / 4;
  }
}

/** Words that a record takes with its header. */
function recordWords(length: number): number {
  return 1 + ((length + WORD_BYTES - 1) >>> 3);
}

function corrupt(what: string): ShoalError {
  return new ShoalError('SHOAL_E_FRAME', `the peer broke the ring: ${what}`);
}

/** Throws SHOAL_E_FRAME, from then on, when the consumer gave back what it never got. */
export class RingProducer {
  readonly lengthMax: number;
  /** The mapping: loan() says where in it. */
  readonly bytes: Uint8Array;
  readonly #ring: Ring;
  readonly #words: Int32Array;
  readonly #tail: number;
  readonly #head: number;
  readonly #consumerSleeps: number;
  readonly #producerSleeps: number;
  #written: number;
  #published: number;
  #released: number;
  #first = 0;

  constructor(ring: Ring) {
    this.#ring = ring;
    this.#words = ring.words;
    this.bytes = ring.bytes;
    this.lengthMax = ring.lengthMax;
    this.#tail = ring.control('tail');
    this.#head = ring.control('head');
    this.#consumerSleeps = ring.control('consumerSleeps');
    this.#producerSleeps = ring.control('producerSleeps');
    this.#written = this.#published = this.#released = Atomics.load(ring.words, this.#head);
  }

  /** Offset in `bytes` for a record of up to `length` bytes (at most lengthMax); -1 while there is no room. */
  loan(length: number): number {
    if (length > this.lengthMax) throw new RangeError(`a record has at most ${this.lengthMax} bytes`);
    if (!this.#fits(length)) {
      this.#look();
      if (!this.#fits(length)) return -1;
    }
    const end = this.#ring.wordsToEnd(this.#written);
    if (recordWords(length) > end) this.#put((end - 1) * WORD_BYTES, PADDING);
    return (this.#ring.headerAt(this.#written) << 2) + WORD_BYTES;
  }

  /** Ends the loan; the consumer sees nothing before publish(). */
  commit(length: number, more = false): void {
    if (!this.#fits(length)) throw new RangeError('more bytes than were on loan');
    this.#put(length, more ? MORE : 0);
  }

  /** Shows the consumer all that was committed. True: it sleeps, strike its bell. */
  publish(): boolean {
    if (this.#published === this.#written) return false;
    const words = this.#words;
    Atomics.store(words, this.#ring.headerAt(this.#published), this.#first);
    this.#published = this.#written;
    Atomics.store(words, this.#tail, this.#published);
    return Atomics.load(words, this.#consumerSleeps) !== 0 && Atomics.exchange(words, this.#consumerSleeps, 0) !== 0;
  }

  /** Before sleeping until a loan succeeds; publish() comes first. False: do not sleep, there is room by now. */
  announceWait(length: number): boolean {
    Atomics.store(this.#words, this.#producerSleeps, 1);
    this.#look();
    if (!this.#fits(length)) return true;
    Atomics.store(this.#words, this.#producerSleeps, 0);
    return false;
  }

  #fits(length: number): boolean {
    const words = recordWords(length);
    const end = this.#ring.wordsToEnd(this.#written);
    const used = (this.#written - this.#released) >>> 0;
    return used + words + (words > end ? end : 0) + 1 <= this.#ring.size;
  }

  #look(): void {
    const head = Atomics.load(this.#words, this.#head);
    if ((head - this.#released) >>> 0 > (this.#published - this.#released) >>> 0) throw corrupt('position');
    this.#released = head;
  }

  #put(length: number, flags: number): void {
    const next = (this.#written + recordWords(length)) | 0;
    Atomics.store(this.#words, this.#ring.headerAt(next), 0);
    const header = PRESENT | flags | length;
    if (this.#written === this.#published) this.#first = header;
    else Atomics.store(this.#words, this.#ring.headerAt(this.#written), header);
    this.#written = next;
  }
}

/** Throws SHOAL_E_FRAME, from then on, when what is there cannot be a record. */
export class RingConsumer {
  /** The mapping; after next() the record is at `offset`. The peer can still change it: look once, or copy first. */
  readonly bytes: Uint8Array;
  offset = 0;
  length = 0;
  more = false;
  readonly #ring: Ring;
  readonly #words: Int32Array;
  readonly #head: number;
  readonly #tail: number;
  readonly #consumerSleeps: number;
  readonly #producerSleeps: number;
  #taken: number;
  #released: number;

  constructor(ring: Ring) {
    this.#ring = ring;
    this.#words = ring.words;
    this.bytes = ring.bytes;
    this.#head = ring.control('head');
    this.#tail = ring.control('tail');
    this.#consumerSleeps = ring.control('consumerSleeps');
    this.#producerSleeps = ring.control('producerSleeps');
    this.#taken = this.#released = Atomics.load(ring.words, this.#head);
  }

  /** Whether next() would find something. */
  ready(): boolean {
    return Atomics.load(this.#words, this.#ring.headerAt(this.#taken)) !== 0;
  }

  /** Goes to the next record; false when there is none. */
  next(): boolean {
    for (;;) {
      const index = this.#ring.headerAt(this.#taken);
      const header = Atomics.load(this.#words, index);
      if (header === 0) return false;
      const length = header & LENGTH_MASK;
      const padding = (header & PADDING) !== 0;
      this.#check(header, length, padding);
      this.#taken = (this.#taken + recordWords(length)) | 0;
      if (padding) continue;
      this.offset = (index << 2) + WORD_BYTES;
      this.length = length;
      this.more = (header & MORE) !== 0;
      return true;
    }
  }

  /** Gives back all records that were taken. True: the producer waits for room, strike its bell. */
  release(): boolean {
    if (this.#released === this.#taken) return false;
    this.#released = this.#taken;
    const words = this.#words;
    Atomics.store(words, this.#head, this.#released);
    if (Atomics.load(words, this.#producerSleeps) === 0) return false;
    const used = (Atomics.load(words, this.#tail) - this.#released) >>> 0;
    if (used > this.#ring.size / 2 && used <= this.#ring.size) return false;
    return Atomics.exchange(words, this.#producerSleeps, 0) !== 0;
  }

  /** Before sleeping until there is a record; release() comes first. False: do not sleep, ready(). */
  announceSleep(): boolean {
    Atomics.store(this.#words, this.#consumerSleeps, 1);
    if (!this.ready()) return true;
    this.cancelSleep();
    return false;
  }

  cancelSleep(): void {
    Atomics.store(this.#words, this.#consumerSleeps, 0);
  }

  #check(header: number, length: number, padding: boolean): void {
    const words = recordWords(length);
    const end = this.#ring.wordsToEnd(this.#taken);
    if ((header & PRESENT) === 0 || (padding && (header & MORE) !== 0)) throw corrupt('flags');
    if (words > end || (padding ? words !== end : length > this.#ring.lengthMax)) throw corrupt('length');
    if (((this.#taken - this.#released) >>> 0) + words >= this.#ring.size) throw corrupt('position');
  }
}
