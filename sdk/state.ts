import { ShoalError } from '../protocol/errors.js';
import { shardOfKey } from '../protocol/shard.js';
import type { ShardStore } from './shard-store.js';
import { type Elsewhere, storedIn } from './state/elsewhere.js';
import { type StateName, stateName } from './state/key-bytes.js';
import type { ShardLog, StoredValue } from './state/shard-log.js';
import { bytesOf, changed, readValue, ttlOf } from './state/values.js';

export interface StateOptions {
  /** Values are bytes, kept as they are. */
  raw?: boolean;
  /** What the component is going to do with it that not every mode can: a mode that cannot is refused at once. */
  needs?: readonly StateNeed[];
}

/**
 * `scan`: goes through all entries of a state shard. `hooks`: is told of state shards that arrive and leave. `copies`: reads
 * entries whatever instance owns them.
 */
export type StateNeed = 'scan' | 'hooks' | 'copies';

export interface WriteOptions {
  /** The entry is gone after so many milliseconds. */
  ttlMs?: number;
}

/**
 * Entries of one state by key. Methods reject with SHOAL_E_SHARD_MOVED for a key whose state shard is elsewhere, which calls
 * that carry the key never meet; with SHOAL_E_STATE_SIZE or SHOAL_E_STATE_FULL for what is beyond a limit, and then nothing
 * has changed.
 */
export interface KeyedState<Value> {
  get(key: string): Promise<Value | undefined>;
  has(key: string): Promise<boolean>;
  /** Values are plain data (what msgpack can carry), or bytes for a raw state. They are copied. */
  set(key: string, value: Value, options?: WriteOptions): Promise<void>;
  /** Whether there was such an entry. */
  delete(key: string): Promise<boolean>;
  /**
   * Sets what `change` answers for the present value, with nothing in between; undefined deletes the entry. Keeps the time at
   * which it expires unless told otherwise. `change` may not be asynchronous. Answers the new value.
   */
  update(
    key: string,
    change: (value: Value | undefined) => Value | undefined,
    options?: WriteOptions,
  ): Promise<Value | undefined>;
  /** All entries in a state shard as they are now, in no order; what is written meanwhile is not seen. */
  scan(shard: number): AsyncIterableIterator<[key: string, value: Value]>;
}

/** The state of a partitioned component, as far as this instance owns it: in shared memory of this host. */
export class OwnedState<Value> implements KeyedState<Value> {
  readonly #store: ShardStore;
  readonly #name: StateName;
  readonly #raw: boolean;
  readonly #shards: number;
  readonly #clock: () => number;
  readonly #elsewhere: Elsewhere | null;

  /** `elsewhere`: where what others own is read; null: nowhere. */
  constructor(
    store: ShardStore,
    name: string,
    { raw = false, needs = [] }: StateOptions = {},
    clock: () => number = Date.now,
    elsewhere: Elsewhere | null = null,
  ) {
    if (store.settings === null) {
      const remedy = 'give it `state: partitioned` or `state: cache` in the manifest';
      throw new ShoalError('SHOAL_E_STATE_MODE', `this component has no state: ${remedy}`);
    }
    if (needs.includes('copies') && elsewhere === null) {
      const remedy = 'give its state `reads: { staleness: 500ms }` and `replicas` in the manifest';
      throw new ShoalError('SHOAL_E_STATE_MODE', `state ${name} is to be read from copies: ${remedy}`);
    }
    this.#store = store;
    this.#elsewhere = elsewhere;
    this.#name = stateName(name);
    this.#raw = raw;
    this.#shards = store.settings.shards;
    this.#clock = clock;
  }

  async get(key: string): Promise<Value | undefined> {
    if (this.#elsewhere !== null) {
      const stored = await this.#readAnywhere(this.#elsewhere, key);
      return stored === null ? undefined : this.#decode(stored.value, stored.raw);
    }
    const log = this.#logOf(key, 'reads');
    const position = log.find(this.#name, key);
    return position < 0 ? undefined : this.#decode(log.value(position), log.isRaw(position));
  }

  async has(key: string): Promise<boolean> {
    if (this.#elsewhere !== null) return (await this.#readAnywhere(this.#elsewhere, key)) !== null;
    return this.#logOf(key, 'reads').find(this.#name, key) >= 0;
  }

  async set(key: string, value: Value, { ttlMs }: WriteOptions = {}): Promise<void> {
    this.#put(this.#logOf(key, 'writes'), key, value, this.#expiry(ttlMs));
  }

  async delete(key: string): Promise<boolean> {
    return this.#logOf(key, 'writes').delete(this.#name, key);
  }

  async update(
    key: string,
    change: (value: Value | undefined) => Value | undefined,
    { ttlMs }: WriteOptions = {},
  ): Promise<Value | undefined> {
    const log = this.#logOf(key, 'writes');
    const position = log.find(this.#name, key);
    const before = position < 0 ? undefined : this.#decode(log.value(position), log.isRaw(position));
    const kept = position < 0 ? Number.POSITIVE_INFINITY : log.expiresAtMs(position);
    const after = changed(change, before);
    if (after === undefined) log.delete(this.#name, key);
    else this.#put(log, key, after, ttlMs === undefined ? kept : this.#expiry(ttlMs));
    return after;
  }

  scan(shard: number): AsyncIterableIterator<[string, Value]> {
    const [name, elsewhere, store] = [this.#name, this.#elsewhere, this.#store];
    const decode = (value: Uint8Array, raw: boolean) => this.#decode(value, raw);
    const isElsewhere = elsewhere !== null && !store.has(shard);
    const here = isElsewhere ? null : store.log(shard).scan(name);
    return (async function* () {
      if (elsewhere !== null && here !== null) await store.settled([shard]);
      const entries = here ?? (await elsewhere?.scan(shard, name)) ?? [];
      for (const { key, value, raw } of entries) yield [key, decode(value, raw)] satisfies [string, Value];
    })();
  }

  /** A read outside of a call on the shard is as one in it: what it has seen is held by the copies, and nobody else owns it. */
  async #readAnywhere(elsewhere: Elsewhere, key: string): Promise<StoredValue | null> {
    const shard = shardOfKey(key, this.#shards);
    this.#store.access.note(shard, this.#name.text, key, 'reads');
    if (!this.#store.has(shard)) return elsewhere.read(shard, this.#name, key);
    const stored = storedIn(this.#store.log(shard), this.#name, key);
    await this.#store.settled([shard]);
    return stored;
  }

  #logOf(key: string, kind: 'reads' | 'writes'): ShardLog {
    const shard = shardOfKey(key, this.#shards);
    const log = this.#store.log(shard);
    this.#store.access.note(shard, this.#name.text, key, kind);
    return log;
  }

  #put(log: ShardLog, key: string, value: Value, expiresAtMs: number): void {
    log.put(this.#name, key, bytesOf(value, this.#raw, this.#name.text), this.#raw, expiresAtMs);
  }

  #decode(bytes: Uint8Array, raw: boolean): Value {
    if (raw !== this.#raw) {
      const detail = `state ${this.#name.text} is opened as ${this.#raw ? 'raw' : 'not raw'}, and an entry is not so`;
      throw new ShoalError('SHOAL_E_USAGE', detail);
    }
    return readValue<Value>(raw ? bytes.slice() : bytes, raw, this.#name.text);
  }

  #expiry(ttlMs: number | undefined): number {
    return ttlMs === undefined ? Number.POSITIVE_INFINITY : this.#clock() + ttlOf(ttlMs);
  }
}
