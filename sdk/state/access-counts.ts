import type { KeyAccess, StateAccess } from '../../protocol/control.js';
import { LIMITS } from '../../protocol/limits.js';
import { KeySketch } from './key-sketch.js';

/** So many of each second go into the sketch, drawn by lot, and each counts for as many as it stands for. */
const DRAWN_PER_SECOND = 1_000;
/** A handful in a shorter span says nothing of their rate. */
const SPAN_MS_MIN = 500;

/** What is read and written in partitioned state: each time by state shard, and the heaviest keys. */
export class AccessCounts {
  /** By shard; holes where nothing was read or written. */
  readonly #reads: number[] = [];
  readonly #writes: number[] = [];
  readonly #keys = new KeySketch(LIMITS.heaviestKeysMax);
  readonly #clock: () => number;
  readonly #lot: () => number;
  #noted = 0;
  #oneIn = 1;
  #untilDraw = 1;
  /** Since the last look. */
  #drawn = 0;
  #drawnMs: number;
  #drawnAt = 0;

  /** `clock`: in ms; `lot`: from 0 to 1. */
  constructor(clock: () => number = () => performance.now(), lot: () => number = Math.random) {
    this.#clock = clock;
    this.#lot = lot;
    this.#drawnMs = clock();
  }

  /** On the path of every read and write: mostly two additions. */
  note(shard: number, state: string, key: string, kind: 'reads' | 'writes'): void {
    const counts = kind === 'reads' ? this.#reads : this.#writes;
    counts[shard] = (counts[shard] ?? 0) + 1;
    this.#noted += 1;
    this.#untilDraw -= 1;
    if (this.#untilDraw > 0) return;
    this.#keys.add(shard, state, key, kind, this.#oneIn);
    this.#drawn += 1;
    // What came of a sudden is drawn more rarely at once, not from the next look on.
    if (this.#drawn % DRAWN_PER_SECOND === 0) this.#oneIn *= 2;
    // Evenly around the mean, so that it falls in step with no loop.
    this.#untilDraw = 1 + Math.floor(this.#lot() * (2 * this.#oneIn - 1));
  }

  /** Since the process started; undefined when nothing was read or written. */
  read(): StateAccess | undefined {
    if (this.#noted === 0) return undefined;
    const nowMs = this.#clock();
    const spanMs = nowMs - this.#drawnMs;
    if (spanMs >= SPAN_MS_MIN) {
      const rate = ((this.#noted - this.#drawnAt) * 1_000) / spanMs;
      this.#oneIn = Math.max(1, Math.round(rate / DRAWN_PER_SECOND));
      this.#drawnMs = nowMs;
      this.#drawnAt = this.#noted;
      this.#drawn = 0;
    }
    const keys = this.#keys
      .heaviest()
      .map(({ shard, state, key, reads, writes }): KeyAccess => [shard, state, shortened(key), reads, writes]);
    return { shards: this.#byShard(), keys };
  }

  #byShard(): StateAccess['shards'] {
    const shards: StateAccess['shards'] = [];
    for (let shard = 0; shard < Math.max(this.#reads.length, this.#writes.length); shard += 1) {
      const [reads, writes] = [this.#reads[shard] ?? 0, this.#writes[shard] ?? 0];
      if (reads + writes > 0) shards.push([shard, reads, writes]);
    }
    return shards;
  }
}

function shortened(key: string): string {
  return key.length <= LIMITS.keyToldLengthMax ? key : `${key.slice(0, LIMITS.keyToldLengthMax - 1)}…`;
}
