import { chown, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { native } from '../native/index.js';
import {
  FABRIC_OWN_SOCKET,
  FABRIC_SOCKET,
  SECRETS_FOLDER,
  STATE_VARIABLE,
  type StateSettings,
} from '../protocol/control.js';
import { ShoalError } from '../protocol/errors.js';
import { LIMITS } from '../protocol/limits.js';
import type { Size } from '../protocol/link.js';
import { type Component, partitionOf } from '../protocol/manifest.js';
import { readJson } from './atomic-file.js';
import { bundleConfig, openFilesMax } from './bundle.js';
import { Cgroup, isErrno } from './cgroup.js';
import type { ExclusiveCores } from './exclusive-cores.js';
import { disksOf, ioMaxLines } from './io-limits.js';
import type { InstancePaths, Paths } from './paths.js';
import { withPerfMap } from './perf-map.js';
import { bodyOf, type InstanceRecord, idsOfSlot } from './record.js';
import type { RootfsMaker } from './rootfs.js';
import type { SecretFiles } from './secret-files.js';
import { startingSize } from './sizing.js';

export interface LaunchTools {
  paths: Paths;
  rootfs: RootfsMaker;
  secrets: Pick<SecretFiles, 'make' | 'remove'>;
  shim: string;
  crun: string;
  /** Whether this host allows user namespaces. */
  userNamespace: boolean;
  /** Whether Node.js inside shall tell the names of its functions, for profiles. */
  perfMap: boolean;
  cores: ExclusiveCores;
  /** What was fetched of an instance's image, and from where. */
  imageCame(record: InstanceRecord, text: string): void;
  /** The cgroup of an instance is there; nothing runs in it yet. */
  cgroupMade(path: string, owner: { app: string; component: string }): void;
}

/** How a container ended, as exit.json of its shim says. */
export interface Exit {
  code: number | null;
  signal: number | null;
  reason: string;
}

/**
 * Makes folders, bundle and cgroup and starts the shim. Answers its pid. `kept`: what has to be there before anything runs, and
 * comes about meanwhile; when it rejects, so does this.
 */
export async function launch(tools: LaunchTools, record: InstanceRecord, kept: Promise<unknown>): Promise<number> {
  const { paths } = tools;
  const body = bodyOf(record);
  const here = paths.instance(body);
  const ids = idsOfSlot(paths.run, record.slot);
  const peersFolder = paths.peers(record.app, record.component);
  const cgroup = new Cgroup(paths.cgroup(body));
  // File operations of no order among themselves: one after the other they are a good part of a start.
  const [rootfs, secrets, limits] = await allEnded([
    tools.rootfs.make(record.made, body, (text) => tools.imageCame(record, text)),
    tools.secrets.make(body, { app: record.app, secrets: record.made.secrets, owner: ids.base }),
    readFile('/proc/self/limits', 'utf8'),
    makeCgroup(tools, cgroup, record),
    mkdir(peersFolder, { recursive: true, mode: 0o755 }),
    mkdir(here.bundle, { recursive: true, mode: 0o711 }),
    removeStale(here, record),
    kept,
  ]);
  const command = record.made.command.length > 0 ? record.made.command : (rootfs.command ?? []);
  if (command.length === 0) throw new ShoalError('SHOAL_E_START', 'neither the manifest nor the image names a command');
  const env = {
    ...rootfs.env,
    ...record.made.env,
    ...stateEnv(record.made),
    ...(record.warm ? { SHOAL_WARM: '1' } : {}),
  };
  const config = bundleConfig({
    id: record.id,
    app: record.app,
    component: record.component,
    command,
    env: tools.perfMap ? withPerfMap(env) : env,
    ids,
    socketFolder: here.socket,
    peersFolder,
    rootfs: rootfs.path,
    binds: secrets === null ? rootfs.binds : [...rootfs.binds, { source: secrets, target: SECRETS_FOLDER }],
    userNamespace: tools.userNamespace,
    openFiles: openFilesMax(limits),
    workingFolder: rootfs.workingFolder,
  });
  await writeFile(here.config, JSON.stringify(config), { mode: 0o600 });
  tools.cgroupMade(cgroup.path, record);
  const pid = await spawnShim(tools, body, record.made.singleton === true, rootfs.stopSignal);
  await new Cgroup(paths.shimsCgroup).take(pid);
  return pid;
}

async function makeCgroup(tools: LaunchTools, cgroup: Cgroup, { made, size }: InstanceRecord): Promise<void> {
  await cgroup.create();
  await cgroup.limit(startingSize(size));
  await tools.cores.set(cgroup, ownCoresOf(made, size));
  const { io } = made;
  // Where the controller is missing the host says so.
  if (io !== undefined && (await cgroup.hasIo)) await cgroup.limitIo(ioMaxLines(io, await disksOf(io)));
}

/** As Promise.all, but when one fails the others have ended too, so that what they have made can be removed. */
async function allEnded<T extends readonly unknown[]>(
  work: readonly [...T],
): Promise<{ -readonly [K in keyof T]: Awaited<T[K]> }> {
  await Promise.allSettled(work);
  return Promise.all(work);
}

/** What a process before this one has left. */
async function removeStale(here: InstancePaths, record: InstanceRecord): Promise<void> {
  const fabric = [FABRIC_SOCKET, FABRIC_OWN_SOCKET].map((socket) => join(here.socket, basename(socket)));
  const stale = [here.exit, ...fabric, ...portSockets(here.socket, record)];
  await Promise.all(stale.map((path) => rm(path, { force: true })));
}

/** How many cores an instance of that size has for itself; null: it shares those of others. */
export function ownCoresOf({ exclusive }: Component, { cpu }: Size): number | null {
  return exclusive === true ? cpu : null;
}

/** The folder that is bound at /run/shoal, owned by the instance's root user. */
export async function makeSocketFolder(paths: Paths, record: InstanceRecord): Promise<void> {
  const here = paths.instance(bodyOf(record));
  const { base } = idsOfSlot(paths.run, record.slot);
  await mkdir(here.directory, { recursive: true, mode: 0o711 });
  await mkdir(here.socket, { recursive: true, mode: 0o700 });
  await chown(here.socket, base, base);
}

export function portSockets(socketFolder: string, record: InstanceRecord): string[] {
  return record.made.ports.map((port) => join(socketFolder, `${port.name}.sock`));
}

/** What the SDK has to know of the component's state. */
function stateEnv(component: Component): Record<string, string> {
  const settings = settingsOf(component);
  return settings === null ? {} : { [STATE_VARIABLE]: JSON.stringify(settings) };
}

function settingsOf(component: Component): StateSettings | null {
  const { cache } = component;
  if (cache !== undefined) {
    const { valueBytesMax, near } = cache;
    return { mode: 'cache', valueBytesMax, ...(near === undefined ? {} : { near }) };
  }
  const partition = partitionOf(component);
  return partition === null
    ? null
    : { mode: component.state === 'replicated' ? 'replicated' : 'partitioned', ...partition };
}

/** exit.json; null when the shim left none, since it was killed itself. */
export async function readExit(path: string): Promise<Exit | null> {
  const value = (await readJson(path)) as Record<string, unknown> | null;
  if (value === null) return null;
  const number = (key: string) => (typeof value[key] === 'number' ? value[key] : null);
  const reason = [value.reason, value.detail].filter((part) => typeof part === 'string' && part !== '').join(': ');
  return { code: number('code'), signal: number('signal'), reason };
}

/** Pid of the container's first process; undefined before crun has written it. */
export async function readPid(path: string): Promise<number | undefined> {
  try {
    const pid = Number((await readFile(path, 'utf8')).trim());
    return Number.isSafeInteger(pid) && pid > 0 ? pid : undefined;
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return undefined;
    throw error;
  }
}

function spawnShim(
  { paths, shim, crun }: LaunchTools,
  id: string,
  underLease: boolean,
  stopSignal?: number,
): Promise<number> {
  const words = ['--dir', paths.instance(id).directory, '--cgroup', paths.cgroup(id), '--id', id, '--crun', crun];
  words.push('--crun-root', paths.crunRoot, '--log-bytes', String(LIMITS.logFileBytesMax));
  words.push('--log-files', String(LIMITS.logFilesMax));
  if (underLease) words.push('--lease', paths.lease);
  if (stopSignal !== undefined) words.push('--stop-signal', String(stopSignal));
  return native.spawnDetached(shim, words).catch((cause: Error) => {
    throw new ShoalError('SHOAL_E_START', `cannot start ${shim}: ${cause.message}`, { cause });
  });
}
