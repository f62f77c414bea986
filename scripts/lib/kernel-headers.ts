import { access, mkdir, mkdtemp, readdir, rename, rm } from 'node:fs/promises';
import { release } from 'node:os';
import { join } from 'node:path';
import { cacheFolder } from './lab/kernel.js';
import { tool } from './lab/tool.js';

const FETCH_MS_MAX = 10 * 60_000;
const MERGED = 'merged';

/**
 * The environment in which bcc's tools find headers of a kernel: nothing where those of the running one are installed.
 * Else those of Debian's stock kernel, fetched with apt-get and unpacked, never installed, and kept beside the lab's
 * kernel: a tool that reads no struct of the kernel, as `profile`, compiles with those of another version as well.
 * Rejects where there is neither.
 */
export async function bccEnvironment(): Promise<NodeJS.ProcessEnv> {
  const isInstalled = await access(`/lib/modules/${release()}/build`).then(
    () => true,
    () => false,
  );
  return isInstalled ? {} : { BCC_KERNEL_SOURCE: await findHeaders() };
}

async function findHeaders(): Promise<string> {
  const kept = join(cacheFolder(), 'headers');
  await mkdir(cacheFolder(), { recursive: true });
  const names = await readdir(kept).catch(() => []);
  if (names.length === 0) await fetchHeaders(kept);
  return kept;
}

/** A folder of its own, renamed when all is there: two may fetch at the same time. */
async function fetchHeaders(into: string): Promise<void> {
  const folder = await mkdtemp(join(cacheFolder(), 'fetch-'));
  try {
    const ofThisKind = await dependency('linux-headers-amd64', /linux-headers-\d\S*-amd64/);
    const common = await dependency(ofThisKind, /linux-headers-\d\S*-common/);
    await tool('apt-get', ['download', '-qq', ofThisKind, common], { cwd: folder, timeout: FETCH_MS_MAX });
    for (const archive of await readdir(folder))
      await tool('dpkg', ['-x', join(folder, archive), folder], { timeout: FETCH_MS_MAX });
    // bcc looks in one folder. Those of this kind refer to the common ones by paths that are right once installed only.
    const merged = join(folder, MERGED);
    await mkdir(merged);
    for (const each of [common, ofThisKind]) {
      const from = join(folder, 'usr/src', each);
      await mkdir(join(merged, 'arch'), { recursive: true });
      await tool('cp', ['-a', join(from, 'include'), merged]);
      await tool('cp', ['-a', join(from, 'arch/x86'), join(merged, 'arch')]);
    }
    await rename(merged, into).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOTEMPTY' && error.code !== 'EEXIST') throw error;
    });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function dependency(name: string, wanted: RegExp): Promise<string> {
  const found = wanted.exec(await tool('apt-cache', ['depends', name]))?.[0];
  if (found === undefined)
    throw new Error(
      `no headers of a kernel for bcc: install linux-headers-${release()}, or apt-get update for Debian's`,
    );
  return found;
}
