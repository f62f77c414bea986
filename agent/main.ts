import { randomUUID } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { type Logger, pino } from 'pino';
import { Identity } from '../identity/identity.js';
import { native } from '../native/index.js';
import { ShoalError, toShoalError } from '../protocol/errors.js';
import { assertLabel, readLabels } from '../protocol/labels.js';
import { LIMITS } from '../protocol/limits.js';
import { Agent } from './agent.js';
import { Cgroup, coresBelow, memoryProbeProblem, prepareCgroupRoot, removeUnused } from './cgroup.js';
import { isLocal, parseAddress } from './coordinators.js';
import { dialHost } from './dial-host.js';
import { ExclusiveCores } from './exclusive-cores.js';
import { Fence } from './fence.js';
import { allowsUserNamespace, bootId, describeHost, findCrun, platform } from './host.js';
import { assertHostAddress } from './host-listener.js';
import { BlobServer } from './image-store/blob-server.js';
import { ImageCounts } from './image-store/counts.js';
import { StoreDisk } from './image-store/disk.js';
import type { SeedSource } from './image-store/seeds.js';
import { isIsolated, mountedAt, runIsolated } from './isolate.js';
import { SingletonLease } from './lease.js';
import { Link } from './link.js';
import { MemoryProber } from './memory-prober.js';
import { Paths } from './paths.js';
import { readHertz, startProfilers } from './profilers.js';
import { RootfsMaker } from './rootfs.js';
import { closedFolder, Sources } from './sources.js';

const CGROUP_MOUNT = '/sys/fs/cgroup';
const BUILD_MEMORY_MIN = 1024 ** 3;

const USAGE = `usage: shoal-agent [--socket PATH]… [--run DIR] [--name NAME] [--label KEY=VALUE]… [--taint NAME]…
                   [--images DIR] [--images-bytes N] [--images-upload N] [--build-base REF] [--stop-instances] [--profile-hertz N]
                   [--profiles DIR] [--snapshots DIR] [--snapshots-bytes N] [--system-calls] [--probe-memory] [--fabric ADDRESS:PORT] [--fabric-plain]
  --socket PATH     where a coordinator takes agents: a Unix socket (default /run/shoal/coordinator.sock) or HOST:PORT;
                    may be given again for coordinators of other hosts, which are tried in turns
  --identity DIR    certificate to show to coordinators of other hosts, by \`shoal cert agent\`
  --run DIR         state folder, on a file system that a restart of the agent survives (default /run/shoal)
  --name NAME       name of this host (default its hostname)
  --label KEY=VALUE a label of this host for the rules of manifests, such as zone=rack-3; may be given again
  --taint NAME      keeps instances away whose component does not tolerate it; may be given again
  --images DIR      image store, on a disk that has room (default images in the state folder)
  --images-bytes N  images that nobody uses are removed when the store is bigger (default ${LIMITS.imageStoreBytesMax})
  --images-upload N  bytes in a second that other hosts are given of images, all together (default ${LIMITS.imageUploadBytesDefault})
  --build-base REF  image below the builds of projects without a Containerfile (default: this host's own root)
  --stop-instances  end all instances when the agent is told to stop; otherwise they go on
  --profile-hertz N how often in a second of CPU time a stack is taken (default ${LIMITS.profileHertzDefault}; 0: never)
  --profiles DIR    where profiles are kept (default profiles in the state folder)
  --snapshots DIR   where snapshots of state are kept, on a disk that outlives the host's memory (default snapshots in the
                    state folder)
  --snapshots-bytes N  what they may take together (default ${LIMITS.stateSnapshotsBytesMax})
  --system-calls    count system calls and their time too: on this host each then takes some 0.2 µs longer, of instances 0.4 µs
  --probe-memory    find out how little memory instances can live in, by taking back what they do not miss: a little each
                    6 s until somebody waits for it
  --fabric ADDRESS:PORT  where agents of other hosts reach this one, for calls between hosts: an IP address of this host
                    and two ports, that one and the next (default 127.0.0.1:0, any: only from this machine)
  --fabric-plain    only hosts of this cluster can reach that address: calls between this host and others that say the
                    same are not encrypted, and may go by RDMA, which nothing here encrypts`;

