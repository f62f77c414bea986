import { ShoalError } from '../../protocol/errors.js';
import { RECORD, recordUnits } from '../../protocol/state-record.js';
import { problemOfSegment, SEGMENT_HEADER_BYTES, SEGMENT_WORD, UNIT_BYTES } from '../../protocol/state-segment.js';
import { Compaction, Contents } from './compaction.js';
import { KeyBytes, type StateName } from './key-bytes.js';
import { HalfMatcher, LogHalf } from './log-half.js';

/** The memory of a segment. */
export interface SegmentMemory {
  readonly bytes: number;
  map(offset: number, length: number): { readonly buffer: ArrayBuffer; unmap(): void };
  /** Makes sure that a part can be written. Throws when there is no memory. */
  reserve(offset: number, length: number): void;
  /** A part is not needed any more. */
  release(offset: number, length: number): void;
  close(): void;
}

export interface LogLimits {
  /** Of the entries that are there: keys, values and up to 31 bytes for each. */
  shardBytesMax: number;
  valueBytesMax: number;
}

export interface ScannedEntry {
  state: string;
  key: string;
  /** A view: to be read before the next write. */
  value: Uint8Array;
  raw: boolean;
  /** Infinity: never. */
  expiresAtMs: number;
}

/** A value as it is kept. */
export interface StoredValue {
  value: Uint8Array;
  raw: boolean;
}

type MappedPart = ReturnType<SegmentMemory['map']>;

interface Half {
  /** In the segment. */
  readonly offset: number;
  readonly records: LogHalf;
  /** What is mapped of it, from its start. */
  part: MappedPart | undefined;
  /** Bytes from its start that memory has been taken for. */
  reserved: number;
}

/** What an iteration that has not ended looks at. */
interface Lease {
  half: LogHalf;
}

/** Memory is taken in steps of so many bytes. */
const RESERVE_BYTES = 64 * 1024;
/** Garbage is taken out once there is more of it than of entries, and than this. */
const GARBAGE_UNITS_MIN = (64 * 1024) / UNIT_BYTES;
/** For each unit that is written so many are looked at by the compaction: it ends before a half is full. */
const COMPACT_RATIO = 8;
const COMPACT_UNITS_MIN = 64;
/** So often a read begins anew while the owner takes out garbage. */
const READ_TRIES_MAX = 3;
const NOTHING = new Uint8Array(0);
const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/**
 * The entries of one state shard: an append-only log in a segment of shared memory, and an index of it in memory of this
 * process. A process that is killed stops between two instructions, and what it had stored stays: a record counts once the
 * word `committed` includes it, which is stored last. So the log is whole at any moment, and who maps it next finds all
 * that was acknowledged. docs/state.md says more.
 *
 * One process writes at a time, as the agent sees to; the epoch in the header stops one that was deposed all the same.
 */
export class ShardLog {
  readonly #memory: SegmentMemory;
  readonly #words: Int32Array;
  /** The same, as float64. */
  readonly #doubles: Float64Array;
  readonly #header: MappedPart;
  readonly #halves: [Half, Half];
  /** Of each half, mapped or not. */
  readonly #halfBytes: number;
  readonly #label: string;
  readonly #limits: LogLimits;
  readonly #clock: () => number;
  readonly #key = new KeyBytes();
  readonly #matcher: HalfMatcher;
  #contents = new Contents();
  #active: 0 | 1;
  #generation: number;
  #committed = 0;
  /** In what is committed. */
  #records = 0;
  #epoch = -1;
  #compaction: Compaction | undefined;
  readonly #leases = new Set<Lease>();
  /** There was no memory for a compaction: none is begun before this many units are committed. */
  #compactAfter = 0;

  /** Nothing that comes after this write is taken in. */
  #readsTo: number;

