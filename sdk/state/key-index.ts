import assert from 'node:assert/strict';

const SLOTS_MIN = 16;

/** Whether the record at a position has the key that is looked for. */
export interface KeyMatcher {
  hasKey(position: number): boolean;
}

/**
 * Where in the log the last record of each key is: a hash table with linear probing, out of the JavaScript heap, so that
 * ten million keys cost 16 bytes each and the garbage collector nothing. Slots are pairs: hash, position + 1 (0: free).
 */
export class KeyIndex {
  #slots = new Int32Array(2 * SLOTS_MIN);
  #mask = SLOTS_MIN - 1;
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** Position of the key's record; -1 when there is none. */
  find(hash: number, matcher: KeyMatcher): number {
    const slot = this.#slotOf(hash, matcher);
    return slot < 0 ? -1 : (this.#slots[2 * slot + 1] as number) - 1;
  }

  /** Whether the record at this position is the last of its key. */
  holds(hash: number, position: number): boolean {
    const slots = this.#slots;
    for (let slot = hash & this.#mask; ; slot = (slot + 1) & this.#mask) {
      const found = slots[2 * slot + 1] as number;
      if (found === 0) return false;
      if (found === position + 1) return true;
    }
  }

  /** Puts the position in place of the key's former one, which is answered; -1 for a new key. */
  set(hash: number, matcher: KeyMatcher, position: number): number {
    const slot = this.#slotOf(hash, matcher);
    if (slot >= 0) {
      const before = (this.#slots[2 * slot + 1] as number) - 1;
      this.#slots[2 * slot + 1] = position + 1;
      return before;
    }
    this.#insert(hash, position + 1);
    this.#size += 1;
    if (2 * this.#size > this.#mask) this.#grow();
    return -1;
  }

  /** Takes the key out; its former position, -1 when there was none. */
  remove(hash: number, matcher: KeyMatcher): number {
    const slot = this.#slotOf(hash, matcher);
    if (slot < 0) return -1;
    const before = (this.#slots[2 * slot + 1] as number) - 1;
    this.#close(slot);
    this.#size -= 1;
    return before;
  }

  /** The positions of all records, in no order. */
  positions(): Int32Array {
    const positions = new Int32Array(this.#size);
    let count = 0;
    const slots = this.#slots;
    for (let i = 1; i < slots.length; i += 2) if (slots[i] !== 0) positions[count++] = (slots[i] as number) - 1;
    assert(count === this.#size, 'an index has as many positions as keys');
    return positions;
  }

  #slotOf(hash: number, matcher: KeyMatcher): number {
    const slots = this.#slots;
    for (let slot = hash & this.#mask; ; slot = (slot + 1) & this.#mask) {
      const found = slots[2 * slot + 1] as number;
      if (found === 0) return -1;
      if (slots[2 * slot] === hash && matcher.hasKey(found - 1)) return slot;
    }
  }

  #insert(hash: number, value: number): void {
    const slots = this.#slots;
    let slot = hash & this.#mask;
    while (slots[2 * slot + 1] !== 0) slot = (slot + 1) & this.#mask;
    slots[2 * slot] = hash;
    slots[2 * slot + 1] = value;
  }

  /** Moves later ones of the same run forward, so that every key stays reachable from its home (Knuth 6.4, R). */
  #close(gap: number): void {
    const slots = this.#slots;
    let free = gap;
    for (let slot = (gap + 1) & this.#mask; slots[2 * slot + 1] !== 0; slot = (slot + 1) & this.#mask) {
      const home = (slots[2 * slot] as number) & this.#mask;
      if (((slot - home) & this.#mask) < ((slot - free) & this.#mask)) continue;
      slots[2 * free] = slots[2 * slot] as number;
      slots[2 * free + 1] = slots[2 * slot + 1] as number;
      free = slot;
    }
    slots[2 * free + 1] = 0;
  }

  #grow(): void {
    const before = this.#slots;
    this.#slots = new Int32Array(2 * before.length);
    this.#mask = this.#slots.length / 2 - 1;
    for (let i = 0; i < before.length; i += 2) {
      if (before[i + 1] !== 0) this.#insert(before[i] as number, before[i + 1] as number);
    }
  }
}