interface Options {
  coordinators: string[];
  identity: Identity | null;
  run: string;
  name: string;
  labels: Record<string, string>;
  taints: string[];
  images: string;
  imagesBytes: number;
  imagesUpload: number;
  /** Null: the host's own root. */
  buildBase: string | null;
  stopInstances: boolean;
  profileHertz: number;
  systemCalls: boolean;
  probeMemory: boolean;
  profiles: string;
  snapshots: { folder: string; bytesMax: number };
  fabric: { address: string; port: number; plain: boolean };
}

function readOptions(words: string[]): Options | null {
  try {
    const { values } = parseArgs({
      args: words,
      options: {
        socket: { type: 'string', multiple: true, default: ['/run/shoal/coordinator.sock'] },
        identity: { type: 'string' },
        run: { type: 'string', default: '/run/shoal' },
        name: { type: 'string', default: hostname() },
        label: { type: 'string', multiple: true, default: [] },
        taint: { type: 'string', multiple: true, default: [] },
        images: { type: 'string' },
        'images-bytes': { type: 'string', default: String(LIMITS.imageStoreBytesMax) },
        'images-upload': { type: 'string', default: String(LIMITS.imageUploadBytesDefault) },
        'build-base': { type: 'string' },
        'stop-instances': { type: 'boolean', default: false },
        'profile-hertz': { type: 'string', default: String(LIMITS.profileHertzDefault) },
        profiles: { type: 'string' },
        snapshots: { type: 'string' },
        'snapshots-bytes': { type: 'string', default: String(LIMITS.stateSnapshotsBytesMax) },
        fabric: { type: 'string', default: '127.0.0.1:0' },
        'fabric-plain': { type: 'boolean', default: false },
        'system-calls': { type: 'boolean', default: false },
        'probe-memory': { type: 'boolean', default: false },
        help: { type: 'boolean', default: false },
      },
    });
    if (values.help) return null;
    const { images = join(values.run, 'images') } = values;
    const imagesBytes = Number(values['images-bytes']);
    if (!Number.isSafeInteger(imagesBytes) || imagesBytes < 1) {
      throw new Error(`--images-bytes must be a whole number of bytes, not ${values['images-bytes']}`);
    }
    const imagesUpload = Number(values['images-upload']);
    if (!Number.isSafeInteger(imagesUpload) || imagesUpload < LIMITS.imageUploadBytesMin) {
      const least = `at least ${LIMITS.imageUploadBytesMin}, with less those who fetch would give this host up`;
      throw new Error(
        `--images-upload must be a whole number of bytes in a second, ${least}; not ${values['images-upload']}`,
      );
    }
    for (const [name, path] of [
      ['--run', values.run],
      ['--images', images],
      ['--profiles', values.profiles ?? '/'],
      ['--snapshots', values.snapshots ?? '/'],
    ] as const) {
      if (!path.startsWith('/')) throw new Error(`${name} must be an absolute path, not ${path}`);
    }
    for (const each of values.socket.filter((address) => !isLocal(parseAddress(address)))) {
      if (values.identity === undefined) throw new Error(`${each} is on another host: give an --identity`);
    }
    const identity = values.identity === undefined ? null : new Identity(values.identity);
    const { socket: coordinators, run, name, taint: taints, 'stop-instances': stopInstances } = values;
    for (const taint of taints) assertLabel('--taint', taint);
    const { profiles = join(run, 'profiles'), 'profile-hertz': hertz } = values;
    const [labels, profileHertz] = [readLabels(values.label), readHertz(hertz)];
    const measured = {
      profileHertz,
      profiles,
      systemCalls: values['system-calls'],
      probeMemory: values['probe-memory'],
    };
    const where = { coordinators, identity, run, name, labels, taints };
    const snapshotsBytes = Number(values['snapshots-bytes']);
    if (!Number.isSafeInteger(snapshotsBytes) || snapshotsBytes < 1) {
      throw new Error(`--snapshots-bytes must be a whole number of bytes, not ${values['snapshots-bytes']}`);
    }
    const snapshots = { folder: values.snapshots ?? join(run, 'snapshots'), bytesMax: snapshotsBytes };
    const buildBase = readBase(values['build-base']);
    const fabric = { ...readFabric(values.fabric), plain: values['fabric-plain'] };
    assertHostAddress(fabric.address, { identified: identity !== null, plain: fabric.plain });
    return { ...where, ...measured, snapshots, images, imagesBytes, imagesUpload, buildBase, stopInstances, fabric };
  } catch (error) {
    throw new ShoalError('SHOAL_E_USAGE', `${(error as Error).message}\n${USAGE}`);
  }
}

