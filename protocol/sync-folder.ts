import { open } from 'node:fs/promises';

/** Until this, a crash of the host may take back that a file in the folder was made or renamed (fsync(2)). */
export async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r');
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}
