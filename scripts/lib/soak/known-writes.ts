/**
 * What a value behind the API may be, by what its only writer was told. A write of which nothing is known may have been
 * done, or not, or be done late, behind later ones: a process that was stopped may hold it.
 */
export class KnownWrites<T> {
  /** The first value, or that of the last write that was acknowledged. */
  #last: T;
  #open: T[] = [];
  acknowledged = 0;

  constructor(first: T) {
    this.#last = first;
  }

  /** To be called before it is sent. */
  begin(value: T): void {
    this.#open.push(value);
  }

  acknowledge(value: T): void {
    const at = this.#open.indexOf(value);
    if (at < 0) throw new Error(`${String(value)} was acknowledged and never written`);
    this.#open.splice(at, 1);
    this.#last = value;
    this.acknowledged += 1;
  }

  /** Throws, with what is known, where the value cannot be what was read. */
  assertPossible(value: T): void {
    if (value === this.#last || this.#open.includes(value)) return;
    const told = this.acknowledged === 0 ? 'it was at first' : 'was acknowledged last';
    const open = this.#open.length === 0 ? 'none' : this.#open.join(', ');
    throw new Error(`it is ${String(value)}; ${String(this.#last)} ${told}, open are ${open}`);
  }

  /** It was read when nothing was under way any more. */
  settle(value: T): void {
    this.assertPossible(value);
    this.#last = value;
    this.#open = [];
  }
}
