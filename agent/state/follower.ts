import type { CopyMessage } from '../../protocol/state-copies.js';
import type { CopyStore } from './copy-memory.js';
import { type CopyTiming, retryAfterMs } from './copy-timing.js';

type Append = Extract<CopyMessage, { type: 'append' }>;

/** What an owner knows of a copy whose word it needs. */
export class Follower {
  /** Up to where it holds the log; null before it has said so. */
  held: number | null;
  leaseUntilMs = Number.NEGATIVE_INFINITY;
  /** When it last said what it holds, by its own clock; undefined: it never has. */
  saidAtMs: number | undefined;
  /** Has no whole copy, or lacks writes that are no longer kept. */
  broken = false;
  /** It is synced once it holds this. */
  readonly needed: number;
  #sent: number | null;
  #askedAtMs = Number.NEGATIVE_INFINITY;
  #heardAtMs: number;
  /** Of the last question. */
  #repeats = 0;

  constructor(held: number | null, needed: number, nowMs: number) {
    this.held = held;
    this.#sent = held;
    this.needed = needed;
    this.#heardAtMs = nowMs;
  }

  isSynced(): boolean {
    return !this.broken && this.held !== null && this.held >= this.needed;
  }

  isFailing(nowMs: number, { silentMs }: CopyTiming): boolean {
    return this.broken || nowMs - this.#heardAtMs > silentMs;
  }

  heard(last: number, askedAtMs: number, nowMs: number, timing: CopyTiming): void {
    this.#heardAtMs = nowMs;
    this.#repeats = 0;
    this.#leased(askedAtMs, timing);
    // Words of it may come in another order than it said them.
    this.held = Math.max(this.held ?? 0, last);
    this.#sent = Math.max(this.#sent ?? 0, this.held);
  }

  /** It has passed the shard on with all up to `last`, some time after `sinceMs`. */
  hasPassed(last: number, sinceMs: number | undefined, timing: CopyTiming): void {
    this.held = last;
    this.#sent = last;
    if (sinceMs !== undefined) this.#leased(sinceMs, timing);
  }

  #leased(sinceMs: number, { leaseMs, clockDriftMax }: CopyTiming): void {
    this.leaseUntilMs = Math.max(this.leaseUntilMs, sinceMs + leaseMs * (1 - clockDriftMax));
  }

  /** Its owner has another epoch: what is under way will be refused. */
  askAnew(): void {
    this.#sent = this.held;
    this.#askedAtMs = Number.NEGATIVE_INFINITY;
    this.#repeats = 0;
  }

  /** What to send now; null for nothing. */
  next(store: CopyStore, epoch: number, nowMs: number, timing: CopyTiming): Append | null {
    const waitedMs = nowMs - this.#askedAtMs;
    const behind = this.held === null || this.held < store.last;
    const retryMs = retryAfterMs(this.#repeats, timing);
    const isRepeat = behind && waitedMs >= retryMs;
    if (isRepeat) this.#sent = this.held;
    const news = this.#sent !== null && this.#sent < store.last;
    if (!news && waitedMs < (behind ? retryMs : timing.renewMs)) return null;
    if (isRepeat && waitedMs !== Number.POSITIVE_INFINITY) this.#repeats += 1;
    const after = this.#sent ?? store.last;
    const records = store.recordsAfter(after, timing.recordsMax);
    if (records === null) {
      this.broken = true;
      return null;
    }
    if (this.#sent !== null) this.#sent = after + records.length;
    this.#askedAtMs = nowMs;
    return { type: 'append', epoch, after, records, askedAtMs: nowMs };
  }
}
