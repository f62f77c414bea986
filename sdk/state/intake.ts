import { ShoalError } from '../../protocol/errors.js';
import { shardOfKey } from '../../protocol/shard.js';
import { type Entry, readEntry, recordsIn } from '../../protocol/state-record.js';
import type { WriteMode } from '../../protocol/state-transfer.js';
import { type StateName, stateName } from './key-bytes.js';
import type { ShardLog } from './shard-log.js';

/** Written or removed at once: calls get their turn in between. */
const WRITES_AT_ONCE = 500;
const turnOfOthers = () => new Promise((resolve) => setImmediate(resolve));

/** Entries that are imported into one state shard, in parts. */
export class Intake {
  readonly #shard: number;
  readonly #shards: number;
  /** What stays when the rest is removed; null: nothing is. */
  readonly #kept: Set<string> | null;
  readonly #names = new Map<string, StateName>();
  readonly #clock: () => number;
  /** The part that is to come. */
  next = 0;

  constructor(shard: number, shards: number, mode: WriteMode, clock: () => number = Date.now) {
    this.#shard = shard;
    this.#shards = shards;
    this.#kept = mode === 'replace' ? new Set() : null;
    this.#clock = clock;
  }

  /** Writes a part; after the last one it removes what is to go, and answers how many entries that were. */
  async take(log: ShardLog, records: Uint8Array, last: boolean): Promise<number> {
    this.next += 1;
    let count = 0;
    for (const { bytes } of recordsIn(Buffer.from(records.buffer, records.byteOffset, records.byteLength))) {
      this.#put(log, readEntry(bytes));
      count += 1;
      if (count % WRITES_AT_ONCE === 0) await turnOfOthers();
    }
    return last && this.#kept !== null ? this.#sweep(log, this.#kept) : 0;
  }

  #put(log: ShardLog, { name, key, value, raw, expiresAtMs }: Entry): void {
    if (shardOfKey(key, this.#shards) !== this.#shard)
      throw new ShoalError('SHOAL_E_USAGE', `an imported key is not of state shard ${this.#shard}`);
    if (!(expiresAtMs > this.#clock())) return;
    this.#kept?.add(idOf(name, key));
    const state = this.#nameOf(name);
    const position = log.find(state, key);
    // What is there already is not written again: an import that is repeated costs little.
    const isSame =
      position >= 0 &&
      log.isRaw(position) === raw &&
      log.expiresAtMs(position) === expiresAtMs &&
      value.equals(log.value(position));
    if (!isSame) log.put(state, key, value, raw, expiresAtMs);
  }

  async #sweep(log: ShardLog, kept: ReadonlySet<string>): Promise<number> {
    let [looked, removed] = [0, 0];
    for (const { state, key } of log.scan(null)) {
      if (!kept.has(idOf(state, key)) && log.delete(this.#nameOf(state), key)) removed += 1;
      looked += 1;
      if (looked % WRITES_AT_ONCE === 0) await turnOfOthers();
    }
    return removed;
  }

  #nameOf(text: string): StateName {
    let name = this.#names.get(text);
    if (name === undefined) {
      name = stateName(text);
      this.#names.set(text, name);
    }
    return name;
  }
}

/** No name has a blank. */
function idOf(name: string, key: string): string {
  return `${name} ${key}`;
}
