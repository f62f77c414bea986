import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { lstat, mkdir, readlink, rm, symlink, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { CONTROL_SOCKET, PEERS_FOLDER, SECRETS_FOLDER } from '../protocol/control.js';
import { ShoalError } from '../protocol/errors.js';
import { buildReference, type ImageFigures } from '../protocol/link.js';
import type { BuildSource, Component } from '../protocol/manifest.js';
import { Builder, type BuilderOptions, type HostBase } from './builds/builder.js';
import { builtElsewhere } from './builds/built-elsewhere.js';
import { resolveRevision } from './builds/checkout.js';
import { isErrno } from './cgroup.js';
import type { Digest } from './image-store/oci.js';
import { type Bring, type Image, ImageStore, type StoreOptions } from './image-store/store.js';
import { mountReadOnly } from './overlay.js';
import type { Paths } from './paths.js';
import type { Sources } from './sources.js';

/** Told, for people, where the layers of an image came from. */
export type Told = (text: string) => void;

interface Building {
  onStep(step: string): void;
  /** Ends it. */
  signal: AbortSignal;
}

/** What an instance of a component sees as its file system. */
export interface Rootfs {
  path: string;
  binds: { source: string; target: string }[];
  workingFolder: string;
  /** Of an image: what holds where the manifest says nothing. */
  command?: string[];
  env?: Record<string, string>;
  stopSignal?: number;
}

/** Folders that the bundle mounts something on; they must be there, since an instance's root is read-only. */
const MOUNT_POINTS = ['proc', 'dev', 'tmp', 'app', dirname(CONTROL_SOCKET), PEERS_FOLDER, SECRETS_FOLDER];
/** Of the host's system folders these go into `rootfs: host`; those that are links there become links here. */
const SYSTEM_FOLDERS = ['bin', 'sbin', 'lib', 'lib32', 'lib64', 'usr'];
/** Of the host's /etc: what programs need to run and to make TLS connections, and nothing that is this host's own. */
const ETC = ['ssl', 'ld.so.cache', 'ld.so.conf', 'ld.so.conf.d', 'localtime', 'mime.types', 'alternatives'];
const ETC_FILES: Record<string, string> = {
  passwd: 'root:x:0:0:root:/tmp:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n',
  group: 'root:x:0:\nnogroup:x:65534:\n',
  hosts: '127.0.0.1 localhost\n::1 localhost\n',
  'nsswitch.conf': 'passwd: files\ngroup: files\nhosts: files dns\n',
};
const NODE_INSIDE = '/opt/shoal/bin/node';
const MODULES_INSIDE = '/node_modules';

/** Makes the root file systems of components; instances share them, read-only. */
export class RootfsMaker {
  readonly #paths: Paths;
  readonly #sources: Sources;
  readonly #images: ImageStore;
  readonly #builder: Builder;
  readonly #seeds: StoreOptions['seeds'];
  readonly #counts: StoreOptions['counts'];
  readonly #mounted = new Map<string, Promise<string>>();
  /** By id of the build, those that may be cancelled. */
  readonly #builds = new Map<string, AbortController>();
  #host: Promise<string> | undefined;

  constructor(
    paths: Paths,
    sources: Sources,
    images: Omit<StoreOptions, 'mounts' | 'mountPoints' | 'hostSkeleton'>,
    builder: Omit<BuilderOptions, 'hostBase' | 'ownPackage'>,
  ) {
    this.#paths = paths;
    this.#sources = sources;
    this.#seeds = images.seeds;
    this.#counts = images.counts;
    this.#images = new ImageStore({
      ...images,
      mounts: paths.rootfs,
      mountPoints: () => this.#makeMountPoints(),
      hostSkeleton: () => this.#skeleton(),
    });
    this.#builder = new Builder({ ...builder, hostBase: () => this.#hostBase(), ownPackage: packageRoot() });
  }

  async open(): Promise<void> {
    await this.#images.open();
    await this.#builder.open();
  }

  /** Where blobs came from and went; another object when something is new. */
  get imageFigures(): ImageFigures {
    return this.#counts.figures;
  }

  /** Ends a build under way. */
  close(): void {
    this.#builder.close();
  }

  /**
   * Has the image of the source at its revision: from the store, from a host that has built it, or by building it. Answers its
   * digest. Throws SHOAL_E_START with the step that failed, SHOAL_E_CANCELLED when it was cancelled.
   */
  async prepare(source: BuildSource, onStep: (step: string) => void, told: Told): Promise<Digest> {
    const id = this.buildId(source);
    const holder = `build ${id}`;
    const build = this.#builds.get(id) ?? new AbortController();
    this.#builds.set(id, build);
    try {
      const { digest } = await this.#built(source, holder, told, { onStep, signal: build.signal });
      return digest;
    } finally {
      if (this.#builds.get(id) === build) this.#builds.delete(id);
      this.#images.release(holder);
    }
  }

  /** Ends what prepare() does for the build of this id, if anything. */
  cancelBuild(id: string): void {
    this.#builds.get(id)?.abort(new ShoalError('SHOAL_E_CANCELLED', 'it is no longer wanted'));
  }

  buildId(source: BuildSource): string {
    return this.#builder.idOf(source);
  }

  #built(
    source: BuildSource,
    holder: string,
    told: Told,
    { onStep, signal }: Building = { onStep: () => undefined, signal: new AbortController().signal },
  ): Promise<Image> {
    const reference = this.#buildReference(source);
    const build = this.#builder.bring(source, onStep, signal);
    const seeds = this.#seeds;
    const bring: Bring = async (ways) => {
      if (seeds === undefined) return build(ways);
      const ask = () => seeds.hostsWith(reference);
      // Rejected by nothing but the signal, whose reason says more.
      const sleep = (ms: number) => setTimeout(ms, undefined, { signal }).catch(() => signal.throwIfAborted());
      return (await builtElsewhere({ ask, take: ways.take, onStep, sleep })) ?? build(ways);
    };
    const { revision = '' } = source;
    const name = `revision ${revision.slice(0, 12)}`;
    return this.#images.get(reference, holder, { bring, told: (text) => told(`${name}: ${text}`) });
  }

  #buildReference(source: BuildSource): string {
    return buildReference(this.buildId(source));
  }

  /** What the instance's root is made of stays until it is released. */
  hold({ source }: Component, instance: string): void {
    if (source.kind === 'image') this.#images.hold(source.image, instance);
    if (source.kind === 'build') this.#images.hold(this.#buildReference(source), instance);
  }

  release(instance: string): void {
    this.#images.release(instance);
  }

  /** Removes images for which there is no more room, once all instances are known. */
  collect(): Promise<void> {
    return this.#images.collect();
  }

  /** Throws SHOAL_E_START or SHOAL_E_HOST with what is wrong when the component's source cannot be had. */
  async make(component: Component, instance: string, told: Told): Promise<Rootfs> {
    const { source } = component;
    if (source.kind === 'image') {
      const getting = { told: (text: string) => told(`image ${source.image}: ${text}`) };
      return this.#rootOf(await this.#images.get(source.image, instance, getting));
    }
    if (source.kind === 'build') {
      // Without a coordinator that says which: what there is now.
      const { revision = await resolveRevision(source) } = source;
      return this.#rootOf(await this.#built({ ...source, revision }, instance, told));
    }
    const folder = source.directory === undefined ? undefined : await this.#folder(source.directory);
    const app = folder === undefined ? [] : [{ source: folder, target: '/app' }];
    const workingFolder = folder === undefined ? '/' : '/app';
    if (source.rootfs === 'host') {
      return { path: await this.#skeleton(), binds: [...(await this.#hostBinds()), ...app], workingFolder };
    }
    return { path: await this.#given(await this.#folder(source.rootfs)), binds: app, workingFolder };
  }

  async #rootOf({ rootfs, onHost, digest: _, ...rest }: Image): Promise<Rootfs> {
    return { path: rootfs, binds: onHost ? await this.#hostBinds() : [], ...rest };
  }

  async #hostBase(): Promise<HostBase> {
    return { skeleton: await this.#skeleton(), binds: await this.#hostBinds() };
  }

  #skeleton(): Promise<string> {
    this.#host ??= this.#makeHost();
    return this.#host;
  }

  /** A folder that somebody has given as a root, with the mount points added. */
  #given(folder: string): Promise<string> {
    const known = this.#mounted.get(folder);
    if (known !== undefined) return known;
    const target = join(this.#paths.rootfs, createHash('sha256').update(folder).digest('hex').slice(0, 16));
    const mounting = this.#makeMountPoints()
      .then((mountPoints) => mountReadOnly([folder, mountPoints], target))
      .then(() => target);
    this.#mounted.set(folder, mounting);
    // A failed mount is tried again the next time; this caller gets the error from `mounting` itself.
    mounting.catch(() => this.#mounted.delete(folder));
    return mounting;
  }

  async #makeMountPoints(): Promise<string> {
    const folder = join(this.#paths.rootfs, 'mount-points');
    await makeMountPoints(folder);
    return folder;
  }

  async #folder(path: string): Promise<string> {
    const reachable = await this.#sources.reachable(path);
    if (!(await lstat(reachable)).isDirectory()) throw new ShoalError('SHOAL_E_START', `${path} is not a folder`);
    return reachable;
  }

  /** The skeleton that the host's folders are bound into. */
  async #makeHost(): Promise<string> {
    const root = join(this.#paths.rootfs, 'host');
    await makeMountPoints(root);
    for (const name of SYSTEM_FOLDERS) {
      const kind = await kindOf(join('/', name));
      if (kind === 'folder') await mkdir(join(root, name), { recursive: true });
      if (kind !== 'link') continue;
      await rm(join(root, name), { recursive: true, force: true });
      await symlink(await readlink(join('/', name)), join(root, name));
    }
    await mkdir(join(root, 'etc'), { recursive: true });
    for (const [name, content] of Object.entries(ETC_FILES)) await writeFile(join(root, 'etc', name), content);
    for (const name of ETC) {
      const kind = await kindOf(join('/etc', name));
      if (kind === 'folder') await mkdir(join(root, 'etc', name), { recursive: true });
      else if (kind !== 'none') await writeFile(join(root, 'etc', name), '');
    }
    await mkdir(join(root, MODULES_INSIDE, ...(sharedModules() === null ? ['shoal'] : [])), { recursive: true });
    await mkdir(join(root, dirname(NODE_INSIDE)), { recursive: true });
    await writeFile(join(root, NODE_INSIDE), '');
    return root;
  }

  async #bind(source: string, target: string): Promise<{ source: string; target: string }> {
    return { source: await this.#sources.reachable(source), target };
  }

  async #hostBinds(): Promise<Rootfs['binds']> {
    const system = SYSTEM_FOLDERS.map(async (name) => {
      const path = join('/', name);
      return (await kindOf(path)) === 'folder' ? { source: path, target: path } : null;
    });
    const etc = ETC.map(async (name) => {
      const path = join('/etc', name);
      return (await kindOf(path)) === 'none' ? null : this.#bind(path, path);
    });
    const modules = sharedModules();
    const shoal = this.#bind(
      modules ?? packageRoot(),
      modules === null ? join(MODULES_INSIDE, 'shoal') : MODULES_INSIDE,
    );
    const found = await Promise.all([...system, ...etc, shoal, this.#bind(process.execPath, NODE_INSIDE)]);
    return found.filter((bind) => bind !== null);
  }
}

async function makeMountPoints(root: string): Promise<void> {
  for (const folder of MOUNT_POINTS) await mkdir(join(root, folder), { recursive: true });
}

/** The folder of Shoal's package.json. */
function packageRoot(): string {
  for (let folder = dirname(fileURLToPath(import.meta.url)); folder !== '/'; folder = dirname(folder)) {
    const file = join(folder, 'package.json');
    if (!existsSync(file)) continue;
    const { name } = JSON.parse(readFileSync(file, 'utf8')) as { name?: unknown };
    if (name === 'shoal') return folder;
  }
  throw new ShoalError('SHOAL_E_INTERNAL', 'the package.json of shoal is missing above the agent');
}

/** Where Shoal was installed beside its dependencies, the folder of all of them; null in a checkout. */
function sharedModules(): string | null {
  const parent = dirname(packageRoot());
  return basename(parent) === 'node_modules' ? parent : null;
}

async function kindOf(path: string): Promise<'none' | 'folder' | 'link' | 'file'> {
  try {
    const info = await lstat(path);
    return info.isSymbolicLink() ? 'link' : info.isDirectory() ? 'folder' : 'file';
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return 'none';
    throw error;
  }
}
