import { Packr } from 'msgpackr';
import { ShoalError, toShoalError } from '../protocol/errors.js';
import { shardOfKey } from '../protocol/shard.js';
import type { ShardStore } from './shard-store.js';
import { type StateName, stateName } from './state/key-bytes.js';
import type { ShardLog } from './state/shard-log.js';

export interface StateOptions {
  /** Values are bytes, kept as they are. */
  raw?: boolean;
}

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

// As in protocol/frame.ts; what is read is copied, since the memory is shared and used again.
const packr = new Packr({ useRecords: false, moreTypes: false, copyBuffers: true });
const TTL_MS_MAX = 100 * 365 * 86_400_000;

/** The state of a partitioned component, as far as this instance owns it: in shared memory of this host. */
export class OwnedState<Value> implements KeyedState<Value> {
  readonly #store: ShardStore;
  readonly #name: StateName;
  readonly #raw: boolean;
  readonly #shards: number;
  readonly #clock: () => number;

  constructor(store: ShardStore, name: string, { raw = false }: StateOptions = {}, clock: () => number = Date.now) {
    if (store.settings === null) {
      const remedy = 'give it `state: partitioned` in the manifest';
      throw new ShoalError('SHOAL_E_STATE_MODE', `this component has no state: ${remedy}`);
    }
    this.#store = store;
    this.#name = stateName(name);
    this.#raw = raw;
    this.#shards = store.settings.shards;
    this.#clock = clock;
  }

  async get(key: string): Promise<Value | undefined> {
    const log = this.#logOf(key);
    const position = log.find(this.#name, key);
    return position < 0 ? undefined : this.#decode(log.value(position), log.isRaw(position));
  }

  async has(key: string): Promise<boolean> {
    return this.#logOf(key).find(this.#name, key) >= 0;
  }

  async set(key: string, value: Value, { ttlMs }: WriteOptions = {}): Promise<void> {
    this.#put(this.#logOf(key), key, value, this.#expiry(ttlMs));
  }

  async delete(key: string): Promise<boolean> {
    return this.#logOf(key).delete(this.#name, key);
  }

  async update(
    key: string,
    change: (value: Value | undefined) => Value | undefined,
    { ttlMs }: WriteOptions = {},
  ): Promise<Value | undefined> {
    const log = this.#logOf(key);
    const position = log.find(this.#name, key);
    const before = position < 0 ? undefined : this.#decode(log.value(position), log.isRaw(position));
    const kept = position < 0 ? Number.POSITIVE_INFINITY : log.expiresAtMs(position);
    const after = change(before);
    if (after instanceof Promise) {
      throw new ShoalError(
        'SHOAL_E_USAGE',
        'the change of an update may not be asynchronous: read what it needs before',
      );
    }
    if (after === undefined) log.delete(this.#name, key);
    else this.#put(log, key, after, ttlMs === undefined ? kept : this.#expiry(ttlMs));
    return after;
  }

  scan(shard: number): AsyncIterableIterator<[string, Value]> {
    const entries = this.#store.log(shard).scan(this.#name);
    const decode = (value: Uint8Array, raw: boolean) => this.#decode(value, raw);
    return (async function* () {
      for (const { key, value, raw } of entries) yield [key, decode(value, raw)] satisfies [string, Value];
    })();
  }

  #logOf(key: string): ShardLog {
    return this.#store.log(shardOfKey(key, this.#shards));
  }

  #put(log: ShardLog, key: string, value: Value, expiresAtMs: number): void {
    if (!this.#raw) log.put(this.#name, key, encode(value), false, expiresAtMs);
    else if (value instanceof Uint8Array) log.put(this.#name, key, value, true, expiresAtMs);
    else throw new ShoalError('SHOAL_E_USAGE', `the values of ${this.#name.text} are bytes, as it is raw`);
  }

  #decode(bytes: Uint8Array, raw: boolean): Value {
    if (raw !== this.#raw) {
      const detail = `state ${this.#name.text} is opened as ${this.#raw ? 'raw' : 'not raw'}, and an entry is not so`;
      throw new ShoalError('SHOAL_E_USAGE', detail);
    }
    if (raw) return bytes.slice() as Value;
    try {
      return packr.unpack(bytes.slice() as Buffer) as Value;
    } catch (cause) {
      throw new ShoalError('SHOAL_E_STATE_DAMAGED', `a value of state ${this.#name.text} cannot be read`, { cause });
    }
  }

  #expiry(ttlMs: number | undefined): number {
    if (ttlMs === undefined) return Number.POSITIVE_INFINITY;
    if (ttlMs > 0 && ttlMs <= TTL_MS_MAX) return this.#clock() + ttlMs;
    throw new ShoalError('SHOAL_E_USAGE', `ttlMs must be above 0 and at most ${TTL_MS_MAX}, not ${ttlMs}`);
  }
}

function encode(value: unknown): Uint8Array {
  if (value === undefined) throw new ShoalError('SHOAL_E_USAGE', 'undefined is no value: delete the entry');
  try {
    return packr.pack(value);
  } catch (cause) {
    throw new ShoalError('SHOAL_E_USAGE', `a value is no plain data: ${toShoalError(cause).message}`, { cause });
  }
}
