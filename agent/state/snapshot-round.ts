import type { Logger } from 'pino';
import { toShoalError } from '../../protocol/errors.js';
import { keyOfName } from '../../protocol/state-copies-parse.js';
import { readShard } from './shard-image.js';
import type { Snapshots } from './snapshots.js';

/** Whether one is due is looked at this often. */
const LOOK_MS = 1_000;

/** A whole copy of a shard on this host. */
export interface WholeCopy {
  name: string;
  epoch: number;
  last: number;
}

export interface SnapshotRoundTools {
  snapshots: Snapshots;
  log: Logger;
  clock: () => number;
  path(name: string): string;
  /** All that are here now. */
  copies(): WholeCopy[];
  copy(name: string): WholeCopy | null;
  /** How often a component wants snapshots, ms, and how many state shards it has; null: never. */
  wanted(key: string): { everyMs: number; shards: number } | null;
  problem(key: string, why: string): void;
}

/** Writes snapshots of the copies on this host when they are due, one after the other, and only of what has changed. */
export class SnapshotRound {
  readonly #tools: SnapshotRoundTools;
  readonly #wroteMs = new Map<string, number>();
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
    for (const copy of copies()) {
      if (this.#closed) return;
      const key = keyOfName(copy.name);
      const how = wanted(key);
      if (how === null || !this.#isDue(copy, how.everyMs)) continue;
      try {
        await this.#write(copy, how.shards);
      } catch (error) {
        log.warn({ err: error, copy: copy.name }, 'cannot write a snapshot; trying again');
        if (!told.has(key)) problem(key, `no snapshot of ${copy.name}: ${toShoalError(error).message}`);
        told.add(key);
      }
    }
  }

  #isDue({ name, epoch, last }: WholeCopy, everyMs: number): boolean {
    const newest = this.#tools.snapshots.newest(name);
    if (newest?.epoch === epoch && newest.last === last) return false;
    return this.#tools.clock() - (this.#wroteMs.get(name) ?? Number.NEGATIVE_INFINITY) >= everyMs;
  }

  async #write({ name, epoch }: WholeCopy, shards: number): Promise<void> {
    const { snapshots, path, copy, clock } = this.#tools;
    // Also of one that fails: else it would be tried each second.
    this.#wroteMs.set(name, clock());
    const image = await readShard(path(name));
    // Else what was read may be of another copy than the epoch says.
    if (copy(name)?.epoch === epoch) await snapshots.write(name, epoch, image, shards);
  }
}
