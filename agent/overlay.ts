import { mkdir, rm, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { runTool } from './run-tool.js';

const MOUNT_MS_MAX = 10_000;

/**
 * Mounts the folders over one another, the first on top, read-only and without touching them (kernel document
 * filesystems/overlayfs, "Multiple lower layers"). The mount lives in the agent's own mount namespace and goes with it.
 */
export async function mountReadOnly(folders: readonly string[], target: string): Promise<void> {
  await mkdir(target, { recursive: true });
  // Short names in place of the folders': mount(2) takes one page of options, and some characters are not possible.
  const links = `${target}.layers`;
  await rm(links, { recursive: true, force: true });
  await mkdir(links, { mode: 0o700 });
  await Promise.all(folders.map((folder, at) => symlink(folder, join(links, String(at)))));
  const lower = folders.map((_, at) => at).join(':');
  const options = `ro,nodev,nosuid,lowerdir=${lower}`;
  // The newer interface, which libmount prefers, takes no option longer than 256 characters.
  const env = { ...process.env, LIBMOUNT_FORCE_MOUNT2: 'always' };
  const words = ['-t', 'overlay', 'overlay', '-o', options, target];
  await runTool('mount', words, MOUNT_MS_MAX, 'SHOAL_E_START', { cwd: links, env });
  await rm(links, { recursive: true });
}
