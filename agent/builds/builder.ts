import { createHash, randomUUID } from 'node:crypto';
import { chmod, mkdir, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Logger } from 'pino';
import { ShoalError, toShoalError } from '../../protocol/errors.js';
import { LIMITS } from '../../protocol/limits.js';
import type { Size } from '../../protocol/link.js';
import type { BuildSource } from '../../protocol/manifest.js';
import { Cgroup } from '../cgroup.js';
import type { ExclusiveCores } from '../exclusive-cores.js';
import type { Bring, Ways } from '../image-store/store.js';
import { runTool } from '../run-tool.js';
import { runBuildah } from './buildah.js';
import { checkOut } from './checkout.js';
import { type Base, HOST_BASE_CONTEXT, PACKAGE_CONTEXT, type Project, recipeFor, TEXTS_READ } from './recipe.js';

/** What a made root consists of: folders of the host over a skeleton that they are mounted on. */
export interface HostBase {
  skeleton: string;
  binds: { source: string; target: string }[];
}

export interface BuilderOptions {
  /** Its own folder; what it makes half-way and what it remembers of steps lies there. */
  folder: string;
  /** Where the log of the build with this id is written. */
  logOf(id: string): string;
  /** Cgroup in which steps run, and what they may use together. */
  cgroup: string;
  size: Size;
  cores: Pick<ExclusiveCores, 'set' | 'leave'>;
  /** An image that recipes start from; null: the host's own root. */
  base: string | null;
  /** What else an image depends on: hosts of another one cannot take it. */
  platform: string;
  hostBase(): Promise<HostBase>;
  /** Shoal's own folder: of it comes what serves projects of files alone. */
  ownPackage: string;
  /** What is remembered of steps is forgotten beyond it. */
  cacheBytesMax: number;
  log: Logger;
}

/** One build that was asked for. */
interface Asked {
  source: BuildSource;
  log: string;
  onStep(step: string): void;
  signal: AbortSignal;
}

const DU_MS_MAX = 60_000;
const TEXT_BYTES_MAX = 1024 * 1024;

/** Builds one image after the other, each from a source at a revision, in a cgroup with limits. */
export class Builder {
  readonly #options: BuilderOptions;
  readonly #ended = new AbortController();
  #last: Promise<unknown> = Promise.resolve();
  /** Builds under way, and those that wait for them. */
  #count = 0;

  constructor(options: BuilderOptions) {
    this.#options = options;
  }

  get #work(): string {
    return join(this.#options.folder, 'work');
  }
  get #cache(): string {
    return join(this.#options.folder, 'cache');
  }
  /** There while a build runs. Found at the start, it says that the cache may be damaged. */
  get #busy(): string {
    return join(this.#options.folder, 'busy');
  }

