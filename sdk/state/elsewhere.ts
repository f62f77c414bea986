import { ShoalError } from '../../protocol/errors.js';
import type { CallOptions } from '../router.js';
import { type StateName, stateName } from './key-bytes.js';
import type { NearCopies } from './near-copies.js';
import type { ScannedEntry, ShardLog, StoredValue } from './shard-log.js';

/** Asks the owner of a key for its entry. For instances of the same component alone. */
export const READ_HANDLER = 'shoal:read';

/** Calls a handler of this instance's own component. */
type CallOwner = (handler: string, body: unknown, options: CallOptions) => Promise<unknown>;

/** Entries that other instances own: from the copy on this host where that is good enough, else from the owner. */
export class Elsewhere {
  readonly #copies: NearCopies;
  readonly #callOwner: CallOwner;

  constructor(copies: NearCopies, callOwner: CallOwner) {
    this.#copies = copies;
    this.#callOwner = callOwner;
  }

  /** Rejects as calls do. */
  async read(shard: number, name: StateName, key: string): Promise<StoredValue | null> {
    const near = this.#copies.read(shard, name, key);
    if (near !== undefined) return near;
    return parseAnswer(await this.#callOwner(READ_HANDLER, { state: name.text, key }, { key }));
  }

  /** All entries of a shard at one moment. Rejects with SHOAL_E_SHARD_MOVED when there is no copy here that is good enough. */
  scan(shard: number, name: StateName): Promise<Iterable<ScannedEntry>> {
    return this.#copies.scan(shard, name);
  }
}

/** Serves READ_HANDLER. `logOf`: of a key, as its owner. */
export function answerRead(body: unknown, logOf: (key: string) => ShardLog): StoredValue | null {
  const { state, key } = isMap(body) ? body : {};
  if (typeof state !== 'string' || typeof key !== 'string') {
    throw new ShoalError('SHOAL_E_FRAME', 'a read of an entry names no state or no key');
  }
  return storedIn(logOf(key), stateName(state), key);
}

/** A copy. */
export function storedIn(log: ShardLog, name: StateName, key: string): StoredValue | null {
  const position = log.find(name, key);
  return position < 0 ? null : { value: log.value(position).slice(), raw: log.isRaw(position) };
}

function parseAnswer(body: unknown): StoredValue | null {
  if (body === null) return null;
  const { value, raw } = isMap(body) ? body : {};
  if (value instanceof Uint8Array && typeof raw === 'boolean') return { value, raw };
  throw new ShoalError('SHOAL_E_FRAME', 'the owner of a state shard answered a read with no entry');
}

function isMap(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null;
}
