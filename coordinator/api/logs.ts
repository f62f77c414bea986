import type { FileHandle } from 'node:fs/promises';
import { setTimeout as pause } from 'node:timers/promises';
import { findTail, openGenerations, openNext, readFrom } from './log-files.js';

/** Looking is cheap, and unlike inotify it needs no watch per follower and misses no rename. */
const LOOK_MS = 100;

export interface LogRequest {
  /** The instance's folder. */
  folder: string;
  /** Only so many of the last lines; all of them when undefined. */
  tail?: number;
  follow: boolean;
  /** Whether more may come. When not, following ends with what is there. */
  lives: () => boolean;
  signal: AbortSignal;
}

/** The log of an instance as bytes, across rotation, and while it grows if it is followed. */
export async function* readLog({ folder, tail, follow, lives, signal }: LogRequest): AsyncGenerator<Buffer, void> {
  const open = new Set<FileHandle>();
  const keep = (handles: FileHandle[]): FileHandle[] => {
    for (const handle of handles) open.add(handle);
    return handles;
  };
  try {
    let files = keep(await openGenerations(folder));
    const begin = tail === undefined ? { file: 0, offset: 0 } : await findTail(files, tail);
    while (files.length === 0) {
      if (!follow || !lives() || !(await waited(signal))) return;
      files = keep(await openGenerations(folder));
    }
    let current = files[0] as FileHandle;
    let position = 0;
    for (const [index, file] of files.entries()) {
      if (index < begin.file) continue;
      current = file;
      position = yield* readFrom(file, index === begin.file ? begin.offset : 0);
    }
    while (follow && !signal.aborted) {
      // Asked before reading: whatever was written while it lived is read below.
      const more = lives();
      const next = await openNext(folder, current);
      position = yield* readFrom(current, position);
      if (next !== null) {
        open.delete(current);
        await current.close();
        keep([next]);
        current = next;
        position = 0;
      } else if (!more || !(await waited(signal))) return;
    }
  } finally {
    await Promise.all([...open].map((handle) => handle.close()));
  }
}

/** False when the reader went away meanwhile. */
async function waited(signal: AbortSignal): Promise<boolean> {
  try {
    await pause(LOOK_MS, undefined, { signal });
    return true;
  } catch (error) {
    if (signal.aborted) return false;
    throw error;
  }
}
