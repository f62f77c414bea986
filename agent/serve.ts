import { randomUUID } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Logger } from 'pino';
import { native } from '../native/index.js';
import { ShoalError } from '../protocol/errors.js';
import { Agent } from './agent.js';
import { Cgroup, coresBelow, memoryProbeProblem, prepareCgroupRoot, removeUnused } from './cgroup.js';
import { dialHost } from './dial-host.js';
import { ExclusiveCores } from './exclusive-cores.js';
import { Fence } from './fence.js';
import { allowsUserNamespace, bootId, describeHost, findCrun, platform } from './host.js';
import { BlobServer } from './image-store/blob-server.js';
import { ImageCounts } from './image-store/counts.js';
import { StoreDisk } from './image-store/disk.js';
import type { SeedSource } from './image-store/seeds.js';
import { mountedAt } from './isolate.js';
import { SingletonLease } from './lease.js';
import { Link } from './link.js';
import { MemoryProber } from './memory-prober.js';
import type { Options } from './options.js';
import { Paths } from './paths.js';
import { startProfilers } from './profilers.js';
import { RootfsMaker } from './rootfs.js';
import { closedFolder, Sources } from './sources.js';

const CGROUP_MOUNT = '/sys/fs/cgroup';
const BUILD_MEMORY_MIN = 1024 ** 3;

/** Runs the agent until it is told to stop. Throws what keeps it from starting. */
export async function serve(options: Options, log: Logger): Promise<void> {
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
