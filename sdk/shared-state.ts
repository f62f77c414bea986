import type { StateSettings } from '../protocol/control.js';
import { ShoalError } from '../protocol/errors.js';
import type { CacheConnection } from './cache/cache-connection.js';
import { KeyBytes, type StateName, stateName } from './state/key-bytes.js';
import { bytesOf, changed, readValue, ttlOf } from './state/values.js';
import type { KeyedState, StateOptions, WriteOptions } from './state.js';

/** Where they are. */
export type SharedEntries = Pick<CacheConnection, 'read' | 'write'>;

/** So often an update begins anew when others change the value between its reading and its writing. */
const UPDATE_TRIES_MAX = 100;

/** The entries of one state that all instances share, in the component's cache or replicated: no instance has some for itself. */
export class SharedState<Value> implements KeyedState<Value> {
  readonly #entries: SharedEntries;
  readonly #name: StateName;
  readonly #raw: boolean;
  readonly #valueBytesMax: number;
  readonly #keyBytes = new KeyBytes();

  /** Throws SHOAL_E_STATE_MODE when it needs what only state shards can do. */
  constructor(
    entries: SharedEntries,
    { valueBytesMax }: Pick<StateSettings, 'valueBytesMax'>,
    name: string,
    { raw = false, needs = [] }: StateOptions = {},
  ) {
    // All that there is can be read in each instance.
    const need = needs.find((each) => each !== 'copies');
    if (need !== undefined) throw cannot(`state ${name} needs ${need}`);
    this.#entries = entries;
    this.#name = stateName(name);
    this.#raw = raw;
    this.#valueBytesMax = valueBytesMax;
  }

  async get(key: string): Promise<Value | undefined> {
    return this.#decode(await this.#entries.read(this.#entry(key)));
  }

  async has(key: string): Promise<boolean> {
    return (await this.#entries.read(this.#entry(key))) !== null;
  }

  async set(key: string, value: Value, { ttlMs }: WriteOptions = {}): Promise<void> {
    await this.#entries.write({ type: 'set', ...this.#entry(key), value: this.#encode(value), ...lasting(ttlMs) });
  }

  async delete(key: string): Promise<boolean> {
    return (await this.#entries.write({ type: 'delete', ...this.#entry(key) })).did;
  }

  async update(
    key: string,
    change: (value: Value | undefined) => Value | undefined,
    { ttlMs }: WriteOptions = {},
  ): Promise<Value | undefined> {
    const entry = this.#entry(key);
    let before = await this.#entries.read(entry);
    for (let tries = 0; tries < UPDATE_TRIES_MAX; tries += 1) {
      const value = changed(change, this.#decode(before));
      const after = value === undefined ? null : this.#encode(value);
      const { did, value: found } = await this.#entries.write({
        type: 'swap',
        ...entry,
        before,
        after,
        ...lasting(ttlMs),
      });
      if (did) return value;
      before = found;
    }
    const detail = `others changed the value each of ${UPDATE_TRIES_MAX} times that it was to be updated: a hot key`;
    throw new ShoalError('SHOAL_E_OVERLOADED', detail);
  }

  scan(): AsyncIterableIterator<[string, Value]> {
    throw cannot(`scan of state ${this.#name.text}`);
  }

  #entry(key: string): { state: string; key: string } {
    // Throws for what is no key.
    this.#keyBytes.set(this.#name, key);
    return { state: this.#name.text, key };
  }

  #encode(value: Value): Uint8Array {
    const bytes = bytesOf(value, this.#raw, this.#name.text);
    if (bytes.length <= this.#valueBytesMax) return bytes;
    const remedy = 'raise `value` of its state in the manifest, or keep less';
    const detail = `a value of ${bytes.length} bytes is above the limit of ${this.#valueBytesMax}: ${remedy}`;
    throw new ShoalError('SHOAL_E_STATE_SIZE', detail);
  }

  #decode(bytes: Uint8Array | null): Value | undefined {
    // A copy: what is kept near is not the caller's to change.
    return bytes === null ? undefined : readValue<Value>(bytes.slice(), this.#raw, this.#name.text);
  }
}

/** Redis counts whole milliseconds. */
function lasting(ttlMs: number | undefined): { ttlMs?: number } {
  return ttlMs === undefined ? {} : { ttlMs: Math.ceil(ttlOf(ttlMs)) };
}

/** What only entries in state shards can do. */
export function cannot(what: string): ShoalError {
  const remedy = 'give the component `state: partitioned` in the manifest';
  return new ShoalError('SHOAL_E_STATE_MODE', `${what}, which only partitioned state can give: ${remedy}`);
}
