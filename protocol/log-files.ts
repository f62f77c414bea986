import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { join } from 'node:path';
import { LIMITS } from './limits.js';
import type { LogFrom, LogPiece } from './log.js';

const CHUNK_BYTES = 64 * 1024;
const NEWLINE = 10;
/** Files that are opened while the log is rotated are opened again, so many times: their order is not certain. */
const OPENINGS_MAX = 5;

interface LogFile {
  handle: FileHandle;
  /** As in a LogCursor. */
  file: string;
  /** When it was opened. */
  size: number;
}

interface Place {
  /** Of the file. */
  index: number;
  position: number;
}

/**
 * A piece of the log in the folder: `log`, and before it what the shim has rotated away, `log.1`, `log.2` and so on. Who asks on
 * from where a piece ends sees every byte once, as long as it was not removed before.
 */
export async function readLogPiece(folder: string, from: LogFrom): Promise<LogPiece> {
  const named = 'file' in from ? from.file : null;
  const files: LogFile[] = [];
  try {
    for (let i = 0; i < OPENINGS_MAX; i += 1) {
      await close(files.splice(0));
      await openFiles(folder, named, files);
      if (files.length < 2 || (await isNewest(folder, files.at(-1)))) break;
    }
    if (files.length === 0) return { bytes: new Uint8Array(), next: null };
    const start = 'tail' in from ? await placeOfTail(files, from.tail) : placeAfter(files, from.file, from.position);
    return await readFrom(files, start);
  } finally {
    await close(files);
  }
}

/**
 * Oldest first, back to the one that is named. The newest is opened first: a rotation meanwhile shows a file twice, and in the
 * other order would hide one. And when there is a newer one already, nothing more comes to one that is opened then.
 */
async function openFiles(folder: string, named: string | null, files: LogFile[]): Promise<void> {
  for (let number = 0; number < LIMITS.logFilesMax; number += 1) {
    const handle = await openLog(join(folder, number === 0 ? 'log' : `log.${number}`));
    if (handle === null) continue;
    const opened = { handle, file: '', size: 0 };
    files.unshift(opened);
    const { ino, birthtimeNs, size } = await handle.stat({ bigint: true });
    Object.assign(opened, { file: `${ino}-${birthtimeNs}`, size: Number(size) });
    if (opened.file === files[1]?.file) await close(files.splice(0, 1));
    if (opened.file === named) return;
  }
}

/** After a rotation the newest may be missing until something is written. */
async function isNewest(folder: string, file: LogFile | undefined): Promise<boolean> {
  const now: LogFile[] = [];
  try {
    await openFiles(folder, file?.file ?? null, now);
    return now.length === 1;
  } finally {
    await close(now);
  }
}

async function close(files: readonly LogFile[]): Promise<void> {
  await Promise.all(files.map(({ handle }) => handle.close()));
}

/** Null when there is none (yet). A link is not followed. */
async function openLog(path: string): Promise<FileHandle | null> {
  try {
    return await open(path, constants.O_RDONLY | constants.O_NOFOLLOW);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
}

function placeAfter(files: readonly LogFile[], file: string, position: number): Place {
  const [oldest] = files;
  // One that is shorter than it was has been begun anew.
  const goesOn = oldest?.file === file && position <= oldest.size;
  return { index: 0, position: goesOn ? position : 0 };
}

/** Where the last `count` lines begin; a line that is not ended yet comes on top. */
async function placeOfTail(files: readonly LogFile[], count: number): Promise<Place> {
  let ends = 0;
  for (const [index, { handle, size }] of [...files.entries()].toReversed()) {
    for (let end = size; end > 0; end -= CHUNK_BYTES) {
      const start = Math.max(0, end - CHUNK_BYTES);
      const { buffer, bytesRead } = await handle.read(Buffer.allocUnsafe(end - start), 0, end - start, start);
      for (let at = bytesRead - 1; at >= 0; at -= 1) {
        if (buffer[at] !== NEWLINE) continue;
        ends += 1;
        if (ends > count) return { index, position: start + at + 1 };
      }
    }
  }
  return { index: 0, position: 0 };
}

async function readFrom(files: readonly LogFile[], { index, position }: Place): Promise<LogPiece> {
  const left = files.slice(index).reduce((sum, { size }) => sum + size, -position);
  const bytes = Buffer.allocUnsafe(Math.min(left, LIMITS.logPieceBytesMax));
  let filled = 0;
  for (;;) {
    const { handle, size, file } = files[index] as LogFile;
    const wanted = Math.min(bytes.length - filled, size - position);
    const { bytesRead } = wanted === 0 ? { bytesRead: 0 } : await handle.read(bytes, filled, wanted, position);
    filled += bytesRead;
    position += bytesRead;
    if (bytesRead > 0 && position < size && filled < bytes.length) continue;
    const isRead = position === size || bytesRead === 0;
    if (index === files.length - 1 || !isRead || filled === LIMITS.logPieceBytesMax) {
      return { bytes: bytes.subarray(0, filled), next: { file, position } };
    }
    index += 1;
    position = 0;
  }
}
