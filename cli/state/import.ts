import type { FileHandle } from 'node:fs/promises';
import { ShoalError } from '../../protocol/errors.js';
import { shardOfKey } from '../../protocol/shard.js';
import { type ReadAt, readStateFile, type StateFileHead } from '../../protocol/state-file.js';
import { readEntry, recordsIn } from '../../protocol/state-record.js';
import type { WriteMode } from '../../protocol/state-transfer.js';
import type { Session } from '../session.js';
import { opened } from './export.js';
import { eachOwner, shardsOf } from './shard-rounds.js';
import type { StateConnection, StateTask } from './state-connection.js';

/** Of one shard, gathered before they are sent; and shards that are filled with one pass through the file. */
const PART_BYTES = 256 * 1024;
const SHARDS_AT_ONCE = 64;

export interface Imported {
  file: string;
  /** Of the component that the file is of, and when it was written. */
  from: StateFileHead;
  shards: number;
  /** In the file; among them those whose time was over, which are not written. */
  entries: number;
  expired: number;
  /** By --replace: entries that the file does not have. */
  removed: number;
}

/**
 * Writes what a file holds into the state shards of a component, whatever their number, by their owners. Nothing is touched before
 * the whole file was found right. Repeated, it comes to the same. Memory: 256 KiB for each of 64 shards.
 */
export async function importState(session: Session, task: StateTask, path: string, mode: WriteMode): Promise<Imported> {
  const handle = await opened(path, 'r');
  try {
    const read = readerOf(handle);
    const { head, entries } = await verified(read, path);
    const shards = (await shardsOf(session, task)).map(({ shard }) => shard);
    const done = { expired: 0, removed: 0 };
    for (let from = 0; from < shards.length; from += SHARDS_AT_ONCE) {
      const some = shards.slice(from, from + SHARDS_AT_ONCE);
      await eachOwner(session, task, some, async (connection, owned) => {
        const filling = new Filling(connection, owned, shards.length, mode);
        await named(path, () => filling.run(read, head));
        done.expired += filling.expired;
        done.removed += filling.removed;
        return filling.results;
      });
    }
    return { file: path, from: head, shards: shards.length, entries, ...done };
  } finally {
    await handle.close();
  }
}

/** The head of a file that is right from its first to its last byte. Throws SHOAL_E_STATE_DAMAGED. */
function verified(read: ReadAt, path: string): Promise<{ head: StateFileHead; entries: number }> {
  return named(path, async () => {
    let head: StateFileHead | null = null;
    let entries = 0;
    for await (const block of readStateFile(read)) {
      if (block.type === 'head') head = block.head;
      else if (block.type === 'end') entries = block.entries;
    }
    if (head === null) throw new ShoalError('SHOAL_E_STATE_DAMAGED', 'it has no head');
    return { head, entries };
  });
}

/** Damage is told with the file's name. */
async function named<T>(path: string, act: () => Promise<T>): Promise<T> {
  try {
    return await act();
  } catch (error) {
    const isDamage = error instanceof ShoalError && error.code === 'SHOAL_E_STATE_DAMAGED';
    if (isDamage) throw new ShoalError('SHOAL_E_STATE_DAMAGED', `${path}: ${error.message}`, { cause: error });
    throw error;
  }
}

interface Target {
  parts: number;
  waiting: Buffer[];
  bytes: number;
  expired: number;
  removed: number;
  /** Null: nothing has gone wrong. */
  error: ShoalError | null;
}

/** Shards of one host that are filled with one pass through the file. */
class Filling {
  readonly #connection: StateConnection;
  readonly #count: number;
  readonly #mode: WriteMode;
  readonly #targets: Map<number, Target>;
  #isBroken = false;

  constructor(connection: StateConnection, shards: readonly number[], count: number, mode: WriteMode) {
    this.#connection = connection;
    this.#count = count;
    this.#mode = mode;
    const target = (): Target => ({ parts: 0, waiting: [], bytes: 0, expired: 0, removed: 0, error: null });
    this.#targets = new Map(shards.map((shard) => [shard, target()]));
  }

  get results(): Map<number, ShoalError | null> {
    return new Map([...this.#targets].map(([shard, { error }]) => [shard, error]));
  }

  /** Of shards that are done. */
  get expired(): number {
    return this.#sum(({ expired }) => expired);
  }

  get removed(): number {
    return this.#sum(({ removed }) => removed);
  }

  #sum(of: (target: Target) => number): number {
    return [...this.#targets.values()].reduce((sum, each) => sum + (each.error === null ? of(each) : 0), 0);
  }

  async run(read: ReadAt, head: StateFileHead): Promise<void> {
    for await (const block of readStateFile(read)) {
      if (block.type !== 'entries' || (head.shards === this.#count && !this.#targets.has(block.shard))) continue;
      for (const { bytes, expiresAtMs } of recordsIn(block.records)) {
        await this.#put(shardOfKey(readEntry(bytes).key, this.#count), bytes, expiresAtMs);
      }
      if (this.#isBroken) break;
    }
    for (const [shard, target] of this.#targets) await this.#send(shard, target, true);
  }

  async #put(shard: number, record: Buffer, expiresAtMs: number): Promise<void> {
    const target = this.#targets.get(shard);
    if (target === undefined || target.error !== null) return;
    if (!(expiresAtMs > Date.now())) {
      target.expired += 1;
      return;
    }
    if (target.bytes > 0 && target.bytes + record.length > PART_BYTES) await this.#send(shard, target, false);
    target.waiting.push(record);
    target.bytes += record.length;
  }

  async #send(shard: number, target: Target, last: boolean): Promise<void> {
    if (target.error !== null) return;
    const records = Buffer.concat(target.waiting);
    target.waiting = [];
    target.bytes = 0;
    try {
      target.removed += await this.#connection.write({ shard, part: target.parts, mode: this.#mode, records, last });
      target.parts += 1;
    } catch (cause) {
      if (!(cause instanceof ShoalError)) throw cause;
      target.error = cause;
      if (cause.code === 'SHOAL_E_UNREACHABLE') this.#break(cause);
    }
  }

  /** Whatever else was to go over the connection comes again. */
  #break(error: ShoalError): void {
    this.#isBroken = true;
    for (const target of this.#targets.values()) target.error ??= error;
  }
}

function readerOf(handle: FileHandle): ReadAt {
  return async (at, length) => {
    const bytes = Buffer.allocUnsafe(length);
    let done = 0;
    while (done < length) {
      const { bytesRead } = await handle.read(bytes, done, length - done, at + done);
      if (bytesRead === 0) break;
      done += bytesRead;
    }
    return bytes.subarray(0, done);
  };
}
