import { closeSync, fstatSync, openSync, readdirSync, readSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { ShoalError } from '../protocol/errors.js';
import type { SegmentFigures, StateFigures } from '../protocol/state-figures.js';
import { HEADER_WORDS, problemOfSegment, SEGMENT_WORD, UNIT_BYTES } from '../protocol/state-segment.js';
import { makeSegment } from './state/segment-store.js';

/**
 * The segments of the state shards of this host: files in shared memory that outlive their owners and this process. An
 * owner gets a descriptor of its own and maps it; nothing of them is mapped here. Who may write is told by the epoch, higher
 * with each owner.
 */
export class Segments {
  readonly #folder: string;

  /** `folder`: of a memory file system. Made when it is needed. */
  constructor(folder: string) {
    this.#folder = folder;
  }

  /** A descriptor of the shard's segment, which is made when it is not there, and the epoch of its next owner. */
  grant(key: string, shard: number): { fd: number; epoch: number } {
    const path = this.path(key, shard);
    const fd = this.#open(path);
    try {
      const { words, bytes } = readHeader(fd);
      const problem = problemOfSegment(words, bytes);
      if (problem !== null)
        throw new ShoalError('SHOAL_E_STATE_DAMAGED', `${path} ${problem}; it was changed by its owner`);
      return { fd, epoch: wordOf(words, SEGMENT_WORD.epoch) + 1 };
    } catch (error) {
      closeSync(fd);
      throw error;
    }
  }

  /** The epoch of the next owner. */
  nextEpoch(key: string, shard: number): number {
    const fd = this.#open(this.path(key, shard));
    try {
      return wordOf(readHeader(fd).words, SEGMENT_WORD.epoch) + 1;
    } finally {
      closeSync(fd);
    }
  }

  /** What all segments of this host hold. */
  allFigures(): StateFigures {
    const keys = listOf(this.#folder).flatMap((app) =>
      listOf(join(this.#folder, app)).map((component) => `${app}/${component}`),
    );
    return Object.fromEntries(keys.map((key) => [key, this.figures(key)]));
  }

  /** What the segments of a component hold, by their headers, in the order of their shards. */
  figures(key: string): SegmentFigures[] {
    return listOf(join(this.#folder, ...folderOf(key)))
      .flatMap((name) => {
        const shard = Number(name);
        return Number.isInteger(shard) ? (this.#figuresOf(key, shard) ?? []) : [];
      })
      .sort((a, b) => a.shard - b.shard);
  }

  /** Removes the segments of all components but these: what they held is gone. */
  keepOnly(keys: ReadonlySet<string>): void {
    for (const app of listOf(this.#folder)) {
      for (const component of listOf(join(this.#folder, app))) {
        if (!keys.has(`${app}/${component}`))
          rmSync(join(this.#folder, app, component), { recursive: true, force: true });
      }
      removeIfEmpty(join(this.#folder, app));
    }
    removeIfEmpty(this.#folder);
  }

  #open(path: string): number {
    try {
      return openSync(path, 'r+');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    }
    return makeSegment(path);
  }

  #figuresOf(key: string, shard: number): SegmentFigures | null {
    const path = this.path(key, shard);
    let fd: number;
    try {
      fd = openSync(path, 'r');
    } catch {
      return null; // Removed since the folder was read.
    }
    try {
      const { words } = readHeader(fd);
      return {
        shard,
        entries: wordOf(words, SEGMENT_WORD.entries),
        liveBytes: wordOf(words, SEGMENT_WORD.liveUnits) * UNIT_BYTES,
        heldBytes: fstatSync(fd).blocks * 512,
        reads: countIn(words, SEGMENT_WORD.reads),
        writes: countIn(words, SEGMENT_WORD.writes),
        refused: countIn(words, SEGMENT_WORD.refused),
        ...copyReadsIn(words),
      };
    } finally {
      closeSync(fd);
    }
  }

  /** Where the segment of a shard is, whether there is one or not. */
  path(key: string, shard: number): string {
    return join(this.#folder, ...folderOf(key), String(shard));
  }
}

const NAME = /^[a-z][a-z0-9-]*$/;

/** `app/component`, which becomes a path. */
function folderOf(key: string): string[] {
  const parts = key.split('/');
  if (parts.length !== 2 || !parts.every((part) => NAME.test(part)))
    throw new ShoalError('SHOAL_E_NAME', `no component: ${key}`);
  return parts;
}

function listOf(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
}

function removeIfEmpty(folder: string): void {
  if (listOf(folder).length === 0) rmSync(folder, { recursive: true, force: true });
}

function readHeader(fd: number): { words: Int32Array; bytes: number } {
  const words = new Int32Array(HEADER_WORDS);
  readSync(fd, words, 0, words.byteLength, 0);
  return { words, bytes: fstatSync(fd).size };
}

/** A float64 in two words. What an owner has put there that is no count is 0. */
function countIn(words: Int32Array, index: number): number {
  const count = new Float64Array(words.buffer)[index / 2] ?? 0;
  return Number.isSafeInteger(count) && count >= 0 ? count : 0;
}

function copyReadsIn(words: Int32Array): Pick<SegmentFigures, 'copyReads'> {
  const copyReads = wordOf(words, SEGMENT_WORD.copyReads);
  return copyReads === 0 ? {} : { copyReads };
}

function wordOf(words: Int32Array, index: number): number {
  return (words[index] ?? 0) >>> 0;
}
