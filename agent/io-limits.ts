import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { ShoalError } from '../protocol/errors.js';
import type { IoLimit } from '../protocol/manifest.js';
import { isErrno } from './cgroup.js';

/** Lines for io.max of cgroup v2 (the kernel's cgroup-v2.rst), which takes one for each disk; `disks` as MAJOR:MINOR. */
export function ioMaxLines({ readBytes, writeBytes, readOps, writeOps }: IoLimit, disks: readonly string[]): string[] {
  const limits = { rbps: readBytes, wbps: writeBytes, riops: readOps, wiops: writeOps };
  const words = Object.entries(limits).map(([key, value]) => `${key}=${value ?? 'max'}`);
  return disks.map((disk) => [disk, ...words].join(' '));
}

/**
 * The disks of a limit as MAJOR:MINOR: those that it names, else all of the host that are no partitions, and nothing made of
 * others or of memory. Throws SHOAL_E_START when one is no disk of this host, or none is found.
 */
export async function disksOf({ devices }: IoLimit, sys = '/sys'): Promise<string[]> {
  if (devices !== undefined) return Promise.all(devices.map(numbersOf));
  const found: string[] = [];
  for (const name of (await namesIn(join(sys, 'block'))).sort()) {
    // Loops, RAM disks, device mappers and RAIDs have no device behind them.
    const real = (await namesIn(join(sys, 'block', name))).includes('device');
    if (real) found.push((await readFile(join(sys, 'block', name, 'dev'), 'utf8')).trim());
  }
  if (found.length > 0) return found;
  throw new ShoalError('SHOAL_E_START', 'no disk was found in /sys/block for `io`: name its disks in `io.devices`');
}

async function numbersOf(path: string): Promise<string> {
  const info = await stat(path).catch(() => undefined);
  if (info?.isBlockDevice() === true) return `${major(info.rdev)}:${minor(info.rdev)}`;
  const remedy = 'name disks of this host, such as `lsblk --paths` lists, or leave `devices` out for all';
  throw new ShoalError('SHOAL_E_START', `${path} of \`io.devices\` is no disk of this host: ${remedy}`);
}

/** As makedev(3) of the GNU C library packs them. */
function major(device: number): number {
  const wide = BigInt(device);
  return Number(((wide >> 8n) & 0xfffn) | ((wide >> 32n) & ~0xfffn));
}

function minor(device: number): number {
  const wide = BigInt(device);
  return Number((wide & 0xffn) | ((wide >> 12n) & ~0xffn & 0xffffffffn));
}

async function namesIn(folder: string): Promise<string[]> {
  try {
    return await readdir(folder);
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return [];
    throw error;
  }
}
