import type { CacheEntry } from '../../protocol/cache.js';

/** Besides a value: its key, and what the two maps take for it. */
const ENTRY_OVERHEAD_BYTES = 128;

interface Kept {
  value: Uint8Array | null;
  bytes: number;
  untilMs: number;
}

/**
 * Values of the cache that were read lately, within a bound of bytes and entries: what was not used for longest goes first. Used
 * only while the agent vouches that what is stale was told. Times in ms of CLOCK_MONOTONIC.
 */
export class NearCache {
  readonly #bytesMax: number;
  readonly #entriesMax: number;
  readonly #clock: () => number;
  /** Those used last stand last. */
  readonly #kept = new Map<string, Kept>();
  #bytes = 0;
  #vouchedUntilMs = Number.NEGATIVE_INFINITY;
  hits = 0;

  constructor({ bytesMax, entriesMax }: { bytesMax: number; entriesMax: number }, clock: () => number) {
    this.#bytesMax = bytesMax;
    this.#entriesMax = entriesMax;
    this.#clock = clock;
  }

  get bytes(): number {
    return this.#bytes;
  }
  get entries(): number {
    return this.#kept.size;
  }

  /** The value, null where it is known that there is none; undefined: not known here. */
  find(entry: CacheEntry): Uint8Array | null | undefined {
    const name = nameOf(entry);
    const kept = this.#kept.get(name);
    if (kept === undefined) return undefined;
    const nowMs = this.#clock();
    if (nowMs >= this.#vouchedUntilMs) return undefined;
    if (nowMs >= kept.untilMs) {
      this.#forget(name);
      return undefined;
    }
    this.#kept.delete(name);
    this.#kept.set(name, kept);
    this.hits += 1;
    return kept.value;
  }

  /** Keeps what was read; `untilMs`: when it expires. */
  keep(entry: CacheEntry, value: Uint8Array | null, untilMs: number): void {
    const name = nameOf(entry);
    this.#forget(name);
    const bytes = ENTRY_OVERHEAD_BYTES + 2 * name.length + (value?.length ?? 0);
    if (bytes > this.#bytesMax) return;
    this.#kept.set(name, { value, bytes, untilMs });
    this.#bytes += bytes;
    for (const oldest of this.#kept.keys()) {
      if (this.#bytes <= this.#bytesMax && this.#kept.size <= this.#entriesMax) break;
      this.#forget(oldest);
    }
  }

  /** It has, or may have, another value; null: all may. */
  stale(entry: CacheEntry | null): void {
    if (entry !== null) {
      this.#forget(nameOf(entry));
      return;
    }
    this.#kept.clear();
    this.#bytes = 0;
  }

  /** What is stale by then will have been told by then. */
  vouch(untilMs: number): void {
    this.#vouchedUntilMs = Math.max(this.#vouchedUntilMs, untilMs);
  }

  /** Nothing is told any more: nothing is used until somebody vouches again. */
  lost(): void {
    this.stale(null);
    this.#vouchedUntilMs = Number.NEGATIVE_INFINITY;
  }

  #forget(name: string): void {
    const kept = this.#kept.get(name);
    if (kept === undefined) return;
    this.#kept.delete(name);
    this.#bytes -= kept.bytes;
  }
}

/** Names of states have no colon. */
function nameOf({ state, key }: CacheEntry): string {
  return `${state}:${key}`;
}
