import { constants, type Dirent, watch } from 'node:fs';
import { type FileHandle, open, readdir } from 'node:fs/promises';
import { join } from 'node:path';

const CHUNK_BYTES = 64 * 1024;
/** Looked at least so often, since a notice of the file system may be missed. */
const LOOK_MS = 500;

/** Everything kept of an instance's log, oldest first: `log.2`, `log.1`, `log`. */
export async function logFiles(folder: string): Promise<string[]> {
  const entries: Dirent[] = await readdir(folder, { withFileTypes: true }).catch(() => []);
  const numberOf = (name: string) => Number(name.slice('log.'.length));
  const rotated = entries.map((entry) => entry.name).filter((name) => /^log\.\d+$/.test(name));
  rotated.sort((a, b) => numberOf(b) - numberOf(a));
  const current = entries.some((entry) => entry.name === 'log') ? ['log'] : [];
  return [...rotated, ...current].map((name) => join(folder, name));
}

/** The last `count` lines of the files taken together. */
export async function tailLines(files: readonly string[], count: number): Promise<string> {
  let text = '';
  for (const path of files.toReversed()) {
    text = (await readAll(path)) + text;
    if (text.split('\n').length > count + 1) break;
  }
  const lines = text.split('\n');
  const last = lines.pop() ?? '';
  const kept = count === 0 ? [] : lines.slice(-count);
  return kept.map((line) => `${line}\n`).join('') + last;
}

/** What is appended to `folder/log` from now on, across rotations, until the signal. */
export async function* followLog(folder: string, signal: AbortSignal): AsyncGenerator<Buffer> {
  const path = join(folder, 'log');
  let file: FileHandle | null = await openLog(path);
  let position = file === null ? 0 : (await file.stat()).size;
  try {
    while (!signal.aborted) {
      if (file !== null) {
        let more = await readFrom(file, position);
        while (more.length > 0) {
          position += more.length;
          yield more;
          more = await readFrom(file, position);
        }
      }
      const fresh = await openLog(path);
      if (fresh !== null && !(await isSame(fresh, file))) {
        // What was written to the old file after the last look is read before the new one is begun.
        if (file !== null) {
          const rest = await readFrom(file, position);
          if (rest.length > 0) yield rest;
          await file.close();
        }
        file = fresh;
        position = 0;
        continue;
      }
      await fresh?.close();
      await change(path, signal);
    }
  } finally {
    await file?.close();
  }
}

async function readAll(path: string): Promise<string> {
  const file = await openLog(path);
  if (file === null) return '';
  try {
    return await file.readFile('utf8');
  } finally {
    await file.close();
  }
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

async function readFrom(file: FileHandle, position: number): Promise<Buffer> {
  const { buffer, bytesRead } = await file.read(Buffer.allocUnsafe(CHUNK_BYTES), 0, CHUNK_BYTES, position);
  return buffer.subarray(0, bytesRead);
}

async function isSame(a: FileHandle, b: FileHandle | null): Promise<boolean> {
  if (b === null) return false;
  const [one, other] = await Promise.all([a.stat(), b.stat()]);
  return one.ino === other.ino;
}

/** Resolves when the file may have changed. */
function change(path: string, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      watcher?.close();
      resolve();
    };
    const timer = setTimeout(done, LOOK_MS);
    signal.addEventListener('abort', done, { once: true });
    const watcher = tryWatch(path, done);
  });
}

/** Without inotify (none left, or no file yet) the regular look does. */
function tryWatch(path: string, changed: () => void): ReturnType<typeof watch> | null {
  try {
    const watcher = watch(path, { persistent: false }, changed);
    watcher.on('error', changed);
    return watcher;
  } catch {
    return null;
  }
}
