import type { CacheFigures } from '../../protocol/cache-figures.js';

/** How a request ended: what it was, or that it failed. */
export type CacheOutcome = 'hits' | 'misses' | 'writes' | 'failed';

type Counted = Omit<CacheFigures, 'connections' | 'clients'>;

/** What all instances of a component on this host do with its cache. */
export class CacheCounts {
  readonly #figures: Counted = {
    hits: 0,
    misses: 0,
    nearHits: 0,
    writes: 0,
    failed: 0,
    answerMs: 0,
    slowestMs: 0,
    waiting: 0,
  };

  /** A request is under way; the function that is answered is called once it is not. */
  begun(): () => void {
    this.#figures.waiting += 1;
    return () => {
      this.#figures.waiting -= 1;
    };
  }

  /** A request was answered. */
  answered(outcome: CacheOutcome, tookMs: number): void {
    const figures = this.#figures;
    figures[outcome] += 1;
    if (outcome === 'failed') return;
    figures.answerMs += tookMs;
    figures.slowestMs = Math.max(figures.slowestMs, tookMs);
  }

  nearHits(count: number): void {
    this.#figures.nearHits += count;
  }

  /** As they are now; the longest begins anew. */
  take(): Counted {
    const taken = { ...this.#figures };
    this.#figures.slowestMs = 0;
    return taken;
  }
}
