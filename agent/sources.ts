import { createHash } from 'node:crypto';
import { lstat, mkdir, realpath, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { NativeHost } from '../native/index.js';
import { ShoalError } from '../protocol/errors.js';
import { isErrno } from './cgroup.js';

const OTHERS_EXECUTE = 0o001;
const OTHERS_READ = 0o004;

/**
 * Files and folders of the host that go into instances. An instance's user may not be able to pass the folders above
 * (such as a home folder with mode 0700); then the agent binds the source once to a place that it can.
 */
export class Sources {
  readonly #folder: string;
  readonly #native: NativeHost;
  readonly #bound = new Map<string, Promise<string>>();

  constructor(folder: string, native: NativeHost) {
    this.#folder = folder;
    this.#native = native;
  }

  /** A path to the same content that every user can reach. Throws SHOAL_E_START when there is no such file or folder. */
  async reachable(path: string): Promise<string> {
    const real = await this.#resolve(path);
    await assertReadable(real);
    if ((await closedFolder(dirname(real))) === null) return real;
    const known = this.#bound.get(real) ?? this.#bind(real);
    this.#bound.set(real, known);
    // What could not be bound is tried again the next time.
    known.catch(() => this.#bound.delete(real));
    return known;
  }

  async #bind(real: string): Promise<string> {
    const target = join(this.#folder, createHash('sha256').update(real).digest('hex').slice(0, 16));
    await mkdir(this.#folder, { recursive: true, mode: 0o711 });
    if ((await lstat(real)).isDirectory()) await mkdir(target, { recursive: true });
    else await writeFile(target, '', { flag: 'a' });
    this.#native.bindMount(real, target, { readonly: true });
    return target;
  }

  async #resolve(path: string): Promise<string> {
    try {
      return await realpath(path);
    } catch (error) {
      if (!isErrno(error, 'ENOENT') && !isErrno(error, 'ENOTDIR')) throw error;
      throw new ShoalError('SHOAL_E_START', `there is no ${path} on this host`);
    }
  }
}

/** What other users may not read, no mount makes readable to them. */
async function assertReadable(path: string): Promise<void> {
  const info = await lstat(path);
  const needed = info.isDirectory() ? OTHERS_READ | OTHERS_EXECUTE : OTHERS_READ;
  if ((info.mode & needed) === needed) return;
  throw new ShoalError('SHOAL_E_START', `unprivileged instances may not read ${path}: chmod -R o+rX ${path}`);
}

/** The innermost folder of the path that other users cannot pass; null when they can pass all. */
export async function closedFolder(path: string): Promise<string | null> {
  for (let folder = path; ; folder = dirname(folder)) {
    if (((await lstat(folder)).mode & OTHERS_EXECUTE) === 0) return folder;
    if (folder === '/') return null;
  }
}
