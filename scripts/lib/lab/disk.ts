import { truncate, writeFile } from 'node:fs/promises';
import { tool } from './tool.js';

export interface Disk {
  /** Of its image. */
  path: string;
  mebibytes: number;
}

/** A sparse image with an empty ext4, in place of what is there. */
export async function makeDisk({ path, mebibytes }: Disk): Promise<void> {
  await writeFile(path, '');
  await truncate(path, mebibytes * 2 ** 20);
  // What can be written later is: the machine lives for minutes.
  await tool('mkfs.ext4', ['-q', '-F', '-E', 'lazy_itable_init=1,lazy_journal_init=1', path]);
}
