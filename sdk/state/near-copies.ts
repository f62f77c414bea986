import type { KnownCopy } from '../../protocol/control.js';
import { ShoalError } from '../../protocol/errors.js';
import { monotonicMs } from '../../protocol/monotonic.js';
import type { StateName } from './key-bytes.js';
import type { LogLimits, ScannedEntry, SegmentMemory, ShardLog, StoredValue } from './shard-log.js';

interface Copy {
  file: number;
  log: ShardLog;
  /** Good up to here, as of then. */
  index: number;
  atMs: number;
  readAtMs: number;
}

/** The agent is told at most so often that a shard is read, and of all that are read within the other time at once. */
const WANT_MS = 1_000;
const GATHER_MS = 20;
/** What nobody has read for so long is let go of. */
const KEPT_MS = 60_000;
/** How long a scan waits for a copy that is good enough. */
const SCAN_WAIT_MS_MAX = 2_000;

/**
 * The copies on this host of state shards that others own, as far as they are read here: segments that the agent sends and
 * others write, each good up to the index that the agent has said, as of the time that it has said.
 */
export class NearCopies {
  readonly #limits: LogLimits & { stalenessMs: number };
  readonly #open: (memory: SegmentMemory, label: string, limits: LogLimits) => ShardLog;
  readonly #now: () => number;
  readonly #copies = new Map<number, Copy>();
  readonly #wantedAtMs = new Map<number, number>();
  readonly #due = new Set<number>();
  #gather: NodeJS.Timeout | undefined;
  readonly #waiting = new Set<() => void>();
  #ask: (shards: number[]) => void = () => undefined;

  /** `open`: a log that takes in nothing before it is told to. */
  constructor(
    limits: LogLimits & { stalenessMs: number },
    open: (memory: SegmentMemory, label: string, limits: LogLimits) => ShardLog,
    now: () => number = monotonicMs,
  ) {
    this.#limits = limits;
    this.#open = open;
    this.#now = now;
  }

  /** `ask`: tells the agent which shards are read. */
  onWant(ask: (shards: number[]) => void): void {
    this.#ask = ask;
  }

  /** The agent is another one, or has been away. */
  askAgain(): void {
    this.#wantedAtMs.clear();
  }

  /** The segment of a copy has come. */
  take(shard: number, file: number, map: () => SegmentMemory): void {
    this.#drop(shard);
    let memory: SegmentMemory | undefined;
    try {
      memory = map();
      const log = this.#open(memory, `the copy of state shard ${shard}`, this.#limits);
      const nowMs = this.#now();
      this.#copies.set(shard, { file, log, index: -1, atMs: Number.NEGATIVE_INFINITY, readAtMs: nowMs });
    } catch {
      // What cannot be read is read at the owner, who says what is wrong if it cannot either.
      memory?.close();
    }
  }

  know(copies: readonly KnownCopy[]): void {
    const nowMs = this.#now();
    for (const [shard, file, index, atMs] of copies) {
      const copy = this.#copies.get(shard);
      if (copy?.file !== file || atMs <= copy.atMs) continue;
      copy.index = index;
      copy.atMs = atMs;
    }
    for (const [shard, { readAtMs }] of this.#copies) if (nowMs - readAtMs > KEPT_MS) this.#drop(shard);
    for (const wake of [...this.#waiting]) wake();
  }

  /** The key's entry, null when there is none; undefined when no copy here is known to be good enough. */
  read(shard: number, name: StateName, key: string): StoredValue | null | undefined {
    return this.#withLog(shard, (log, index) => log.readAt(index, name, key));
  }

  /** All entries of a shard at one moment. Rejects with SHOAL_E_SHARD_MOVED when no copy here is known to be good enough. */
  async scan(shard: number, name: StateName): Promise<Iterable<ScannedEntry>> {
    const untilMs = this.#now() + SCAN_WAIT_MS_MAX;
    for (;;) {
      const entries = this.#withLog(shard, (log, index) => log.scanAt(index, name));
      if (entries !== undefined) return entries;
      const leftMs = untilMs - this.#now();
      if (leftMs <= 0) break;
      await this.#untilKnown(Math.min(leftMs, WANT_MS));
    }
    const { stalenessMs } = this.#limits;
    const detail = `state shard ${shard} is elsewhere, and no copy of it on this host is known to be at most ${stalenessMs} ms old`;
    throw new ShoalError('SHOAL_E_SHARD_MOVED', `${detail}: callShards goes to the owners`);
  }

  close(): void {
    clearTimeout(this.#gather);
    for (const shard of [...this.#copies.keys()]) this.#drop(shard);
  }

  #withLog<T>(shard: number, work: (log: ShardLog, index: number) => T | undefined): T | undefined {
    const nowMs = this.#now();
    this.#want(shard, nowMs);
    const copy = this.#copies.get(shard);
    if (copy === undefined || nowMs - copy.atMs > this.#limits.stalenessMs) return undefined;
    copy.readAtMs = nowMs;
    try {
      return work(copy.log, copy.index);
    } catch (error) {
      if (!(error instanceof ShoalError) || error.code !== 'SHOAL_E_STATE_DAMAGED') throw error;
      this.#drop(shard);
      return undefined;
    }
  }

  #want(shard: number, nowMs: number): void {
    if (nowMs - (this.#wantedAtMs.get(shard) ?? Number.NEGATIVE_INFINITY) < WANT_MS) return;
    this.#wantedAtMs.set(shard, nowMs);
    this.#due.add(shard);
    this.#gather ??= setTimeout(() => {
      this.#gather = undefined;
      this.#ask([...this.#due]);
      this.#due.clear();
    }, GATHER_MS);
  }

  #drop(shard: number): void {
    this.#copies.get(shard)?.log.close();
    this.#copies.delete(shard);
  }

  #untilKnown(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const wake = () => {
        clearTimeout(timer);
        this.#waiting.delete(wake);
        resolve();
      };
      const timer = setTimeout(wake, ms);
      this.#waiting.add(wake);
    });
  }
}
