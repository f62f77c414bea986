import { ShoalError } from '../protocol/errors.js';
import { LIMITS } from '../protocol/limits.js';
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

/** Calls at work on a shard have so long to end; the agent waits a little longer for the answer. */
const FREEZE_MS_MAX = LIMITS.handoverMsMax - 1_000;

/** The state shards that this instance holds. Every change of hands can be repeated with the same result. */
export class ShardStore {
  readonly #shards = new Map<number, Shard>();
  readonly #freezeMsMax: number;

  constructor(freezeMsMax = FREEZE_MS_MAX) {
    this.#freezeMsMax = freezeMsMax;
  }

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

  /**
   * Waits for calls at work on the shard, refuses new ones, and answers its content. When they do not end in time the
   * shard serves on here: one handler that hangs does not take the shard from everybody.
   */
  async freeze(shard: number): Promise<Entries> {
    const here = this.#get(shard);
    here.closing = true;
    if (here.users > 0 && !(await untilIdle(here, this.#freezeMsMax))) {
      here.closing = here.frozen;
      throw new ShoalError('SHOAL_E_DEADLINE', `${here.users} calls work on state shard ${shard} without an end`);
    }
    // Meanwhile the shard may have been given back or dropped.
    if (!here.closing || this.#shards.get(shard) !== here) {
      throw new ShoalError('SHOAL_E_CONFLICT', `state shard ${shard} was owned again or dropped meanwhile`);
    }
    here.frozen = true;
    return [...here.entries];
  }

  /**
   * Begins to serve the shard with this content, in place of a frozen copy. Where the shard serves already the request
   * is a repeated one, and the content here may have been changed by calls since.
   */
  install(shard: number, entries: Entries): void {
    if (this.serves(shard)) return;
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

  /** The entries that hold the key. */
  of(key: string): Map<string, unknown> {
    return this.entries(shardOfKey(key));
  }

  /** Refused once they have been copied: a write would be lost, and a read would miss the new owner's writes. */
  entries(shard: number): Map<string, unknown> {
    const here = this.#get(shard);
    if (here.frozen) throw new ShoalError('SHOAL_E_SHARD_MOVED', `state shard ${shard} has been handed over`);
    return here.entries;
  }

  #get(shard: number): Shard {
    const here = this.#shards.get(shard);
    if (here === undefined) throw new ShoalError('SHOAL_E_SHARD_MOVED', `state shard ${shard} is not here`);
    return here;
  }
}

/** Whether the calls at work on the shard ended in time. */
function untilIdle(shard: Shard, timeoutMs: number): Promise<boolean> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => {
      shard.idle = shard.idle.filter((each) => each !== wake);
      resolve(false);
    }, timeoutMs);
    const wake = () => {
      clearTimeout(timer);
      resolve(true);
    };
    shard.idle.push(wake);
  });
}

function create(entries: Map<string, unknown>): Shard {
  return { entries, users: 0, closing: false, frozen: false, idle: [] };
}
