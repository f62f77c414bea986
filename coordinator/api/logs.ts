import { constants, type Dirent, watch } from 'node:fs';
import { type FileHandle, open, readdir } from 'node:fs/promises';
import { join } from 'node:path';

const CHUNK_BYTES = 64 * 1024;
/** Looked at least so often, since a notice of the file system may be missed. */
const LOOK_MS = 500;

/** Everything kept of an instance's log, oldest first: `log.2`, `log.1`, `log`. */
export async function logFiles(folder: string): Promise<string[]> {
  const entries: Dirent[] = await readdir(folder, { withFileTypes: true }).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return [];
    throw error;
  });
  const numberOf = (name: string) => Number(name.slice('log.'.length));
  const rotated = entries.map((entry) => entry.name).filter((name) => /^log\.\d+$/.test(name));
  rotated.sort((a, b) => numberOf(b) - numberOf(a));
  const current = entries.some((entry) => entry.name === 'log') ? ['log'] : [];
  return [...rotated, ...current].map((name) => join(folder, name));
}

/** The last `count` lines of the files and of the text after them, taken together. */
export async function tailLines(files: readonly string[], count: number, after = ''): Promise<string> {
  let text = after;
  for (const path of files.toReversed()) {
    text = (await readAll(path)) + text;
    if (text.split('\n').length > count + 1) break;
  }
  const lines = text.split('\n');
  const last = lines.pop() ?? '';
  const kept = count === 0 ? [] : lines.slice(-count);
  return kept.map((line) => `${line}\n`).join('') + last;
}

/** The last `tail` lines of the log, then what is appended, across rotations, until the signal: no line twice, none lost. */
export async function* followLog(folder: string, tail: number, signal: AbortSignal): AsyncGenerator<string | Buffer> {
  const path = join(folder, 'log');
  // Kept open from here: what is written after the tail was read follows it, also when the file is renamed meanwhile.
  let file: FileHandle | null = await openLog(path);
  try {
    const now = (await file?.readFile()) ?? Buffer.alloc(0);
    let position = now.length;
    const older = (await logFiles(folder)).filter((each) => each !== path);
    yield await tailLines(older, tail, now.toString('utf8'));
    while (!signal.aborted) {
      for await (const more of restOf(file, position)) {
        position += more.length;
        yield more;
      }
      const fresh = await openLog(path);
      if (fresh !== null && !(await isSame(fresh, file))) {
        // What was written to the old file after the last look is read before the new one is begun.
        yield* restOf(file, position);
        await file?.close();
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

/** All that the file holds from the position on. */
async function* restOf(file: FileHandle | null, from: number): AsyncGenerator<Buffer> {
  for (let position = from; file !== null; ) {
    const { buffer, bytesRead } = await file.read(Buffer.allocUnsafe(CHUNK_BYTES), 0, CHUNK_BYTES, position);
    if (bytesRead === 0) return;
    position += bytesRead;
    yield buffer.subarray(0, bytesRead);
  }
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
