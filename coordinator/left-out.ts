import { AddressLimit, type AddressRates } from './address-limit.js';

/** Of more addresses what is left out is counted together. */
const ADDRESSES_COUNTED_MAX = 1_000;
const ADDRESSES_NAMED_MAX = 10;

/** What was left out. */
export interface LeftOut {
  count: number;
  /** Those of which most was left out, most first. */
  most: { from: string; count: number }[];
}

/** Lets so much of each address through, and counts what it leaves out, so that nobody vanishes behind another one's flood. */
export class LeftOutCounter {
  readonly #limit: AddressLimit;
  readonly #counts = new Map<string, number>();
  #count = 0;

  /** `clock`: ms, only forward. */
  constructor(rates: AddressRates, clock?: () => number) {
    this.#limit = new AddressLimit(rates, clock);
  }

  /** Whether it may go through; else it is counted. */
  take(from: string): boolean {
    if (this.#limit.take(from) === 0) return true;
    this.#count += 1;
    const known = this.#counts.get(from);
    if (known !== undefined || this.#counts.size < ADDRESSES_COUNTED_MAX) this.#counts.set(from, (known ?? 0) + 1);
    return false;
  }

  /** What was left out since this was last asked; null: nothing. */
  drain(): LeftOut | null {
    if (this.#count === 0) return null;
    const most = [...this.#counts].map(([from, count]) => ({ from, count })).sort((a, b) => b.count - a.count);
    const count = this.#count;
    this.#counts.clear();
    this.#count = 0;
    return { count, most: most.slice(0, ADDRESSES_NAMED_MAX) };
  }
}