/** It becomes a line of a Containerfile. */
function readBase(reference: string | undefined): string | null {
  if (reference === undefined) return null;
  if (/^[A-Za-z0-9][A-Za-z0-9._:/@-]*$/.test(reference)) return reference;
  throw new Error(`--build-base must be the reference of an image, not ${reference}`);
}

function readFabric(text: string): { address: string; port: number } {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([0-9.]+)):([0-9]{1,5})$/.exec(text);
  const address = match?.[1] ?? match?.[2];
  const port = Number(match?.[3]);
  // The relay listens on the next one.
  if (address !== undefined && port <= 65_534) return { address, port };
  throw new Error(`--fabric must be ADDRESS:PORT, an IP address and a port up to 65534, not ${text}`);
}

async function run(options: Options, log: Logger): Promise<void> {
  const stopped = new Promise<void>((resolve) => {
    // More than once: a terminal's Ctrl-C reaches this process by itself and again by the one around its namespace.
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => resolve());
  });
  const paths = new Paths(options.run, CGROUP_MOUNT);
  mkdirSync(options.run, { recursive: true, mode: 0o711 });
  const closed = await closedFolder(options.run);
  if (closed !== null) {
    const remedy = `chmod o+x ${closed}, or choose another --run`;
    throw new ShoalError('SHOAL_E_HOST', `unprivileged instances cannot reach ${options.run}: ${remedy}`);
  }
  holdLock(paths);
  // A hybrid host has cgroup v1 there; in this mount namespace crun and we see version 2 instead.
  if (mountedAt(CGROUP_MOUNT) !== 'cgroup2') native.mountCgroup2(CGROUP_MOUNT);
  const controllers = await prepareCgroupRoot(CGROUP_MOUNT, paths.cgroupRoot);
  await new Cgroup(paths.shimsCgroup).create();
  const cores = new ExclusiveCores(await coresBelow(paths.cgroupRoot, controllers));
  const devicesProblem = confineDevices(paths.cgroupRoot);
  const userNamespace = await allowsUserNamespace();
  const clock = () => Date.now();
  const { profileHertz: hertz, profiles: folder, systemCalls } = options;
  const profilers = startProfilers({ native, hertz, systemCalls, folder, clock, log });
  const memoryProblem = options.probeMemory ? await memoryProbeProblem(paths.cgroupRoot) : null;
  const features = { ...profilers, controllers, devicesProblem, userNamespace, memoryProblem, ownCores: cores.most };
  const boot = await bootId();
  const host = { ...describeHost(options.name, features), labels: options.labels, taints: options.taints, boot };
  for (const each of host.degraded) log.warn({ remedy: each.remedy }, each.what);

  let link: Link | undefined;
  const seeds: SeedSource = {
    hostsWith: async (image) => link?.hostsWith(image) ?? { hosts: [] },
    dial: ({ host: other, address }) => dialHost(address, other, options.identity),
  };
  const counts = new ImageCounts();
  const images = { folder: options.images, bytesMax: options.imagesBytes, clock, log, native, seeds, counts };
  const builder = {
    folder: join(options.images, 'builds'),
    logOf: (id: string) => paths.buildLog(id),
    cgroup: paths.buildCgroup,
    cores,
    // Half the host: what serves goes first.
    size: { cpu: Math.max(1, host.cores / 2), memory: Math.max(BUILD_MEMORY_MIN, host.memoryBytes / 2) },
    base: options.buildBase,
    // An image that is built upon brings all but the processor.
    platform: options.buildBase === null ? await platform() : process.arch,
    cacheBytesMax: options.imagesBytes / 4,
    log,
  };
  const sources = new Sources(join(paths.sources, randomUUID()), native);
  const rootfs = new RootfsMaker(paths, sources, images, builder);
  await rootfs.open();
  const perfMap = profilers.recorder !== null;
  const lease = await SingletonLease.open(paths.lease, () => native.bootMs());
  const parts = {
    shim: native.shimPath(),
    crun: findCrun(),
    lease,
    host: { name: options.name, boot },
  };
  const blobs = new BlobServer({
    disk: new StoreDisk(options.images),
    bytesPerSecond: options.imagesUpload,
    counts,
    log,
  });
  const giveBlob: BlobServer['give'] = (...wanted) => blobs.give(...wanted);
  const fabric = { ...options.fabric, host: options.name, identity: options.identity, giveBlob };
  const agent = new Agent(
    { userNamespace, perfMap, paths, rootfs, native, clock, log, cores, snapshots: options.snapshots, ...parts },
    profilers,
    fabric,
  );
  await agent.open();
  const prober = new MemoryProber(() => agent.cgroups(), log);
  if (options.probeMemory && memoryProblem === null) prober.start();
  link = new Link({
    coordinators: options.coordinators,
    identity: options.identity,
    host: { ...host, ...(agent.fabricAddress === undefined ? {} : { fabric: agent.fabricAddress }) },
    agent,
    fence: await Fence.open(paths.term),
    log,
  });
  link.start();
  native.sdNotify('READY=1');
  const watchdog = setInterval(() => native.sdNotify('WATCHDOG=1'), 1_000);
  log.info({ run: options.run, controllers }, 'the agent is up');

  await stopped;
  native.sdNotify('STOPPING=1');
  clearInterval(watchdog);
  link.close();
  await prober.close();
  if (options.stopInstances) await agent.stopInstances();
  await agent.close();
  await removeUnused(paths.cgroupRoot);
  await removeUnused(paths.shimsCgroup);
}

