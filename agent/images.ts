import { createHash } from 'node:crypto';
import { access, chmod, mkdir, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { ShoalError } from '../protocol/errors.js';
import { runTool } from './run-tool.js';

const PULL_MS_MAX = 300_000;
/** A failed pull is not tried again sooner. */
const RETRY_MS = 5_000;

/** What an unpacked image says of itself. */
export interface Image {
  rootfs: string;
  command: string[];
  env: Record<string, string>;
  workingFolder: string;
}

/** OCI images, fetched by skopeo and unpacked by umoci, each once for all instances of this host. */
export class Images {
  readonly #folder: string;
  readonly #clock: () => number;
  readonly #pulls = new Map<string, Promise<Image>>();
  readonly #failed = new Map<string, { error: ShoalError; atMs: number }>();

  constructor(folder: string, clock: () => number) {
    this.#folder = folder;
    this.#clock = clock;
  }

  /** The image, such as `docker://docker.io/library/debian:12` or `oci:/path:tag`. */
  unpack(reference: string): Promise<Image> {
    const failed = this.#failed.get(reference);
    if (failed !== undefined && this.#clock() - failed.atMs < RETRY_MS) return Promise.reject(failed.error);
    const running = this.#pulls.get(reference);
    if (running !== undefined) return running;
    const pull = this.#pull(reference);
    this.#pulls.set(reference, pull);
    pull.catch((error: unknown) => {
      this.#pulls.delete(reference);
      if (error instanceof ShoalError) this.#failed.set(reference, { error, atMs: this.#clock() });
    });
    return pull;
  }

  async #pull(reference: string): Promise<Image> {
    const source = sourceOf(reference);
    const done = join(this.#folder, createHash('sha256').update(source).digest('hex').slice(0, 16));
    const unpacked = join(done, 'unpacked');
    if (await isThere(unpacked)) return readImage(unpacked);
    const partial = `${done}.partial`;
    await rm(partial, { recursive: true, force: true });
    await mkdir(partial, { recursive: true });
    try {
      await runTool('skopeo', ['copy', '--quiet', source, `oci:${partial}/oci:image`], PULL_MS_MAX, 'SHOAL_E_START');
      await runTool(
        'umoci',
        ['unpack', '--image', `${partial}/oci:image`, `${partial}/unpacked`],
        PULL_MS_MAX,
        'SHOAL_E_START',
      );
      await rm(join(partial, 'oci'), { recursive: true });
      // umoci makes it for root alone; instances are other users.
      await chmod(join(partial, 'unpacked'), 0o711);
      // Whole or not at all: a kill in the middle leaves only the partial folder, which the next try removes.
      await rename(partial, done);
    } catch (error) {
      await rm(partial, { recursive: true, force: true });
      if (error instanceof ShoalError)
        throw new ShoalError(error.code, `image ${reference}: ${messageOf(error.message)}`, { cause: error });
      throw error;
    }
    return readImage(unpacked);
  }
}

/** Where skopeo can get an image from (containers-transports(5)). */
const TRANSPORTS = ['containers-storage', 'dir', 'docker', 'docker-archive', 'docker-daemon', 'oci', 'oci-archive'];

/** The reference as skopeo wants it; what names no transport is of a registry, as `debian:12` or `host:5000/name`. */
export function sourceOf(reference: string): string {
  return TRANSPORTS.some((each) => reference.startsWith(`${each}:`)) ? reference : `docker://${reference}`;
}

/** What skopeo says in its log format, without time and level. */
export function messageOf(said: string): string {
  const quoted = /\bmsg=("(?:[^"\\]|\\.)*")/.exec(said)?.[1];
  return quoted === undefined ? said : `skopeo: ${JSON.parse(quoted)}`;
}

/** By the config.json that umoci derives from the image's configuration. */
async function readImage(unpacked: string): Promise<Image> {
  const text = await readFile(join(unpacked, 'config.json'), 'utf8');
  const { process } = JSON.parse(text) as { process?: { args?: string[]; env?: string[]; cwd?: string } };
  const env = (process?.env ?? []).map((each): [string, string] => {
    const cut = each.indexOf('=');
    return [each.slice(0, cut), each.slice(cut + 1)];
  });
  return {
    rootfs: join(unpacked, 'rootfs'),
    command: process?.args ?? [],
    env: Object.fromEntries(env),
    workingFolder: process?.cwd ?? '/',
  };
}

async function isThere(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
