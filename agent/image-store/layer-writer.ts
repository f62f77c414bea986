import {
  chmodSync,
  closeSync,
  constants,
  fchmodSync,
  fchownSync,
  futimesSync,
  lchownSync,
  linkSync,
  lstatSync,
  lutimesSync,
  mkdirSync,
  openSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { type TarEntry, TarError, type TarSink } from './tar.js';

/** What overlayfs understands as "deleted here" and "nothing from below"; only native code can make them. */
export interface Whiteouts {
  markDeleted(path: string): void;
  markOpaque(path: string): void;
}

export interface LayerLimits {
  entriesMax: number;
  /** Of the files' contents, each rounded up to a block of the disk. */
  bytesMax: number;
}

/** OCI image specification, layer.md: "Whiteouts". */
const WHITEOUT = '.wh.';
const OPAQUE = '.wh..wh..opq';
const DISK_BLOCK = 4_096;
/** Set-user-id and its like have no effect in an instance, and shall have none on the host. */
const PERMISSIONS = 0o777;
const NAME_BYTES_MAX = 255;
const DEPTH_MAX = 128;
const ID_MAX = 0xffff_fffe;

/**
 * Writes one layer into a folder of its own, which nobody else writes to: so a name that was made here is what it was
 * made as, and no entry can be led out through a link. Devices are left out. Everything is made for overlayfs.
 */
export class LayerWriter implements TarSink {
  readonly #root: string;
  readonly #limits: LayerLimits;
  readonly #whiteouts: Whiteouts;
  /** Folders made here, by path in the layer, and the time they shall have when all is written. */
  readonly #folders = new Map<string, number>([['', 0]]);
  readonly #deleted = new Set<string>();
  readonly #opaque = new Set<string>();
  #file: { fd: number; entry: TarEntry } | undefined;
  #entries = 0;
  #bytes = 0;

  constructor(root: string, limits: LayerLimits, whiteouts: Whiteouts) {
    this.#root = root;
    this.#limits = limits;
    this.#whiteouts = whiteouts;
    mkdirSync(root, { mode: 0o755 });
    chmodSync(root, 0o755);
  }

  get bytes(): number {
    return this.#bytes;
  }

  entry(entry: TarEntry): void {
    this.#entries += 1;
    if (this.#entries > this.#limits.entriesMax) throw new TarError(`more than ${this.#limits.entriesMax} entries`);
    this.#count(DISK_BLOCK);
    const parts = partsOf(entry.path);
    const name = parts.at(-1);
    if (name === undefined) {
      this.#rootFolder(entry);
      return;
    }
    const folder = parts.slice(0, -1).join('/');
    if (name.startsWith(WHITEOUT)) {
      this.#whiteout(folder, name);
      return;
    }
    if (entry.kind === 'device') return;
    this.#makeFolders(folder);
    this.#write(entry, parts.join('/'));
  }

  data(chunk: Buffer): void {
    if (this.#file === undefined) return;
    this.#count(chunk.length);
    for (let at = 0; at < chunk.length; ) at += writeSync(this.#file.fd, chunk, at);
  }

  end(): void {
    if (this.#file === undefined) return;
    const { fd, entry } = this.#file;
    this.#file = undefined;
    fchownSync(fd, ownerOf(entry.uid), ownerOf(entry.gid));
    fchmodSync(fd, entry.mode & PERMISSIONS);
    futimesSync(fd, entry.mtimeSeconds, entry.mtimeSeconds);
    closeSync(fd);
  }

  /** After the last entry: what is gone in this layer, and the times of folders, which each write in them changed. */
  finish(): void {
    for (const path of this.#deleted) this.#delete(path);
    for (const path of this.#opaque) {
      this.#makeFolders(path);
      this.#whiteouts.markOpaque(this.#at(path));
    }
    for (const [path, mtime] of [...this.#folders].reverse()) utimesSync(this.#at(path), mtime, mtime);
  }

  #rootFolder(entry: TarEntry): void {
    if (entry.kind !== 'folder') throw new TarError(`the entry ${JSON.stringify(entry.path)} has no name`);
    this.#folders.set('', entry.mtimeSeconds);
  }

  #whiteout(folder: string, name: string): void {
    if (name === OPAQUE) {
      this.#opaque.add(folder);
      return;
    }
    const hidden = name.slice(WHITEOUT.length);
    // Of aufs, which wrote such files of its own.
    if (hidden.startsWith(WHITEOUT)) return;
    if (['', '.', '..'].includes(hidden)) throw new TarError(`the whiteout ${name} names nothing`);
    this.#deleted.add(folder === '' ? hidden : `${folder}/${hidden}`);
  }

  /** A whiteout hides what is below this layer, and not what the layer itself brings. */
  #delete(path: string): void {
    this.#makeFolders(path.slice(0, Math.max(0, path.lastIndexOf('/'))));
    if (this.#folders.has(path)) this.#opaque.add(path);
    else if (!exists(this.#at(path))) this.#whiteouts.markDeleted(this.#at(path));
  }

  #write(entry: TarEntry, path: string): void {
    const at = this.#at(path);
    if (entry.kind === 'folder') {
      this.#folder(entry, path);
      return;
    }
    this.#remove(path);
    if (entry.kind === 'symbolic-link') {
      if (entry.target === '') throw new TarError(`${path} links to nothing`);
      symlinkSync(entry.target, at);
      lchownSync(at, ownerOf(entry.uid), ownerOf(entry.gid));
      lutimesSync(at, entry.mtimeSeconds, entry.mtimeSeconds);
    } else if (entry.kind === 'hard-link') {
      linkSync(this.#at(this.#linked(entry)), at);
    } else {
      const { O_WRONLY, O_CREAT, O_EXCL, O_NOFOLLOW } = constants;
      this.#file = { fd: openSync(at, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0o600), entry };
    }
  }

  #folder(entry: TarEntry, path: string): void {
    const at = this.#at(path);
    if (!this.#folders.has(path)) {
      this.#remove(path);
      mkdirSync(at);
    }
    this.#folders.set(path, entry.mtimeSeconds);
    lchownSync(at, ownerOf(entry.uid), ownerOf(entry.gid));
    chmodSync(at, entry.mode & PERMISSIONS);
  }

  /** The file of this layer that a hard link names, by a path that leads through folders only. */
  #linked(entry: TarEntry): string {
    const parts = partsOf(entry.target);
    const folder = parts.slice(0, -1).join('/');
    const path = parts.join('/');
    const there = parts.length > 0 && this.#folders.has(folder) && !this.#folders.has(path) && exists(this.#at(path));
    if (!there) throw new TarError(`${entry.path} is a hard link to ${entry.target}, which the layer does not have`);
    return path;
  }

  #remove(path: string): void {
    rmSync(this.#at(path), { recursive: true, force: true });
    for (const folder of this.#folders.has(path) ? [...this.#folders.keys()] : []) {
      if (folder === path || folder.startsWith(`${path}/`)) this.#folders.delete(folder);
    }
  }

  #makeFolders(path: string): void {
    if (this.#folders.has(path)) return;
    const cut = path.lastIndexOf('/');
    this.#makeFolders(cut < 0 ? '' : path.slice(0, cut));
    const at = this.#at(path);
    if (exists(at)) throw new TarError(`${path} is used as a folder and is none`);
    mkdirSync(at);
    chmodSync(at, 0o755);
    this.#folders.set(path, 0);
  }

  #count(bytes: number): void {
    this.#bytes += bytes;
    if (this.#bytes > this.#limits.bytesMax) throw new TarError(`more than ${this.#limits.bytesMax} bytes`);
  }

  #at(path: string): string {
    return join(this.#root, path);
  }
}

/** The names that a path leads through; throws for one that leads out. */
function partsOf(path: string): string[] {
  const parts = path.split('/').filter((part) => part !== '' && part !== '.');
  const bad = parts.some((part) => part === '..' || part.includes('\0') || Buffer.byteLength(part) > NAME_BYTES_MAX);
  if (bad || parts.length > DEPTH_MAX) throw new TarError(`the path ${JSON.stringify(path)} is not allowed`);
  return parts;
}

function ownerOf(id: number): number {
  if (id < 0 || id > ID_MAX) throw new TarError(`${id} is no user or group`);
  return id;
}

function exists(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false }) !== undefined;
}
