import { createHash } from 'node:crypto';
import { copyFile, mkdir, mkdtemp, readFile, rename, rm, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { cacheFolder, type Kernel } from './kernel.js';
import { tool } from './tool.js';

/** What it takes to reach the root file system and the driver; all else is loaded from there. */
const MODULES = ['virtio_pci', '9pnet_virtio', '9p', 'overlay', 'virtio_net', 'virtio_console'];
/** For a machine that writes to a disk of its own. */
const DISK_MODULES = ['virtio_blk', 'ext4'];
const FOLDERS = ['bin', 'dev', 'modules', 'disk-modules', 'lower', 'upper', 'new'];
const BUSYBOX = '/bin/busybox';

/** The initramfs for the kernel: busybox, the first modules and guest/init.sh. Made once for each content. */
export async function makeInitramfs(kernel: Kernel, init: string): Promise<string> {
  const digest = createHash('sha256')
    .update(await readFile(init))
    .update([...MODULES, ...DISK_MODULES].join())
    .digest('hex');
  const path = join(cacheFolder(), `initramfs-${kernel.version}-${digest.slice(0, 16)}`);
  if ((await stat(path).catch(() => null)) !== null) return path;
  const folder = await mkdtemp(join(cacheFolder(), 'initramfs-'));
  try {
    for (const each of FOLDERS) await mkdir(join(folder, each));
    await copyFile(BUSYBOX, join(folder, 'bin/busybox'));
    await copyFile(init, join(folder, 'init'));
    const modules = await withDependencies(kernel, MODULES);
    for (const [index, module] of modules.entries()) await addModule(module, index, join(folder, 'modules'));
    const more = (await withDependencies(kernel, DISK_MODULES)).filter((module) => !modules.includes(module));
    for (const [index, module] of more.entries()) await addModule(module, index, join(folder, 'disk-modules'));
    const archive = `${folder}.cpio`;
    await tool('sh', ['-c', 'cd "$1" && find . | cpio --quiet -o -H newc >"$2"', 'sh', folder, archive]);
    await rename(archive, path);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
  return path;
}

/** Files of the modules and of those that they need, in the order to load them. */
async function withDependencies(kernel: Kernel, names: string[]): Promise<string[]> {
  const listed = await tool('modprobe', ['-d', kernel.root, '-S', kernel.version, '-a', '--show-depends', ...names]);
  return [...new Set([...listed.matchAll(/^insmod (\S+)/gm)].map((match) => match[1] as string))];
}

async function addModule(module: string, index: number, folder: string): Promise<void> {
  const name = `${String(index).padStart(2, '0')}-${basename(module)}`;
  // Debian compresses modules from version 13 on, which busybox's insmod cannot read.
  if (module.endsWith('.xz'))
    await tool('sh', ['-c', 'xz -dc "$1" >"$2"', 'sh', module, join(folder, name.slice(0, -3))]);
  else await copyFile(module, join(folder, name));
}
