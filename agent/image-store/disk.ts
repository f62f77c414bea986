import { createHash, randomUUID } from 'node:crypto';
import { access, mkdir, readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { readJson, writeAtomic } from '../atomic-file.js';
import { isErrno } from '../cgroup.js';
import { runTool } from '../run-tool.js';
import { type Digest, hexOf, isDigest } from './oci.js';

const SYNC_MS_MAX = 120_000;

/** What a reference stands for on this host. */
export interface ImageRecord {
  format: 1;
  reference: string;
  manifest: Digest;
  usedMs: number;
  /** What is unpacked of it, which is known from here when the manifest is damaged. Absent from records of earlier agents. */
  layers?: Digest[];
}

/**
 * The files of the image store. A name in `layers` or `images` is whole, whenever the host has lost power: what is not
 * yet whole, or no longer, is in `partial`, which is emptied at the start. Blobs are looked at when they are read.
 *
 *     blobs/sha256/HEX     manifests, configurations, archives of layers, by their digest
 *     layers/HEX/root      an unpacked layer, by the digest of its content without compression
 *     layers/HEX/bytes     the room that it takes
 *     images/HASH.json     what a reference stands for
 */
export class StoreDisk {
  constructor(readonly folder: string) {}

  get blobs(): string {
    return join(this.folder, 'blobs');
  }
  blob(digest: Digest): string {
    return join(this.blobs, 'sha256', hexOf(digest));
  }
  layer(digest: Digest): string {
    return join(this.folder, 'layers', hexOf(digest));
  }
  /** What an overlay mounts. */
  layerRoot(digest: Digest): string {
    return join(this.layer(digest), 'root');
  }
  get #partial(): string {
    return join(this.folder, 'partial');
  }
  #image(reference: string): string {
    return join(this.folder, 'images', `${createHash('sha256').update(reference).digest('hex')}.json`);
  }

  async open(): Promise<void> {
    await rm(this.#partial, { recursive: true, force: true });
    // For root alone: what is in an image is of no trust on the host itself.
    await mkdir(this.folder, { recursive: true, mode: 0o700 });
    for (const name of ['partial', 'layers', 'images', 'blobs/sha256']) {
      await mkdir(join(this.folder, name), { recursive: true, mode: 0o700 });
    }
  }

  /** An empty folder for what is to become whole. */
  async makePartial(): Promise<string> {
    const folder = join(this.#partial, randomUUID());
    await mkdir(folder, { mode: 0o700 });
    return folder;
  }

  async removePartial(folder: string): Promise<void> {
    await rm(folder, { recursive: true, force: true });
  }

  /** Makes a blob appear under its name. Not waited for: what a power cut leaves of it is seen when it is read. */
  async placeBlob(partial: string, digest: Digest): Promise<void> {
    await rename(partial, this.blob(digest));
  }

  /** Makes an unpacked layer appear under its name, once its content is on the disk. */
  async placeLayer(partial: string, digest: Digest): Promise<void> {
    await runTool('sync', ['--file-system', partial], SYNC_MS_MAX, 'SHOAL_E_HOST');
    await rename(partial, this.layer(digest));
  }

  hasLayer(digest: Digest): Promise<boolean> {
    return exists(this.layer(digest));
  }

  hasBlob(digest: Digest): Promise<boolean> {
    return exists(this.blob(digest));
  }

  /** A manifest or configuration; null when it is missing or is not what its digest says, and then is removed. */
  async readDocument(digest: Digest): Promise<string | null> {
    try {
      const content = await readFile(this.blob(digest));
      if (createHash('sha256').update(content).digest('hex') === hexOf(digest)) return content.toString('utf8');
      await this.removeBlob(digest);
    } catch (error) {
      if (!isErrno(error, 'ENOENT')) throw error;
    }
    return null;
  }

  async readImage(reference: string): Promise<ImageRecord | null> {
    return asRecord(await readJson(this.#image(reference)));
  }

  writeImage(record: ImageRecord): Promise<void> {
    return writeAtomic(this.#image(record.reference), JSON.stringify(record));
  }

  async images(): Promise<ImageRecord[]> {
    const names = (await readdir(join(this.folder, 'images'))).filter((name) => name.endsWith('.json'));
    const read = await Promise.all(names.map((name) => readJson(join(this.folder, 'images', name))));
    return read.map(asRecord).filter((record) => record !== null);
  }

  async removeImage(reference: string): Promise<void> {
    await rm(this.#image(reference), { force: true });
  }

  async removeBlob(digest: Digest): Promise<void> {
    await rm(this.blob(digest), { force: true });
  }

  /** First the name, then the content: never is a part of a layer taken for the whole. */
  async removeLayer(digest: Digest): Promise<void> {
    const going = join(this.#partial, randomUUID());
    await rename(this.layer(digest), going);
    await rm(going, { recursive: true, force: true });
  }

  async layerSizes(): Promise<Map<Digest, number>> {
    return sizesOf(join(this.folder, 'layers'), async (path) => Number(await readFile(join(path, 'bytes'), 'utf8')));
  }

  async blobSizes(): Promise<Map<Digest, number>> {
    return sizesOf(join(this.blobs, 'sha256'), sizeOfFile);
  }
}

/** Null: gone meanwhile, as a damaged blob is removed. */
export async function sizeOfFile(path: string): Promise<number | null> {
  return stat(path).then(
    ({ size }) => size,
    (error: unknown) => {
      if (isErrno(error, 'ENOENT')) return null;
      throw error;
    },
  );
}

async function sizesOf(folder: string, sizeOf: (path: string) => Promise<number | null>): Promise<Map<Digest, number>> {
  const sizes = new Map<Digest, number>();
  for (const name of await readdir(folder)) {
    const digest = `sha256:${name}`;
    const size = isDigest(digest) ? await sizeOf(join(folder, name)) : null;
    if (size !== null) sizes.set(digest, size);
  }
  return sizes;
}

function asRecord(value: unknown): ImageRecord | null {
  const record = value as Partial<ImageRecord> | null;
  const whole = record?.format === 1 && typeof record.reference === 'string' && isDigest(record.manifest);
  return whole && Number.isFinite(record.usedMs) ? (record as ImageRecord) : null;
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
