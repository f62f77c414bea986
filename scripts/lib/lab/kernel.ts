import { mkdir, mkdtemp, readdir, rename, rm } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { LabError } from './errors.js';
import { tool } from './tool.js';
import { unpackKernel } from './vmlinux.js';

const VMLINUX = 'boot/vmlinux';
const FETCH_MS_MAX = 10 * 60_000;

/** Debian's stock kernel, unpacked and not installed. */
export interface Kernel {
  version: string;
  /** Uncompressed: QEMU boots it by its PVH entry. */
  vmlinux: string;
  /** The folder that holds the package's lib/modules. */
  root: string;
}

/** Where what takes long to make is kept, for all checkouts of this user. */
export function cacheFolder(): string {
  return join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'shoal/lab');
}

/** The kernel in the cache; fetched with apt-get when there is none. */
export async function findKernel(): Promise<Kernel> {
  const cache = cacheFolder();
  await mkdir(cache, { recursive: true });
  return (await cachedKernel(cache)) ?? (await fetchKernel(cache));
}

async function cachedKernel(cache: string): Promise<Kernel | null> {
  const name = (await readdir(cache))
    .filter((each) => each.startsWith('linux-'))
    .sort()
    .at(-1);
  if (name === undefined) return null;
  const root = join(cache, name);
  const version = name.slice('linux-'.length);
  return { version, root, vmlinux: join(root, VMLINUX) };
}

async function fetchKernel(cache: string): Promise<Kernel> {
  // A folder of its own, renamed when all is there: two racks may fetch at the same time.
  const folder = await mkdtemp(join(cache, 'fetch-'));
  try {
    const version = (await kernelPackage()).slice('linux-image-'.length);
    await tool('apt-get', ['download', '-qq', `linux-image-${version}`], { cwd: folder, timeout: FETCH_MS_MAX });
    const [archive = ''] = await readdir(folder);
    const root = join(folder, 'root');
    await tool('dpkg', ['-x', join(folder, archive), root], { timeout: FETCH_MS_MAX });
    await tool('depmod', ['-b', root, version], { timeout: FETCH_MS_MAX });
    await unpackKernel(join(root, `boot/vmlinuz-${version}`), join(root, VMLINUX));
    await rename(root, join(cache, `linux-${version}`)).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOTEMPTY' && error.code !== 'EEXIST') throw error;
    });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
  const kernel = await cachedKernel(cache);
  if (kernel === null) throw new LabError('boot', `no kernel in ${cache} after it was fetched`);
  return kernel;
}

/** The package that Debian's linux-image-amd64 stands for. The cloud kernel has neither 9p nor soft-RoCE. */
async function kernelPackage(): Promise<string> {
  const find = async () =>
    /Depends: (linux-image-\d\S*)/.exec(await tool('apt-cache', ['depends', 'linux-image-amd64']))?.[1];
  const known = await find().catch(() => undefined);
  if (known !== undefined) return known;
  await tool('apt-get', ['update', '-qq'], { timeout: FETCH_MS_MAX });
  const found = await find();
  if (found === undefined)
    throw new LabError('boot', 'apt-cache knows no package linux-image-amd64: the lab needs Debian on amd64');
  return found;
}
