import { createHash } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { ShoalError } from '../protocol/errors.js';
import { runTool } from './run-tool.js';

const MOUNT_MS_MAX = 10_000;
const mounted = new Map<string, Promise<string>>();

/**
 * The given folder with the mount points added, without touching it: a read-only overlay of both (kernel document
 * filesystems/overlayfs, "Multiple lower layers"). It lives in the agent's own mount namespace and goes with it.
 */
export function overlayReadOnly(
  folder: string,
  mountPoints: string,
  parent: string,
  makeMountPoints: (folder: string) => Promise<void>,
): Promise<string> {
  const known = mounted.get(folder);
  if (known !== undefined) return known;
  const mounting = mount(folder, mountPoints, parent, makeMountPoints);
  mounted.set(folder, mounting);
  // A failed mount is tried again the next time; this caller gets the error from `mounting` itself.
  mounting.catch(() => mounted.delete(folder));
  return mounting;
}

async function mount(
  folder: string,
  mountPoints: string,
  parent: string,
  makeMountPoints: (folder: string) => Promise<void>,
): Promise<string> {
  if (/[,:\\]/.test(folder)) {
    throw new ShoalError(
      'SHOAL_E_START',
      `rootfs ${folder}: a path with a comma, colon or backslash cannot be mounted`,
    );
  }
  await makeMountPoints(mountPoints);
  const target = join(parent, createHash('sha256').update(folder).digest('hex').slice(0, 16));
  await mkdir(target, { recursive: true });
  const options = `ro,nodev,nosuid,lowerdir=${folder}:${mountPoints}`;
  await runTool('mount', ['-t', 'overlay', 'overlay', '-o', options, target], MOUNT_MS_MAX, 'SHOAL_E_START');
  return target;
}