/** One agent for each state folder. */
function holdLock(paths: Paths): void {
  try {
    native.acquireLock(paths.lock);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EWOULDBLOCK' && (error as NodeJS.ErrnoException).code !== 'EAGAIN')
      throw error;
    throw new ShoalError(
      'SHOAL_E_CONFLICT',
      `another agent runs on ${paths.run}: stop it, or give this one its own --run`,
    );
  }
}

/** A second wall: without it an instance still has no capability to make devices and none in its root. */
function confineDevices(cgroupRoot: string): string | null {
  try {
    native.confineDevices(cgroupRoot);
    return null;
  } catch (error) {
    return (error as Error).message;
  }
}

async function main(): Promise<number> {
  // Written at once: at the exit of the process nothing waits for a reader of stderr that may be gone.
  const log = pino(
    { name: 'agent', level: process.env.SHOAL_LOG ?? 'info' },
    pino.destination({ dest: 2, sync: true }),
  );
  try {
    const words = process.argv.slice(2);
    const options = readOptions(words);
    if (options === null) {
      process.stdout.write(`${USAGE}\n`);
      return 0;
    }
    if (process.geteuid?.() !== 0)
      throw new ShoalError('SHOAL_E_HOST', 'the agent must run as root: it makes containers');
    if (!isIsolated()) return await runIsolated(fileURLToPath(import.meta.url), words);
    await run(options, log);
    return 0;
  } catch (error) {
    const { code, message, exitCode } = toShoalError(error);
    log.fatal({ err: error, code }, message);
    return exitCode;
  }
}

process.exit(await main());
