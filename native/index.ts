import { accessSync, constants, existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ShoalError } from '../protocol/errors.js';
import type {
  Activity,
  ActivityProfilerHandle,
  CpuProfilerHandle,
  CpuTimes,
  NativeHost,
  StackProfilerHandle,
} from './types.js';

export type {
  Activity,
  ActivityDetail,
  ActivityProfilerHandle,
  BlockCounts,
  CarrierSecrets,
  ChannelFds,
  ChannelHandle,
  CpuProfilerHandle,
  CpuTimes,
  DrainedStacks,
  MappedPart,
  NativeHost,
  PacketHandle,
  PidWatch,
  RdmaProbe,
  RelayEvent,
  RelayHandle,
  RelayStats,
  SharedFileHandle,
  StackKind,
  StackProfilerHandle,
  VerbsParameters,
} from './types.js';

/** Of each cgroup the values of all fields, one cgroup after the other. */
interface FiguresTable<T> {
  cgroups: string[];
  fields: (keyof T)[];
  values: Float64Array;
}
type AddonProfiler = Omit<CpuProfilerHandle, 'read'> & { read(): FiguresTable<CpuTimes> };
type AddonActivity = Omit<ActivityProfilerHandle, 'read'> & { read(): FiguresTable<Activity> };
type AddonStacks = Omit<StackProfilerHandle, 'start'> & {
  start(hertz: number, offCpu: boolean, inlinesProgram: string): Record<string, string>;
};
type Made = 'createProfiler' | 'createStackProfiler' | 'createActivityProfiler';
type Addon = Omit<NativeHost, Made | 'shimPath'> & {
  ActivityProfiler: new () => AddonActivity;
  CpuProfiler: new () => AddonProfiler;
  StackProfiler: new () => AddonStacks;
};

const REMEDY = 'build it by ./scripts/setup, or install a shoal package with prebuilds for this platform';

/** The folder of Shoal's package.json, in a checkout as well as where npm installed it. */
export function packageRoot(): string {
  const told = process.env.SHOAL_PACKAGE_ROOT;
  if (told !== undefined) return told;
  for (let folder = dirname(fileURLToPath(import.meta.url)); folder !== '/'; folder = dirname(folder)) {
    const file = join(folder, 'package.json');
    if (existsSync(file) && (JSON.parse(readFileSync(file, 'utf8')) as { name?: unknown }).name === 'shoal')
      return folder;
  }
  throw new ShoalError('SHOAL_E_INTERNAL', 'the package.json of shoal is missing above its native part');
}

function load(): { addon: Addon; folder: string } {
  const require = createRequire(import.meta.url);
  const find = require('node-gyp-build') as { (root: string): Addon; resolve(root: string): string };
  try {
    const root = packageRoot();
    return { addon: find(root), folder: dirname(find.resolve(root)) };
  } catch (cause) {
    throw new ShoalError('SHOAL_E_HOST', `the native part of Shoal cannot be loaded; ${REMEDY}`, { cause });
  }
}

const { addon, folder } = load();

export const native: NativeHost = {
  spawnDetached: addon.spawnDetached,
  watchPid: addon.watchPid,
  signalPid: addon.signalPid,
  lockIsHeld: addon.lockIsHeld,
  acquireLock: addon.acquireLock,
  bindMount: addon.bindMount,
  unmount: addon.unmount,
  mountCgroup2: addon.mountCgroup2,
  bootMs: addon.bootMs,
  sdNotify: addon.sdNotify,
  confineDevices: addon.confineDevices,
  markDeleted: addon.markDeleted,
  markOpaque: addon.markOpaque,
  openSharedFile: addon.openSharedFile,
  createChannel: addon.createChannel,
  openChannel: addon.openChannel,
  listenPackets: addon.listenPackets,
  resizeTerminal: addon.resizeTerminal,
  dialPackets: addon.dialPackets,
  openPackets: addon.openPackets,
  startRelay: addon.startRelay,
  probeEncryption: addon.probeEncryption,
  probeRdma: addon.probeRdma,
  createProfiler() {
    const profiler = new addon.CpuProfiler();
    return {
      start: () => profiler.start(),
      watch: (path) => profiler.watch(path),
      unwatch: (path) => profiler.unwatch(path),
      read: () => figuresByCgroup(profiler.read()),
      cost: () => profiler.cost(),
      close: () => profiler.close(),
    };
  },
  createStackProfiler() {
    const profiler = new addon.StackProfiler();
    return {
      start: (hertz, offCpu) => profiler.start(hertz, offCpu, join(folder, 'shoal-inlines')),
      watch: (path) => profiler.watch(path),
      unwatch: (path) => profiler.unwatch(path),
      drain: () => profiler.drain(),
      cost: () => profiler.cost(),
      close: () => profiler.close(),
    };
  },
  createActivityProfiler() {
    const profiler = new addon.ActivityProfiler();
    return {
      start: (systemCalls) => profiler.start(systemCalls),
      watch: (path) => profiler.watch(path),
      unwatch: (path) => profiler.unwatch(path),
      read: () => figuresByCgroup(profiler.read()),
      drain: () => profiler.drain(),
      cost: () => profiler.cost(),
      close: () => profiler.close(),
    };
  },
  shimPath() {
    const path = join(folder, 'shoal-shim');
    try {
      accessSync(path, constants.X_OK);
      return path;
    } catch (cause) {
      throw new ShoalError('SHOAL_E_HOST', `${path} is missing; ${REMEDY}`, { cause });
    }
  },
};

function figuresByCgroup<T extends object>({ cgroups, fields, values }: FiguresTable<T>): Map<string, T> {
  const all = new Map<string, T>();
  let place = 0;
  for (const cgroup of cgroups) {
    const each = {} as Record<keyof T, number>;
    for (const field of fields) {
      each[field] = values[place] as number;
      place += 1;
    }
    all.set(cgroup, each as T);
  }
  return all;
}
