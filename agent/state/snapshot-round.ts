import type { Logger } from 'pino';
import { toShoalError } from '../../protocol/errors.js';
import { keyOfName } from '../../protocol/state-copies-parse.js';
import { readShard } from './shard-image.js';
import type { Snapshots } from './snapshots.js';

/** Whether it is time for one is looked at this often. */
const LOOK_MS = 1_000;

/** A whole copy of a shard on this host. */
export interface WholeCopy {
  epoch: number;
  last: number;
}

export interface SnapshotRoundTools {
  snapshots: Snapshots;
  log: Logger;
  clock: () => number;
  path(name: string): string;
  /** Names of all that are here now. */
  copies(): string[];
  /** As it is at this moment; null when it is not whole, or not here. */
  copy(name: string): WholeCopy | null;
  /** How often a component wants snapshots, ms, and how many state shards it has; null: never. */
  wanted(key: string): { everyMs: number; shards: number } | null;
  problem(key: string, why: string): void;
}

/** Writes snapshots of the copies on this host when they are due, one after the other, and only of what has changed. */
export class SnapshotRound {
  readonly #tools: SnapshotRoundTools;
  readonly #lookedMs = new Map<string, number>();
  readonly #timer: NodeJS.Timeout;
  #working: Promise<void> | null = null;
  #closed = false;

  constructor(tools: SnapshotRoundTools) {
    this.#tools = tools;
    this.#timer = setInterval(() => void this.#look(), LOOK_MS);
    this.#timer.unref();
  }

  /** Waits for the one that is being written. */
  async close(): Promise<void> {
    this.#closed = true;
    clearInterval(this.#timer);
    await this.#working;
  }

  #look(): Promise<void> {
    this.#working ??= this.#run().finally(() => {
      this.#working = null;
    });
    return this.#working;
  }

  async #run(): Promise<void> {
    const { snapshots, log, wanted, copies, problem } = this.#tools;
    const told = new Set<string>();
    try {
      await snapshots.keepOnly((key) => wanted(key) !== null);
    } catch (error) {
      log.warn({ err: error }, 'cannot remove snapshots that nobody wants');
    }
    const names = new Set(copies());
    for (const name of this.#lookedMs.keys()) if (!names.has(name)) this.#lookedMs.delete(name);
    for (const name of names) {
      if (this.#closed) return;
      const key = keyOfName(name);
      const how = wanted(key);
      if (how === null || !this.#isTime(name, how.everyMs)) continue;
      try {
        await this.#write(name, how.shards);
      } catch (error) {
        log.warn({ err: error, copy: name }, 'cannot write a snapshot; trying again');
        if (!told.has(key)) problem(key, `no snapshot of ${name}: ${toShoalError(error).message}`);
        told.add(key);
      }
    }
  }

  /** Also after one that fails: else it would be tried each second. */
  #isTime(name: string, everyMs: number): boolean {
    const nowMs = this.#tools.clock();
    if (nowMs - (this.#lookedMs.get(name) ?? Number.NEGATIVE_INFINITY) < everyMs) return false;
    this.#lookedMs.set(name, nowMs);
    return true;
  }

  async #write(name: string, shards: number): Promise<void> {
    const { snapshots, path, copy } = this.#tools;
    const now = copy(name);
    const newest = snapshots.newest(name);
    if (now === null || (newest?.epoch === now.epoch && newest.last === now.last)) return;
    const image = await readShard(path(name));
    // Else what was read may be of another copy than the epoch says.
    if (copy(name)?.epoch === now.epoch) await snapshots.write(name, now.epoch, image, shards);
  }
}
