import { link, lstat, rename, rm } from 'node:fs/promises';
import { ShoalError } from '../protocol/errors.js';

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
