import { constants, type Stats } from 'node:fs';
import { type FileHandle, open, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { LIMITS } from '../../protocol/limits.js';

/** The log of one instance: `log` is written now, `log.1` was before, and so on; rotation renames them. */
const CHUNK_BYTES = 64 * 1024;
const NEWLINE = 0x0a;

/**
 * Opens the generations of a log, oldest first. Held open they stay what they are, whatever rotation does to the
 * names; one that was renamed while they were opened is there once. Empty when there is no log.
 */
export async function openGenerations(folder: string): Promise<FileHandle[]> {
  const found: { handle: FileHandle; inode: number }[] = [];
  // Newest first: rotation moves a file on to a higher number, so nothing is passed by unseen.
  for (let generation = 0; generation < LIMITS.logFilesMax + 1; generation++) {
    const handle = await openLog(pathOf(folder, generation));
    if (handle === null) continue;
    const { ino } = await handle.stat();
    if (found.some((each) => each.inode === ino)) await handle.close();
    else found.push({ handle, inode: ino });
  }
  return found.map(({ handle }) => handle).reverse();
}

/**
 * The file that follows the one that is open, once it was rotated away: null while it is still the newest. When the
 * next one was opened the old one is complete.
 */
export async function openNext(folder: string, current: FileHandle): Promise<FileHandle | null> {
  const { ino } = await current.stat();
  for (;;) {
    const at = await generationOf(folder, ino);
    if (at === 0) return null;
    // Rotated out altogether: the oldest that is left comes next.
    const next = at === null ? await oldest(folder) : at - 1;
    if (next === null) return null;
    const handle = await openLog(pathOf(folder, next));
    // Between the look and the opening the names may have moved on; then look again.
    const unmoved = (await generationOf(folder, ino)) === at;
    if (handle !== null && unmoved) return handle;
    await handle?.close();
    // Rotated, and the new file is not there yet.
    if (unmoved) return null;
  }
}

/** All bytes from `position` on, in chunks; returns the position of the end. */
export async function* readFrom(handle: FileHandle, position: number): AsyncGenerator<Buffer, number> {
  let at = position;
  for (;;) {
    const { bytesRead, buffer } = await handle.read(Buffer.allocUnsafe(CHUNK_BYTES), 0, CHUNK_BYTES, at);
    if (bytesRead === 0) return at;
    at += bytesRead;
    yield buffer.subarray(0, bytesRead);
  }
}

/** Where the last `lines` lines of all generations begin: which of them, and the offset in it. */
export async function findTail(files: readonly FileHandle[], lines: number): Promise<{ file: number; offset: number }> {
  const newest = files.length - 1;
  let missing = lines;
  // The newline that ends the last line begins no further one.
  let lastByte = true;
  for (let file = newest; file >= 0; file--) {
    const handle = files[file] as FileHandle;
    let end = (await handle.stat()).size;
    if (lines === 0) return { file, offset: end };
    while (end > 0) {
      const length = Math.min(CHUNK_BYTES, end);
      const start = end - length;
      const { bytesRead, buffer } = await handle.read(Buffer.allocUnsafe(length), 0, length, start);
      for (let i = bytesRead - 1; i >= 0; i--) {
        const ends = buffer[i] === NEWLINE && !lastByte;
        lastByte = false;
        if (!ends) continue;
        missing -= 1;
        if (missing === 0) return { file, offset: start + i + 1 };
      }
      end = start;
    }
    // A file ends with a whole line, so its newline is the boundary to the next and counts as one.
  }
  return { file: 0, offset: 0 };
}

async function openLog(path: string): Promise<FileHandle | null> {
  try {
    const handle = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    if ((await handle.stat()).isFile()) return handle;
    await handle.close();
    return null;
  } catch (error) {
    if (isMissing(error)) return null;
    throw error;
  }
}

async function generationOf(folder: string, inode: number): Promise<number | null> {
  for (let generation = 0; generation < LIMITS.logFilesMax + 1; generation++) {
    if ((await statLog(pathOf(folder, generation)))?.ino === inode) return generation;
  }
  return null;
}

async function oldest(folder: string): Promise<number | null> {
  for (let generation = LIMITS.logFilesMax; generation >= 0; generation--) {
    if ((await statLog(pathOf(folder, generation))) !== null) return generation;
  }
  return null;
}

async function statLog(path: string): Promise<Stats | null> {
  try {
    return await stat(path);
  } catch (error) {
    if (isMissing(error)) return null;
    throw error;
  }
}

function pathOf(folder: string, generation: number): string {
  return join(folder, generation === 0 ? 'log' : `log.${generation}`);
}

function isMissing(error: unknown): boolean {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  return code === 'ENOENT' || code === 'ENOTDIR';
}
