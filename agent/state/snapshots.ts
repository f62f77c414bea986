import { mkdir, open, readdir, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { ShoalError } from '../../protocol/errors.js';
import type { SnapshotMark } from '../../protocol/state-copies.js';
import { copyName, keyOfName, shardOfName } from '../../protocol/state-copies-parse.js';
import { readStateFile, StateFileWriter } from '../../protocol/state-file.js';
import { syncFolder } from '../../protocol/sync-folder.js';
import type { ShardImage } from './shard-image.js';

/** Complete ones of a shard that are kept: when the newest turns out to be damaged everywhere there is one before. */
const KEPT = 2;
const NAME = /^(\d{1,16})-(\d{1,16})\.state$/;

/** What is in a snapshot: whole records, some at a time. */
export interface SnapshotContent {
  last: number;
  parts: Buffer[];
}

export interface SnapshotsOptions {
  /** On a disk. */
  folder: string;
  /** Of all snapshots together. */
  bytesMax: number;
  clock?: () => number;
}

interface Kept extends SnapshotMark {
  path: string;
  bytes: number;
  /** It could not be read. It stays until another one is written, and the next process tries again. */
  damaged?: true;
}

/**
 * Snapshots of state shards on the disk of this host, each in a file of its own (protocol/state-file.ts):
 * FOLDER/APP/COMPONENT/SHARD/EPOCH-LAST.state. A file has such a name once it is whole and on the disk.
 */
export class Snapshots {
  readonly #folder: string;
  readonly #bytesMax: number;
  readonly #clock: () => number;
  /** By name of the copy, the newest first. */
  readonly #kept = new Map<string, Kept[]>();
  #bytes = 0;

  constructor({ folder, bytesMax, clock = Date.now }: SnapshotsOptions) {
    this.#folder = folder;
    this.#bytesMax = bytesMax;
    this.#clock = clock;
  }

  /**
   * Finds what is there, and reads none of it: who waits for that may have to read as much as the disk holds. What writing was cut
   * short in is removed.
   */
  async open(): Promise<void> {
    for (const name of await namesIn(this.#folder)) {
      const folder = this.#folderOf(name);
      const kept: Kept[] = [];
      for (const file of await readdir(folder)) {
        const path = join(folder, file);
        const found = NAME.exec(file);
        if (found === null) await rm(path, { force: true });
        else kept.push({ epoch: Number(found[1]), last: Number(found[2]), path, bytes: (await stat(path)).size });
      }
      this.#kept.set(name, kept.sort(newestFirst));
      this.#bytes += sum(kept);
    }
  }

  /** The newest one of a shard, of those that nobody has found damaged. */
  newest(name: string): SnapshotMark | null {
    const newest = this.#kept.get(name)?.find(({ damaged }) => damaged === undefined);
    return newest === undefined ? null : { epoch: newest.epoch, last: newest.last };
  }

  /** Writes one, and removes those that it replaces. Rejects with SHOAL_E_HOST when there is no room. */
  async write(name: string, epoch: number, image: ShardImage, shards: number): Promise<void> {
    const before = this.#kept.get(name) ?? [];
    if (this.#bytes + image.bytes > this.#bytesMax) {
      const remedy = 'give the agent more by --snapshots-bytes';
      throw new ShoalError('SHOAL_E_HOST', `snapshots take ${this.#bytes} of ${this.#bytesMax} bytes: ${remedy}`);
    }
    const folder = this.#folderOf(name);
    await mkdir(folder, { recursive: true, mode: 0o700 });
    const path = join(folder, `${epoch}-${image.last}.state`);
    const bytes = await this.#writeFile(`${path}.new`, name, epoch, image, shards);
    await rename(`${path}.new`, path);
    await syncFolder(folder);
    const others = before.filter((each) => each.path !== path);
    const kept = [{ epoch, last: image.last, path, bytes }, ...others].sort(newestFirst);
    // Of an epoch that is higher than this one there was another life of the component.
    const stay = kept.filter((each) => each.epoch <= epoch && each.damaged === undefined).slice(0, KEPT);
    for (const each of kept) if (!stay.includes(each)) await rm(each.path, { force: true });
    this.#kept.set(name, stay);
    this.#bytes += sum(stay) - sum(before);
  }

  /** The content of a snapshot; null when it is not there, or cannot be read, which is told and remembered. */
  async read(name: string, mark: SnapshotMark, damaged: (why: string) => void): Promise<SnapshotContent | null> {
    const kept = this.#kept.get(name)?.find(({ epoch, last }) => epoch === mark.epoch && last === mark.last);
    if (kept === undefined) return null;
    try {
      return await contentOf(kept.path);
    } catch (error) {
      kept.damaged = true;
      damaged(`${kept.path}: ${(error as Error).message}`);
      return null;
    }
  }

  /** Removes those of all other components. */
  async keepOnly(isKept: (key: string) => boolean): Promise<void> {
    for (const [name, kept] of [...this.#kept]) {
      if (isKept(keyOfName(name))) continue;
      this.#kept.delete(name);
      this.#bytes -= sum(kept);
      await rm(this.#folderOf(name), { recursive: true, force: true });
    }
  }

  async #writeFile(path: string, name: string, epoch: number, image: ShardImage, shards: number): Promise<number> {
    const [app = '', component = ''] = keyOfName(name).split('/');
    const shard = shardOfName(name);
    const writer = new StateFileWriter();
    const file = await open(path, 'w', 0o600);
    try {
      await file.appendFile(writer.begin({ app, component, mode: 'partitioned', shards, atMs: this.#clock() }));
      for (const records of image.parts()) await file.appendFile(writer.entries(shard, records));
      await file.appendFile(writer.shardEnd({ shard, entries: image.entries, epoch, last: image.last }));
      await file.appendFile(writer.end());
      await file.sync();
    } catch (error) {
      await rm(path, { force: true });
      throw error;
    } finally {
      await file.close();
    }
    return writer.bytes;
  }

  #folderOf(name: string): string {
    return join(this.#folder, ...name.split('/'));
  }
}

function newestFirst(a: SnapshotMark, b: SnapshotMark): number {
  return b.epoch - a.epoch || b.last - a.last;
}

function sum(kept: readonly Kept[]): number {
  return kept.reduce((total, { bytes }) => total + bytes, 0);
}

async function contentOf(path: string): Promise<SnapshotContent> {
  const parts: Buffer[] = [];
  let last = 0;
  const file = await open(path, 'r');
  try {
    const read = async (at: number, length: number) => {
      const bytes = Buffer.allocUnsafeSlow(length);
      const { bytesRead } = await file.read(bytes, 0, length, at);
      return bytes.subarray(0, bytesRead);
    };
    for await (const block of readStateFile(read)) {
      if (block.type === 'entries') parts.push(block.records);
      else if (block.type === 'shard') last = block.last;
    }
  } finally {
    await file.close();
  }
  return { last, parts };
}

/** Of all shards that have a folder. */
async function namesIn(folder: string): Promise<string[]> {
  const names: string[] = [];
  for (const app of await listOf(folder)) {
    for (const component of await listOf(join(folder, app))) {
      for (const shard of await listOf(join(folder, app, component))) {
        if (/^\d{1,4}$/.test(shard)) names.push(copyName(`${app}/${component}`, Number(shard)));
      }
    }
  }
  return names;
}

async function listOf(folder: string): Promise<string[]> {
  try {
    return await readdir(folder);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
}
