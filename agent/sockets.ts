import { constants } from 'node:fs';
import { type FileHandle, link, lstat, open, rename, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { ShoalError } from '../protocol/errors.js';

/** sun_path of unix(7), less its final zero. */
const SOCKET_PATH_BYTES_MAX = 107;

/** A path that a Unix socket address can hold: the folder's descriptor stands in for a long one. */
export async function withSocketPath<T>(path: string, use: (short: string) => Promise<T>): Promise<T> {
  if (Buffer.byteLength(path) <= SOCKET_PATH_BYTES_MAX) return use(path);
  const folder: FileHandle = await open(dirname(path), constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    return await use(join('/proc/self/fd', String(folder.fd), basename(path)));
  } finally {
    await folder.close();
  }
}

/**
 * Links a socket that an instance made into a folder of ours. A link does not follow symbolic links and cannot be
 * exchanged by the instance afterwards, so what is checked is what will be dialled.
 */
export async function captureSocket(from: string, to: string, owner: { base: number; count: number }): Promise<void> {
  const temporary = `${to}.tmp`;
  await rm(temporary, { force: true });
  await link(from, temporary);
  const info = await lstat(temporary);
  if (!info.isSocket() || info.uid < owner.base || info.uid >= owner.base + owner.count) {
    await rm(temporary, { force: true });
    throw new ShoalError('SHOAL_E_HOST', `${from} is not a socket of its instance`);
  }
  await rename(temporary, to);
  // rename(2) does nothing when both names are already links to the same file.
  await rm(temporary, { force: true });
}