  /** Removes what an earlier agent was in the middle of. */
  async open(): Promise<void> {
    await rm(this.#work, { recursive: true, force: true });
    await mkdir(this.#work, { recursive: true, mode: 0o700 });
    if (await exists(this.#busy)) await this.#forgetSteps();
    await rm(this.#busy, { force: true });
  }

  close(): void {
    this.#ended.abort(new ShoalError('SHOAL_E_CANCELLED', 'the agent ends'));
  }

  /** Names what is built: the same for the same source, revision, base and platform on every host. */
  idOf({ build, path = '', revision = '' }: BuildSource): string {
    const named = JSON.stringify([build, path, revision, this.#options.base, this.#options.platform]);
    return createHash('sha256').update(named).digest('hex').slice(0, 16);
  }

  /**
   * Builds the source, at a revision that is given, and hands the image on to the store. When the signal aborts, it rejects
   * with its reason once nothing of the build is left.
   */
  bring(source: BuildSource, onStep: (step: string) => void, given: AbortSignal): Bring {
    return ({ fetch }) => {
      const log = this.#options.logOf(this.idOf(source));
      const signal = AbortSignal.any([given, this.#ended.signal]);
      const before = this.#last;
      const building = this.#inTurn(before, { source, log, onStep, signal }, fetch);
      this.#last = Promise.allSettled([before, building]);
      return building;
    };
  }

  async #inTurn(before: Promise<unknown>, asked: Asked, fetch: Ways['fetch']): ReturnType<Bring> {
    const { log, onStep, signal } = asked;
    if (this.#count > 0) onStep(`wait for ${this.#count} other builds of this host`);
    this.#count += 1;
    try {
      await makeLog(log);
      await unlessAborted(before, signal);
      return await this.#build(asked, fetch);
    } catch (error) {
      const { code, message } = toShoalError(error);
      const how = code === 'SHOAL_E_CANCELLED' ? 'cancelled' : 'failed';
      // Also in the log, whose reader looks for the end of it there.
      await writeFile(log, `${new Date().toISOString()} stderr ${how}: ${message}\n`, { flag: 'a' });
      throw error;
    } finally {
      this.#count -= 1;
    }
  }

  async #build({ source, log, onStep, signal }: Asked, fetch: Ways['fetch']): ReturnType<Bring> {
    const { cgroup: cgroupPath, size, cores } = this.#options;
    const { revision } = source;
    if (revision === undefined) throw new ShoalError('SHOAL_E_INTERNAL', 'a build without a revision');
    const work = join(this.#work, randomUUID());
    const cgroup = new Cgroup(cgroupPath);
    try {
      for (const each of ['source', 'tmp', 'layout']) await mkdir(join(work, each), { recursive: true, mode: 0o755 });
      await chmod(join(work, 'tmp'), 0o1777);
      await mkdir(this.#cache, { recursive: true, mode: 0o700 });
      onStep('fetch');
      const context = await checkOut(source, revision, join(work, 'source'), signal);
      onStep('detect');
      const base: Base =
        this.#options.base === null ? { kind: 'host' } : { kind: 'image', reference: this.#options.base };
      const recipe = recipeFor(await projectIn(context), base);
      const file = recipe.file === undefined ? join(work, 'Containerfile') : join(context, recipe.file);
      if (recipe.text !== undefined) await writeFile(file, recipe.text);
      const onHost = recipe.text !== undefined && base.kind === 'host';
      const host = onHost ? await this.#options.hostBase() : { skeleton: '', binds: [] };
      await cgroup.create();
      await cgroup.limit(size);
      await cores.set(cgroup, null);
      await writeFile(this.#busy, '');
      await runBuildah(
        {
          context,
          file,
          cache: this.#cache,
          binds: host.binds,
          contexts: onHost ? { [HOST_BASE_CONTEXT]: host.skeleton } : { [PACKAGE_CONTEXT]: this.#options.ownPackage },
          scratch: join(work, 'tmp'),
          layout: join(work, 'layout'),
          log,
          cgroupProcs: join(cgroupPath, 'cgroup.procs'),
          onStep,
        },
        signal,
      );
      onStep('store');
      return await fetch(`oci:${join(work, 'layout')}:image`);
    } finally {
      await cgroup.remove();
      await cores.leave(cgroupPath);
      await rm(work, { recursive: true, force: true });
      // Killed in the middle of a step, buildah may have left it damaged.
      await (signal.aborted ? this.#forgetSteps() : this.#boundSteps());
      await rm(this.#busy, { force: true });
    }
  }

  async #boundSteps(): Promise<void> {
    const [bytes = ''] = (await runTool('du', ['-sb', this.#cache], DU_MS_MAX, 'SHOAL_E_HOST')).split('\t');
    if (Number(bytes) > this.#options.cacheBytesMax) await this.#forgetSteps();
  }

  async #forgetSteps(): Promise<void> {
    this.#options.log.info({ folder: this.#cache }, 'what is remembered of the steps of builds is removed');
    await rm(this.#cache, { recursive: true, force: true });
  }
}

/** Waits for the promise; rejects with the signal's reason as soon as it aborts. */
async function unlessAborted(promise: Promise<unknown>, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted();
  let stop: () => void = () => undefined;
  const aborted = new Promise<never>((_, reject) => {
    stop = () => reject(signal.reason as Error);
    signal.addEventListener('abort', stop, { once: true });
  });
  try {
    await Promise.race([promise, aborted]);
  } finally {
    signal.removeEventListener('abort', stop);
  }
}

async function makeLog(path: string): Promise<void> {
  const folder = join(path, '..');
  await mkdir(folder, { recursive: true, mode: 0o700 });
  await writeFile(path, '', { mode: 0o600 });
  const all = join(folder, '..');
  const names = await readdir(all);
  if (names.length <= LIMITS.buildsKeptMax) return;
  const ages = await Promise.all(names.map(async (name) => ({ name, ms: (await stat(join(all, name))).mtimeMs })));
  ages.sort((a, b) => a.ms - b.ms);
  for (const { name } of ages.slice(0, names.length - LIMITS.buildsKeptMax)) {
    await rm(join(all, name), { recursive: true, force: true });
  }
}

async function projectIn(folder: string): Promise<Project> {
  const entries = await readdir(folder, { withFileTypes: true });
  // A link is no file of the project: it might lead out of it.
  const names = new Set(entries.filter((entry) => entry.isFile()).map(({ name }) => name));
  const folders = new Set(entries.filter((entry) => entry.isDirectory()).map(({ name }) => name));
  const texts: Record<string, string> = {};
  for (const name of TEXTS_READ.filter((each) => names.has(each))) {
    const content = await readFile(join(folder, name));
    if (content.length > TEXT_BYTES_MAX) throw new ShoalError('SHOAL_E_START', `step detect: ${name} is too long`);
    texts[name] = content.toString('utf8');
  }
  return { names, folders, texts };
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}
