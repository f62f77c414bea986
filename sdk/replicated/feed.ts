import type { Change, News, Position } from './messages.js';

/** The entries as their owner has them now. */
export interface Source extends Position {
  entries(): Iterable<Change>;
}

/** Of changes that are kept for those who follow; who has fallen further behind gets all entries. */
const KEPT_BYTES_MAX = 1024 * 1024;
const KEPT_CHANGES_MAX = 4096;
/** What a change takes beside its key and value, about. */
const CHANGE_BYTES = 64;

/** The last changes that an owner has made, for replicas to follow. Pure. */
export class Feed {
  /** Of the owner that made them. */
  #epoch = -1;
  #changes: Change[] = [];
  /** Of the last of them. */
  #index = -1;
  #bytes = 0;

  /** The owner has made a change, which is its write of that index. */
  wrote({ epoch, index }: Position, change: Change): void {
    if (epoch !== this.#epoch || index !== this.#index + 1) {
      this.#changes = [];
      this.#bytes = 0;
    }
    this.#epoch = epoch;
    this.#index = index;
    this.#changes.push(change);
    this.#bytes += bytesOf(change);
    let dropped = 0;
    while (this.#bytes > KEPT_BYTES_MAX || this.#changes.length - dropped > KEPT_CHANGES_MAX) {
      this.#bytes -= bytesOf(this.#changes[dropped] as Change);
      dropped += 1;
    }
    if (dropped > 0) this.#changes.splice(0, dropped);
  }

  /** What somebody at this position does not know yet of the source. */
  newsFor(position: Position, source: Source): News {
    const { epoch, index } = source;
    const missing = position.epoch === epoch ? index - position.index : -1;
    if (missing === 0) return { epoch, index, from: index, changes: [] };
    const isKept = this.#epoch === epoch && this.#index === index && missing > 0 && missing <= this.#changes.length;
    if (isKept) return { epoch, index, from: position.index, changes: this.#changes.slice(-missing) };
    return { epoch, index, from: null, changes: [...source.entries()] };
  }
}

function bytesOf([state, key, value]: Change): number {
  return CHANGE_BYTES + 2 * (state.length + key.length) + (value?.length ?? 0);
}
