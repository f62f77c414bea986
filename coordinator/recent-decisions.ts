import type { AnnouncedEvent, Fate } from './brain/decision.js';
import type { Explanation } from './brain/explanation.js';
import { ROW_LENGTH, readRow } from './brain/explanation-row.js';

export interface RecentDecision {
  explanation: Explanation;
  fate: Fate;
  announced: readonly AnnouncedEvent[];
}

/** The newest decisions of a component in a ring: written each second, read when somebody asks. */
export class RecentDecisions {
  #rows = new Float64Array(0);
  #rest: Omit<RecentDecision, 'explanation'>[] = [];
  #count = 0;

  /** Takes the place of the oldest once there are `most`. */
  add(row: Float64Array, fate: Fate, announced: readonly AnnouncedEvent[], most: number): void {
    if (most * ROW_LENGTH !== this.#rows.length) this.#resize(most);
    const slot = this.#count % most;
    this.#rows.set(row, slot * ROW_LENGTH);
    const rest = this.#rest[slot];
    if (rest === undefined) this.#rest[slot] = { fate, announced };
    else {
      rest.fate = fate;
      rest.announced = announced;
    }
    this.#count += 1;
  }

  /** Oldest first. */
  list(): RecentDecision[] {
    const most = this.#rows.length / ROW_LENGTH;
    const found: RecentDecision[] = [];
    for (let i = Math.max(0, this.#count - most); i < this.#count; i += 1) {
      const slot = i % most;
      const explanation = readRow(this.#rows, slot * ROW_LENGTH);
      if (explanation !== null)
        found.push({ explanation, ...(this.#rest[slot] as Omit<RecentDecision, 'explanation'>) });
    }
    return found;
  }

  #resize(most: number): void {
    const before = this.#rows;
    const slots = before.length / ROW_LENGTH;
    const rest = this.#rest;
    const kept = Math.min(most, slots, this.#count);
    const first = this.#count - kept;
    this.#rows = new Float64Array(most * ROW_LENGTH);
    this.#rest = [];
    this.#count = 0;
    for (let i = first; i < first + kept; i += 1) {
      const start = (i % slots) * ROW_LENGTH;
      const { fate, announced } = rest[i % slots] as Omit<RecentDecision, 'explanation'>;
      this.add(before.subarray(start, start + ROW_LENGTH), fate, announced, most);
    }
  }
}
