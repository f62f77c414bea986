import type { ShardStore } from './shard-store.js';

/**
 * The keyed state of a partitioned component, as far as this instance owns it. Every method throws
 * SHOAL_E_SHARD_MOVED for a key whose state shard is elsewhere; calls that carry the key never meet that.
 */
export class State {
  readonly #store: ShardStore;

  constructor(store: ShardStore) {
    this.#store = store;
  }

  get(key: string): unknown {
    return this.#store.of(key).get(key);
  }

  has(key: string): boolean {
    return this.#store.of(key).has(key);
  }

  /** Values are plain data (what msgpack can carry). Change a value by setting it: a handover copies what was set. */
  set(key: string, value: unknown): void {
    this.#store.of(key).set(key, value);
  }

  /** Whether there was such a key. */
  delete(key: string): boolean {
    return this.#store.of(key).delete(key);
  }

  /** All entries of a state shard. */
  entries(shard: number): IterableIterator<[string, unknown]> {
    return this.#store.entries(shard).entries();
  }

  /** State shards that this instance holds now. */
  get shards(): number[] {
    return this.#store.held;
  }
}
