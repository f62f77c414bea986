import { RECORD, recordUnits } from '../../protocol/state-record.js';
import { Expiries } from './expiries.js';
import { KeyBytes } from './key-bytes.js';
import { KeyIndex } from './key-index.js';
import { HalfMatcher, type LogHalf } from './log-half.js';

const NOTHING = new Uint8Array(0);

/** What is known of the records of a half: where each key's last one is, and how much of them is there still. */
export class Contents {
  readonly index = new KeyIndex();
  readonly expiries = new Expiries();
  liveUnits = 0;

  added(half: LogHalf, position: number, units: number): void {
    this.liveUnits += units;
    const expiresAtMs = half.expiresAtMs(position);
    if (expiresAtMs !== Number.POSITIVE_INFINITY) this.expiries.add(expiresAtMs, units);
  }

  /** The record is no longer the last one of its key. */
  dropped(half: LogHalf, position: number): void {
    const units = half.unitsOf(position);
    const expiresAtMs = half.expiresAtMs(position);
    const counted = expiresAtMs === Number.POSITIVE_INFINITY || this.expiries.remove(expiresAtMs, units);
    if (counted) this.liveUnits = Math.max(0, this.liveUnits - units);
  }

  expire(nowMs: number): void {
    this.liveUnits = Math.max(0, this.liveUnits - this.expiries.takeExpired(nowMs));
  }
}

/**
 * Copies what is left of a log into the other half, a little with each write, while the log goes on: records that are
 * appended meanwhile are met later. What it has copied is a log by itself at any time, though nobody sees it before the end.
 */
export class Compaction {
  readonly contents = new Contents();
  /** Units of records in the target, and how many they are. */
  used = 0;
  records = 0;
  readonly #source: LogHalf;
  readonly #target: LogHalf;
  readonly #sourceIndex: KeyIndex;
  /** Takes memory of the target up to this unit. */
  readonly #reserve: (end: number) => void;
  readonly #key = new KeyBytes();
  readonly #matcher: HalfMatcher;
  /** In the source: all before it has been copied. */
  position = 0;

  constructor(source: LogHalf, target: LogHalf, sourceIndex: KeyIndex, reserve: (end: number) => void) {
    this.#source = source;
    this.#target = target;
    this.#sourceIndex = sourceIndex;
    this.#reserve = reserve;
    this.#matcher = new HalfMatcher(target, this.#key);
  }

  /** Goes on for about so many units; whether all that is committed has been copied. */
  step(committed: number, units: number, nowMs: number): boolean {
    const end = Math.min(committed, this.position + units);
    while (this.position < end) this.position += this.#copy(this.position, committed, nowMs);
    return this.position === committed;
  }

  #copy(position: number, committed: number, nowMs: number): number {
    const source = this.#source;
    const units = source.check(position, committed);
    source.loadKey(position, this.#key);
    const { hash } = this.#key;
    const gone = (source.flags(position) & RECORD.tombstone) !== 0;
    if (gone || source.expiresAtMs(position) <= nowMs) {
      this.#remove();
    } else if (this.#sourceIndex.holds(hash, position)) {
      this.#reserve(this.used + units);
      this.#target.copyFrom(source, position, this.used, units);
      const before = this.contents.index.set(hash, this.#matcher, this.used);
      if (before >= 0) this.contents.dropped(this.#target, before);
      this.contents.added(this.#target, this.used, units);
      this.used += units;
      this.records += 1;
    }
    return units;
  }

  /** An older record of the key may have been copied while it was the last one. */
  #remove(): void {
    const before = this.contents.index.remove(this.#key.hash, this.#matcher);
    if (before < 0) return;
    this.contents.dropped(this.#target, before);
    const flags = RECORD.present | RECORD.tombstone;
    const units = recordUnits(this.#key.length, 0, flags);
    this.#reserve(this.used + units);
    this.#target.write(this.used, this.#key, NOTHING, flags, 0);
    this.used += units;
    this.records += 1;
  }
}
