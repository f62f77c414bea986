import { type Change, isBefore, type News, NOWHERE, type Position } from './messages.js';

interface Entry {
  value: Uint8Array;
  /** 0: never. */
  expiresAtMs: number;
}

/** Expired entries are looked for after so many changes, or as many as there are entries. */
const SWEEP_CHANGES_MIN = 1024;

/**
 * The entries of a component as one instance has them: what its owner held at `position`. Pure; news may come twice, late
 * or never: what does not follow on what is here changes nothing, and asking from `position` brings what is missing.
 */
export class Replica {
  /** By name of the state, then by key. */
  #states = new Map<string, Map<string, Entry>>();
  #position = NOWHERE;
  #size = 0;
  #unswept = 0;

  get position(): Position {
    return this.#position;
  }

  /** Of entries, expired ones that were not looked at among them. */
  get size(): number {
    return this.#size;
  }

  /** The value, not to be changed; null when there is none. */
  get(state: string, key: string, nowMs: number): Uint8Array | null {
    const entry = this.#states.get(state)?.get(key);
    return entry === undefined || isExpired(entry, nowMs) ? null : entry.value;
  }

  /** Whether the news were of use: that they led on, or said that there is nothing new. */
  take(news: News, nowMs: number): boolean {
    const { epoch, index, from, changes } = news;
    const here = this.#position;
    if (isBefore(news, here)) return false;
    if (from === null) {
      this.#states = new Map();
      this.#size = 0;
      for (const change of changes) this.#apply(change);
    } else {
      if (epoch !== here.epoch || from > here.index) return false;
      for (const change of changes.slice(here.index - from)) this.#apply(change);
    }
    this.#position = { epoch, index };
    this.#unswept += changes.length;
    if (this.#unswept >= Math.max(SWEEP_CHANGES_MIN, this.#size)) this.#sweep(nowMs);
    return true;
  }

  #apply([state, key, value, expiresAtMs]: Change): void {
    let entries = this.#states.get(state);
    if (value === null) {
      if (entries?.delete(key)) this.#size -= 1;
      return;
    }
    if (entries === undefined) {
      entries = new Map();
      this.#states.set(state, entries);
    }
    if (!entries.has(key)) this.#size += 1;
    entries.set(key, { value, expiresAtMs });
  }

  #sweep(nowMs: number): void {
    this.#unswept = 0;
    for (const entries of this.#states.values()) {
      for (const [key, entry] of entries) {
        if (isExpired(entry, nowMs) && entries.delete(key)) this.#size -= 1;
      }
    }
  }
}

function isExpired({ expiresAtMs }: Entry, nowMs: number): boolean {
  return expiresAtMs !== 0 && expiresAtMs <= nowMs;
}
