import { ShoalError } from '../protocol/errors.js';
import { shardOfKey } from '../protocol/shard.js';

interface Shard {
  entries: Map<string, unknown>;
  /** Calls that work on it now. */
  users: number;
  /** No call may begin: it is about to leave, or has been copied. */
  closing: boolean;
  /** Copied: what would change here now would be lost. */
  frozen: boolean;
  idle: (() => void)[];
}

export type Entries = [string, unknown][];

/** The state shards that this instance holds. Every change of hands can be repeated with the same result. */
export class ShardStore {
  readonly #shards = new Map<number, Shard>();

  get held(): number[] {
    return [...this.#shards.keys()].sort((a, b) => a - b);
  }

  get frozen(): number[] {
    return this.held.filter((shard) => this.#shards.get(shard)?.closing);
  }

  serves(shard: number): boolean {
    return this.#shards.get(shard)?.closing === false;
  }

  /** Begins to serve the shard: empty when it is new here, with its content when it was frozen here. */
  own(shard: number): void {
    const here = this.#shards.get(shard);
    if (here === undefined) this.#shards.set(shard, create(new Map()));
    else Object.assign(here, { closing: false, frozen: false });
  }

  /** Waits for calls at work on the shard, refuses new ones, and answers its content. */
  async freeze(shard: number): Promise<Entries> {
    const here = this.#get(shard);
    here.closing = true;
    if (here.users > 0) await new Promise<void>((resolve) => here.idle.push(resolve));
    // Meanwhile the shard may have been given back.
    if (!here.closing) throw new ShoalError('SHOAL_E_CONFLICT', `state shard ${shard} is owned again`);
    here.frozen = true;
    return [...here.entries];
  }

  /** Begins to serve the shard with this content, in place of any older copy. */
  install(shard: number, entries: Entries): void {
    this.#shards.set(shard, create(new Map(entries)));
  }

  drop(shard: number): void {
    this.#shards.delete(shard);
  }

  /** A call begins to work on the shards; the function that is answered ends it. Throws SHOAL_E_SHARD_MOVED. */
  enter(shards: readonly number[]): () => void {
    const missing = shards.filter((shard) => !this.serves(shard));
    if (missing.length > 0) throw new ShoalError('SHOAL_E_SHARD_MOVED', `state shards not here: ${missing.join(', ')}`);
    const entered = shards.map((shard) => this.#get(shard));
    for (const shard of entered) shard.users += 1;
    return () => {
      for (const shard of entered) {
        shard.users -= 1;
        if (shard.users === 0) for (const wake of shard.idle.splice(0)) wake();
      }
    };
  }

  /** The entries that hold the key, for reading. */
  of(key: string): ReadonlyMap<string, unknown> {
    return this.#get(shardOfKey(key)).entries;
  }

  /** The entries that hold the key, for writing; refused once they have been copied. */
  writable(key: string): Map<string, unknown> {
    const here = this.#get(shardOfKey(key));
    if (here.frozen) throw new ShoalError('SHOAL_E_SHARD_MOVED', `the state shard of ${key} has been handed over`);
    return here.entries;
  }

  entries(shard: number): ReadonlyMap<string, unknown> {
    return this.#get(shard).entries;
  }

  #get(shard: number): Shard {
    const here = this.#shards.get(shard);
    if (here === undefined) throw new ShoalError('SHOAL_E_SHARD_MOVED', `state shard ${shard} is not here`);
    return here;
  }
}

function create(entries: Map<string, unknown>): Shard {
  return { entries, users: 0, closing: false, frozen: false, idle: [] };
}
