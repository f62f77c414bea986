import type { CopyMessage } from '../../protocol/state-copies.js';
import type { CopyStore } from './copy-memory.js';
import { type CopyTiming, retryAfterMs } from './copy-timing.js';

type FillPart = Extract<CopyMessage, { type: 'fill' }>;

/** Parts with entries are large: who has not answered one is more likely busy than without it. */
const PART_PATIENCE = 4;

/**
 * One fill as its source sees it: a part, its answer, the next part. The first has no entries, since the joining host may not have
 * heard of it yet: what nobody takes is sent again soon.
 */
export class OutgoingFill {
  /** Of the joining host. */
  readonly since: number;
  readonly #begun: number;
  readonly #attempt: number;
  /** The log as far as it has been sent. */
  #last: number;
  #cursor: unknown = undefined;
  #part: FillPart | null = null;
  #partNumber = 0;
  #sentAtMs = Number.NEGATIVE_INFINITY;
  #repeats = 0;

  constructor(since: number, begun: number, attempt: number, store: CopyStore) {
    this.since = since;
    this.#begun = begun;
    this.#attempt = attempt;
    this.#last = store.last;
  }

  get last(): number {
    return this.#last;
  }

  /** Whether a part is to be sent, for the first time or again. */
  isDue(nowMs: number, timing: CopyTiming): boolean {
    const repeats = this.#part?.part === 0 ? this.#repeats : this.#repeats + PART_PATIENCE;
    return this.#part === null || nowMs - this.#sentAtMs >= retryAfterMs(repeats, timing);
  }

  /** The part that is due; null when writes that it needs are no longer kept. */
  next(store: CopyStore, epoch: number, nowMs: number, timing: CopyTiming): FillPart | null {
    this.#repeats = this.#part === null ? 0 : this.#repeats + 1;
    const part = this.#part ?? this.#make(store, timing);
    if (part === null) return null;
    this.#sentAtMs = nowMs;
    this.#part = { ...part, epoch };
    return this.#part;
  }

  /** Whether that was the answer to the last part. */
  answered(begun: number, attempt: number, part: number): boolean {
    if (begun !== this.#begun || attempt !== this.#attempt || part !== this.#part?.part) return false;
    const { done } = this.#part;
    this.#part = null;
    return done;
  }

  #make(store: CopyStore, timing: CopyTiming): FillPart | null {
    const records = store.recordsAfter(this.#last, timing.recordsMax);
    if (records === null) return null;
    // Writes first: an entry that is read now is at least as new as they are.
    this.#last += records.length;
    const part = this.#partNumber;
    const isEmpty = part === 0 || this.#cursor === null;
    const { entries, next } = isEmpty
      ? { entries: [], next: this.#cursor }
      : store.entriesFrom(this.#cursor, timing.partBytesMax);
    this.#cursor = next;
    const done = next === null && this.#last === store.last;
    this.#partNumber += 1;
    const fill = { epoch: this.#begun, begun: this.#begun, attempt: this.#attempt };
    return { type: 'fill', ...fill, part, records, entries, last: this.#last, done };
  }
}
