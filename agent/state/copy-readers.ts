import type { KnownCopy } from '../../protocol/control.js';
import type { Known } from '../../protocol/state-copies.js';
import { copyName, shardOfName } from '../../protocol/state-copies-parse.js';

/** A copy is asked for so often in the time that what is read may be old: one answer may be lost. */
const ASKS = 4;
/** Whoever has not said for so long that it reads a copy does so no more. */
const READ_MS_MAX = 3_000;

/** A process that reads copies of this host which others own. */
export interface Reader {
  /** Of the process. */
  id: string;
  /** Hands it the copy's segment, in a file of this number; false when it cannot have it now. */
  offer(shard: number, file: number, fd: number): boolean;
  tell(copies: KnownCopy[]): void;
}

export interface CopyReadersTools {
  /** CLOCK_MONOTONIC, in ms. */
  now(): number;
  /** Has the owner say up to where the copy may be read. */
  ask(name: string): void;
  /** What was said last; null: nothing, of what is there now. */
  known(name: string): Known | null;
  /** Changes when the segment is another file. */
  fileOf(name: string): number;
  /** A descriptor of the segment, and a number that no other file has as long as somebody has this one. */
  open(name: string): { fd: number; number: number };
}

interface Reading {
  reader: Reader;
  untilMs: number;
  /** What it has been handed. */
  handed: { file: number; number: number } | null;
}

interface ReadCopy {
  everyMs: number;
  askedAtMs: number;
  readings: Map<string, Reading>;
}

/**
 * Copies on this host that instances read without owning the shards. While one is read its owner is asked again and again, by
 * this host's clock, how far the log goes, and the answers are passed on: so who reads knows how old that may be, whatever
 * clocks and messages do.
 */
export class CopyReaders {
  readonly #tools: CopyReadersTools;
  readonly #copies = new Map<string, ReadCopy>();
  readonly #news = new Set<string>();
  #timer: NodeJS.Timeout | undefined;
  #telling: NodeJS.Immediate | undefined;

  constructor(tools: CopyReadersTools) {
    this.#tools = tools;
  }

  /** The reader wants these shards of the component, as they were at most so long ago. */
  want(key: string, reader: Reader, shards: readonly number[], stalenessMs: number): void {
    const nowMs = this.#tools.now();
    for (const shard of shards) {
      const name = copyName(key, shard);
      const copy = this.#copies.get(name) ?? { everyMs: 0, askedAtMs: Number.NEGATIVE_INFINITY, readings: new Map() };
      const reading = copy.readings.get(reader.id) ?? { reader, untilMs: 0, handed: null };
      reading.untilMs = nowMs + READ_MS_MAX;
      copy.everyMs = stalenessMs / ASKS;
      copy.readings.set(reader.id, reading);
      this.#copies.set(name, copy);
    }
    this.#tick();
  }

  /** More is known of a copy. */
  changed(name: string): void {
    if (!this.#copies.has(name)) return;
    this.#news.add(name);
    this.#telling ??= setImmediate(() => this.#tell());
  }

  close(): void {
    clearTimeout(this.#timer);
    clearImmediate(this.#telling);
    this.#copies.clear();
  }

  #tick(): void {
    clearTimeout(this.#timer);
    const nowMs = this.#tools.now();
    let nextMs = Number.POSITIVE_INFINITY;
    for (const [name, copy] of this.#copies) {
      for (const [id, { untilMs }] of copy.readings) if (untilMs <= nowMs) copy.readings.delete(id);
      if (copy.readings.size === 0) {
        this.#copies.delete(name);
        continue;
      }
      if (copy.askedAtMs + copy.everyMs <= nowMs) {
        copy.askedAtMs = nowMs;
        this.#tools.ask(name);
      }
      nextMs = Math.min(nextMs, copy.askedAtMs + copy.everyMs);
    }
    if (this.#copies.size === 0) return;
    this.#timer = setTimeout(() => this.#tick(), Math.max(1, nextMs - nowMs));
    this.#timer.unref();
  }

  #tell(): void {
    this.#telling = undefined;
    const told = new Map<Reader, KnownCopy[]>();
    for (const name of this.#news) {
      const known = this.#tools.known(name);
      for (const reading of this.#copies.get(name)?.readings.values() ?? []) {
        if (known === null || !this.#hand(name, reading)) continue;
        const { reader, handed } = reading;
        const copies = told.get(reader) ?? [];
        copies.push([shardOfName(name), handed?.number ?? 0, known.index, known.atMs]);
        told.set(reader, copies);
      }
    }
    this.#news.clear();
    for (const [reader, copies] of told) reader.tell(copies);
  }

  /** Whether the reader has the file in which the copy is now. */
  #hand(name: string, reading: Reading): boolean {
    const file = this.#tools.fileOf(name);
    if (reading.handed?.file === file) return true;
    const { fd, number } = this.#tools.open(name);
    reading.handed = reading.reader.offer(shardOfName(name), number, fd) ? { file, number } : null;
    return reading.handed !== null;
  }
}