  /**
   * Maps a segment and reads what is in it, also while its owner still writes. Throws SHOAL_E_STATE_DAMAGED. `readsTo`: of a log
   * that others write, nothing after this index is read before readAt or scanAt say so.
   */
  constructor(
    memory: SegmentMemory,
    label: string,
    limits: LogLimits,
    clock: () => number = Date.now,
    readsTo = Number.POSITIVE_INFINITY,
  ) {
    this.#readsTo = readsTo;
    this.#memory = memory;
    this.#label = label;
    this.#limits = limits;
    this.#clock = clock;
    if (memory.bytes <= SEGMENT_HEADER_BYTES) throw this.#damaged('has no room for a header');
    this.#header = memory.map(0, SEGMENT_HEADER_BYTES);
    this.#words = new Int32Array(this.#header.buffer);
    this.#doubles = new Float64Array(this.#header.buffer);
    const problem = problemOfSegment(this.#words, memory.bytes);
    if (problem !== null) throw this.#damaged(problem);
    this.#halfBytes = (memory.bytes - SEGMENT_HEADER_BYTES) / 2;
    const half = (index: number): Half => ({
      offset: SEGMENT_HEADER_BYTES + index * this.#halfBytes,
      part: undefined,
      records: new LogHalf(new ArrayBuffer(0)),
      reserved: 0,
    });
    this.#halves = [half(0), half(1)];
    this.#generation = this.#word('generation');
    this.#active = this.#word('active') === 0 ? 0 : 1;
    this.#matcher = new HalfMatcher(this.#half, this.#key);
    this.#readAhead();
  }

  get entries(): number {
    return this.#contents.index.size;
  }

  /** Of the entries that are there. */
  get liveBytes(): number {
    return this.#contents.liveUnits * UNIT_BYTES;
  }

  /** Of shared memory that holds the log, with its garbage. */
  get usedBytes(): number {
    return (this.#committed + (this.#compaction?.used ?? 0)) * UNIT_BYTES;
  }

  /** Whether this process may write still. */
  get mine(): boolean {
    return this.#word('epoch') === this.#epoch;
  }

  /** Of the last write: it rises by one with each. */
  get index(): number {
    return this.#base(this.#active) + this.#records;
  }

  /** Whether calls are answered only when other copies hold what they wrote. */
  get watched(): boolean {
    return this.#word('watched') !== 0;
  }

  /** From here on this process writes, and nobody with a lower epoch. Throws SHOAL_E_SHARD_MOVED for one that is too low. */
  own(epoch: number): void {
    if (epoch < this.#word('epoch')) throw this.#deposed();
    Atomics.store(this.#words, SEGMENT_WORD.epoch, epoch);
    this.#epoch = epoch;
    this.#catchUp();
    // Left by a compaction that was cut short.
    this.#release(other(this.#active));
    this.#publishSizes();
  }

  /** Position of the key's entry, which is good until the next write; -1 when there is none. */
  find(name: StateName, key: string): number {
    this.#key.set(name, key);
    this.#count('reads');
    return this.#find();
  }

  isRaw(position: number): boolean {
    return (this.#half.flags(position) & RECORD.raw) !== 0;
  }

  /** When the entry at a position expires; infinity when never. */
  expiresAtMs(position: number): number {
    return this.#half.expiresAtMs(position);
  }

  /** A view of the value at a position: to be read at once. */
  value(position: number): Uint8Array {
    return valueIn(this.#half, position);
  }

  /** Throws SHOAL_E_STATE_SIZE, SHOAL_E_STATE_FULL or SHOAL_E_SHARD_MOVED; then nothing has changed. */
  put(name: StateName, key: string, value: Uint8Array, raw = false, expiresAtMs = Number.POSITIVE_INFINITY): void {
    try {
      this.#put(name, key, value, raw, expiresAtMs);
    } catch (error) {
      if (this.mine && isLimit(error)) this.#count('refused');
      throw error;
    }
  }

  /** Whether there was such an entry. */
  delete(name: StateName, key: string): boolean {
    this.#key.set(name, key);
    const there = this.#find() >= 0;
    // One that has expired is taken out as well.
    if (this.#contents.index.find(this.#key.hash, this.#matcher) < 0) return false;
    const flags = RECORD.present | RECORD.tombstone;
    const units = recordUnits(this.#key.length, 0, flags);
    this.#append(units, NOTHING, flags, 0);
    const dropped = this.#contents.index.remove(this.#key.hash, this.#matcher);
    this.#contents.dropped(this.#half, dropped);
    this.#written(units);
    return there;
  }

  /** All entries of a state, or of all with null, as they are now, whatever is written while they are gone through; in no order. */
  scan(name: StateName | null): Generator<ScannedEntry> {
    const lease = { half: this.#half.snapshot() };
    this.#leases.add(lease);
    return this.#entriesOf(lease, name, this.#contents.index.positions(), this.#clock());
  }

  /**
   * A copy of what a key had when `index` was the last write, or a little later; null for nothing. Of a log that others write;
   * undefined when that is not to be had: the owner has taken out garbage since.
   */
  readAt(index: number, name: StateName, key: string): StoredValue | null | undefined {
    return this.#readStill(index, () => {
      Atomics.add(this.#words, SEGMENT_WORD.copyReads, 1);
      this.#key.set(name, key);
      const position = this.#find();
      return position < 0 ? null : { value: this.value(position).slice(), raw: this.isRaw(position) };
    });
  }

  /** Likewise all entries, by a copy of the log. */
  scanAt(index: number, name: StateName): Generator<ScannedEntry> | undefined {
    return this.#readStill(index, () => {
      const half = this.#half.detached(this.#committed);
      return this.#entriesOf({ half }, name, this.#contents.index.positions(), this.#clock());
    });
  }

  close(): void {
    this.#detachLeases();
    for (const { part } of this.#halves) part?.unmap();
    this.#header.unmap();
    this.#memory.close();
  }

  #put(name: StateName, key: string, value: Uint8Array, raw: boolean, expiresAtMs: number): void {
    this.#checkValue(value);
    this.#key.set(name, key);
    const expires = expiresAtMs === Number.POSITIVE_INFINITY ? 0 : RECORD.expires;
    const flags = RECORD.present | (raw ? RECORD.raw : 0) | expires;
    const units = recordUnits(this.#key.length, value.length, flags);
    this.#admit(units);
    const position = this.#append(units, value, flags, expiresAtMs);
    const before = this.#contents.index.set(this.#key.hash, this.#matcher, position);
    if (before >= 0) this.#contents.dropped(this.#half, before);
    this.#contents.added(this.#half, position, units);
    this.#written(units);
  }

  *#entriesOf(lease: Lease, name: StateName | null, positions: Int32Array, nowMs: number): Generator<ScannedEntry> {
    try {
      for (const position of positions) {
        const { half } = lease;
        const expiresAtMs = half.expiresAtMs(position);
        if ((name !== null && !hasName(half, position, name)) || expiresAtMs <= nowMs) continue;
        const raw = (half.flags(position) & RECORD.raw) !== 0;
        const state = name?.text ?? this.#stateIn(half, position);
        yield { state, key: this.#keyIn(half, position), value: valueIn(half, position), raw, expiresAtMs };
      }
    } finally {
      this.#leases.delete(lease);
    }
  }

  get #half(): LogHalf {
    return this.#halves[this.#active].records;
  }

  #word(name: keyof typeof SEGMENT_WORD): number {
    return Atomics.load(this.#words, SEGMENT_WORD[name]) >>> 0;
  }

  #base(half: 0 | 1): number {
    return this.#doubles[SEGMENT_WORD.base / 2 + half] as number;
  }

  #find(): number {
    const position = this.#contents.index.find(this.#key.hash, this.#matcher);
    if (position < 0 || this.#half.expiresAtMs(position) > this.#clock()) return position;
    return -1;
  }

  #checkValue(value: Uint8Array): void {
    const { valueBytesMax } = this.#limits;
    if (value.length <= valueBytesMax) return;
    const remedy = "raise `value` of the component's state in the manifest, or keep it in parts";
    const detail = `a value of ${value.length} bytes is above the limit of ${valueBytesMax}: ${remedy}`;
    throw new ShoalError('SHOAL_E_STATE_SIZE', detail);
  }

  /** Throws unless the entry to come, in place of the key's present one, stays within the limit. */
  #admit(units: number): void {
    const position = this.#contents.index.find(this.#key.hash, this.#matcher);
    const before = position < 0 ? 0 : this.#half.unitsOf(position);
    const unitsMax = Math.floor(this.#limits.shardBytesMax / UNIT_BYTES);
    const fits = () => this.#contents.liveUnits - before + units <= unitsMax;
    this.#contents.expire(this.#clock());
    if (fits()) return;
    const remedy = "raise `shardMemory` of the component's state in the manifest, or delete entries";
    const holds = `${this.#label} holds ${this.liveBytes} of at most ${this.#limits.shardBytesMax} bytes`;
    throw new ShoalError('SHOAL_E_STATE_FULL', `${holds}: ${remedy}`);
  }

  /** Writes a record for `#key` behind the others and lets it count. */
  #append(units: number, value: Uint8Array, flags: number, expiresAtMs: number): number {
    if (!this.mine) throw this.#deposed();
    if (this.#compaction !== undefined && this.watched) this.#switchWhenFollowed();
    const isFull = () => (this.#committed + units) * UNIT_BYTES > this.#halfBytes;
    if (isFull()) this.#compactNow();
    if (isFull()) {
      throw new ShoalError('SHOAL_E_STATE_FULL', `${this.#label} has no room, and no memory to take garbage out`);
    }
    this.#reserve(this.#active, this.#committed + units);
    const position = this.#committed;
    this.#half.write(position, this.#key, value, flags, expiresAtMs);
    this.#commit(position + units);
    return position;
  }

  #commit(units: number): void {
    this.#committed = units;
    this.#records += 1;
    Atomics.store(this.#words, SEGMENT_WORD.committed + this.#active, units);
  }

  /** Makes a half writable up to this unit. */
  #reserve(index: 0 | 1, endUnits: number): void {
    const end = endUnits * UNIT_BYTES;
    const half = this.#halves[index];
    if (end <= half.reserved) return;
    const to = Math.min(this.#halfBytes, Math.ceil(end / RESERVE_BYTES) * RESERVE_BYTES);
    try {
      this.#memory.reserve(half.offset + half.reserved, to - half.reserved);
      this.#map(half, to);
    } catch (cause) {
      const remedy = 'the host lacks memory, or its /dev/shm is full: see `shoal doctor`';
      throw new ShoalError('SHOAL_E_STATE_FULL', `${this.#label} gets no memory: ${remedy}`, { cause });
    }
    half.reserved = to;
  }

  /** Maps a half from its start to this byte at least: by doubling, since a mapping costs as much as a small write. */
  #map(half: Half, end: number): void {
    const mapped = half.part?.buffer.byteLength ?? 0;
    if (end <= mapped) return;
    const bytes = Math.min(this.#halfBytes, Math.max(2 * mapped, Math.ceil(end / RESERVE_BYTES) * RESERVE_BYTES));
    const before = half.part;
    half.part = this.#memory.map(half.offset, bytes);
    half.records.remap(half.part.buffer);
    // Iterations keep what they look at until they end and it is collected.
    if (this.#leases.size === 0) before?.unmap();
  }

  /** Gives a half's memory back, with all that may be in it. */
  #release(index: 0 | 1): void {
    const half = this.#halves[index];
    Atomics.store(this.#words, SEGMENT_WORD.committed + index, 0);
    this.#memory.release(half.offset, this.#halfBytes);
    half.reserved = 0;
    half.part?.unmap();
    half.part = undefined;
    half.records.remap(new ArrayBuffer(0));
  }

  /** After each write. */
  #written(units: number): void {
    this.#count('writes');
    this.#compact(Math.max(COMPACT_UNITS_MIN, COMPACT_RATIO * units));
    this.#publishSizes();
  }

  #count(what: 'reads' | 'writes' | 'refused'): void {
    const at = SEGMENT_WORD[what] / 2;
    this.#doubles[at] = (this.#doubles[at] as number) + 1;
  }

  #publishSizes(): void {
    this.#words[SEGMENT_WORD.liveUnits] = this.#contents.liveUnits;
    this.#words[SEGMENT_WORD.entries] = this.entries;
  }

  #compact(units: number): void {
    const garbage = this.#committed - this.#contents.liveUnits;
    const due = garbage > Math.max(GARBAGE_UNITS_MIN, this.#contents.liveUnits);
    if (this.#compaction === undefined && (!due || this.#committed < this.#compactAfter)) return;
    const target = other(this.#active);
    this.#compaction ??= new Compaction(this.#half, this.#halves[target].records, this.#contents.index, (end) =>
      this.#reserve(target, end),
    );
    try {
      const isCopied = this.#compaction.step(this.#committed, units, this.#clock());
      const isNow = !this.watched || units === Number.POSITIVE_INFINITY;
      if (isCopied && isNow) this.#switchTo(target, this.#compaction);
    } catch (error) {
      if (!(error instanceof ShoalError) || error.code !== 'SHOAL_E_STATE_FULL') throw error;
      // No memory for a second copy: the log goes on as it is, and another try comes later.
      this.#compaction = undefined;
      this.#release(target);
      this.#compactAfter = this.#committed + GARBAGE_UNITS_MIN;
    }
  }

  /**
   * While watched, before a write: once the copy is whole and who sends the log on has read all of it. One that is too slow has
   * to begin anew when the half is full.
   */
  #switchWhenFollowed(): void {
    const compaction = this.#compaction;
    if (compaction?.position !== this.#committed || this.#word('followed') !== this.#committed) return;
    this.#switchTo(other(this.#active), compaction);
  }

  #compactNow(): void {
    this.#compactAfter = 0;
    this.#compact(Number.POSITIVE_INFINITY);
  }

  /** The one store that lets the copy count in place of the log. */
  #switchTo(target: 0 | 1, { used, records, contents }: Compaction): void {
    const source = this.#active;
    this.#doubles[SEGMENT_WORD.base / 2 + target] = this.index - records;
    this.#words[SEGMENT_WORD.switchedUnits] = used;
    this.#words[SEGMENT_WORD.switchedRecords] = records;
    Atomics.store(this.#words, SEGMENT_WORD.committed + target, used);
    Atomics.store(this.#words, SEGMENT_WORD.active, target);
    this.#generation = Atomics.add(this.#words, SEGMENT_WORD.generation, 1) + 1;
    this.#detachLeases();
    this.#active = target;
    this.#committed = used;
    this.#records = records;
    this.#contents = contents;
    this.#matcher.half = this.#half;
    this.#compaction = undefined;
    this.#compactAfter = 0;
    this.#release(source);
  }

  /** Iterations that go on get a copy of what they look at, before it goes. */
  #detachLeases(): void {
    if (this.#leases.size === 0) return;
    const copy = this.#half.detached(this.#committed);
    for (const lease of this.#leases) lease.half = copy;
    this.#leases.clear();
  }

  /** Reads what can be read while the owner writes. What cannot be is read when this process becomes the owner. */
  #readAhead(): void {
    try {
      this.#read();
    } catch (error) {
      if (this.#isActive()) throw error;
    }
  }

  #catchUp(): void {
    const active = this.#word('active') === 0 ? 0 : 1;
    if (active !== this.#active || this.#word('generation') !== this.#generation) {
      this.#active = active;
      this.#generation = this.#word('generation');
      this.#contents = new Contents();
      this.#committed = 0;
      this.#records = 0;
      this.#matcher.half = this.#half;
    }
    this.#read();
    this.#contents.expire(this.#clock());
  }

  /** What was read counts if the half was active until after: before that its memory is not given back. */
  #readStill<T>(index: number, read: () => T): T | undefined {
    this.#readsTo = Math.max(index, this.#readsTo);
    for (let tries = 0; tries < READ_TRIES_MAX; tries += 1) {
      try {
        this.#catchUp();
        const whole = this.#base(this.#active) + this.#word('switchedRecords');
        const found = index < whole || this.index < index ? undefined : read();
        if (this.#isActive()) return found;
      } catch (error) {
        if (this.#isActive()) throw error;
      }
    }
    return undefined;
  }

  #isActive(): boolean {
    return this.#word('generation') === this.#generation && this.#word('active') === this.#active;
  }

  /** Takes in the records that have been committed since the last time. */
  #read(): void {
    const half = this.#half;
    const end = Atomics.load(this.#words, SEGMENT_WORD.committed + this.#active) >>> 0;
    if (end < this.#committed || end * UNIT_BYTES > this.#halfBytes) {
      throw this.#damaged(`says that it holds ${end} units`);
    }
    if (end > 0) this.#map(this.#halves[this.#active], end * UNIT_BYTES);
    const { index } = this.#contents;
    while (this.#committed < end && this.index < this.#readsTo) {
      const position = this.#committed;
      const units = half.check(position, end);
      half.loadKey(position, this.#key);
      const gone = (half.flags(position) & RECORD.tombstone) !== 0;
      const before = gone
        ? index.remove(this.#key.hash, this.#matcher)
        : index.set(this.#key.hash, this.#matcher, position);
      if (before >= 0) this.#contents.dropped(half, before);
      if (!gone) this.#contents.added(half, position, units);
      this.#committed = position + units;
      this.#records += 1;
    }
    this.#halves[this.#active].reserved = Math.floor((end * UNIT_BYTES) / RESERVE_BYTES) * RESERVE_BYTES;
  }

  #keyIn(half: LogHalf, position: number): string {
    const start = half.keyStart(position);
    return this.#textIn(half, position, start + half.nameLength(position), start + half.keyLength(position));
  }

  #stateIn(half: LogHalf, position: number): string {
    const start = half.keyStart(position);
    return this.#textIn(half, position, start, start + half.nameLength(position));
  }

  #textIn(half: LogHalf, position: number, start: number, end: number): string {
    try {
      return decoder.decode(half.bytes.subarray(start, end));
    } catch (cause) {
      throw this.#damaged(`has a key at unit ${position} that is no text`, cause);
    }
  }

  #damaged(what: string, cause?: unknown): ShoalError {
    const remedy = 'what it held cannot be had; remove the component and apply it again to begin anew';
    return new ShoalError('SHOAL_E_STATE_DAMAGED', `${this.#label} ${what}: ${remedy}`, { cause });
  }

  #deposed(): ShoalError {
    return new ShoalError('SHOAL_E_SHARD_MOVED', `${this.#label} has an owner since, of epoch ${this.#word('epoch')}`);
  }
}

function other(half: 0 | 1): 0 | 1 {
  return half === 0 ? 1 : 0;
}

function isLimit(error: unknown): boolean {
  return error instanceof ShoalError && (error.code === 'SHOAL_E_STATE_FULL' || error.code === 'SHOAL_E_STATE_SIZE');
}

function valueIn(half: LogHalf, position: number): Uint8Array {
  const start = half.keyStart(position) + half.keyLength(position);
  return half.bytes.subarray(start, start + half.valueLength(position));
}

function hasName(half: LogHalf, position: number, { bytes }: StateName): boolean {
  if (half.nameLength(position) !== bytes.length) return false;
  const start = half.keyStart(position);
  return bytes.every((byte, i) => half.bytes[start + i] === byte);
}
