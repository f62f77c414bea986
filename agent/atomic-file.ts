import { open, readFile, rename, writeFile } from 'node:fs/promises';
import { isErrno } from './cgroup.js';

/** Writes the whole file or nothing: a reader, also after a crash of the host, sees the old content or the new. */
export async function writeAtomic(path: string, content: string): Promise<void> {
  const temporary = `${path}.tmp`;
  const file = await open(temporary, 'w', 0o600);
  try {
    await file.writeFile(content);
    await file.datasync();
  } finally {
    await file.close();
  }
  await rename(temporary, path);
}

/**
 * As writeAtomic, for what says nothing once the host has gone down, such as what runs on it: any process may end at any
 * moment, and no disk is waited for. After a power cut the file may be old, damaged or gone.
 */
export async function writeWhole(path: string, content: string): Promise<void> {
  const temporary = `${path}.tmp`;
  await writeFile(temporary, content, { mode: 0o600 });
  await rename(temporary, path);
}

/** The JSON value in the file; null when there is none or it is damaged, which a crash of the host may leave behind. */
export async function readJson(path: string): Promise<unknown> {
  try {
    return JSON.parse(await readFile(path, 'utf8')) as unknown;
  } catch (error) {
    if (isErrno(error, 'ENOENT') || error instanceof SyntaxError) return null;
    throw error;
  }
}
