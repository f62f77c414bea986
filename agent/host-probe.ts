import { accessSync, constants, existsSync, readFileSync, statfsSync } from 'node:fs';
import { release } from 'node:os';
import { join } from 'node:path';
import { native } from '../native/index.js';
import { toShoalError } from '../protocol/errors.js';
import { LIMITS } from '../protocol/limits.js';
import { CONTROLLERS } from './cgroup.js';
import { allowsUserNamespace, CONTROLLER_REMEDY, findCrun, USER_NAMESPACE_REMEDY } from './host.js';
import { mountedAt, ROOT_MOUNT_REMEDY } from './isolate.js';
import { profilerRemedy, STACKS_REMEDY } from './profilers.js';
import { runTool } from './run-tool.js';

/** One thing that Shoal wants of a host. */
export interface Requirement {
  id: string;
  what: string;
  met: boolean;
  /** Without it the agent does not start; otherwise it runs degraded. */
  required: boolean;
  /** What was found here. */
  found: string;
  /** What to do about it when it is not met. */
  remedy: string;
}

type Found = { met: boolean; found: string };

const TOOL_MS_MAX = 5_000;
const CAP_SYS_RESOURCE = 24;
/** As the kernel has it (linux/magic.h). */
const TMPFS_MAGIC = 0x01021994;
const SHARED_BYTES_MIN = 256 * 2 ** 20;
/** Of what a file system holds. */
const SHARED_FREE_MIN = 0.1;
const NODE_OLDEST = [20, 17];
const KERNEL_OLDEST = [5, 14];

/** Looks at this host; changes nothing on it. */
export async function probeHost(): Promise<Requirement[]> {
  // On a hybrid host the v2 tree, which the agent mounts for itself, is beside those of v1.
  const [pure, hybrid] = ['cgroup.controllers', 'unified/cgroup.controllers'].map((file) =>
    readText(join('/sys/fs/cgroup', file)),
  );
  const controllers = `${pure} ${hybrid}`.split(/\s+/);
  const { stacks, left } = probeProfiler();
  return [
    requirement('root', 'run as root', true, 'run by sudo or as a systemd service', probeRoot()),
    requirement(
      'node',
      'Node.js 20.17 or newer',
      true,
      'install it from nodejs.org',
      atLeast(process.versions.node, NODE_OLDEST),
    ),
    requirement(
      'kernel',
      'Linux 5.14 or newer',
      true,
      'upgrade the kernel (Debian 12 has 6.1)',
      atLeast(release(), KERNEL_OLDEST),
    ),
    ...probeFabric(),
    requirement('crun', 'crun, which runs the containers', true, 'apt-get install crun', await probeCrun()),
    requirement(
      'cgroup2',
      'cgroup v2',
      true,
      'enable CONFIG_CGROUPS; Linux mounts cgroup2 where it has it',
      probeCgroup2(),
    ),
    requirement(
      'tools',
      'setpriv, unshare and mount',
      true,
      'apt-get install util-linux mount',
      probeTools(['setpriv', 'unshare', 'mount']),
    ),
    requirement(
      'seccomp',
      'seccomp filters, which every instance has',
      true,
      'a kernel with CONFIG_SECCOMP_FILTER=y',
      probeSeccomp(),
    ),
    requirement('root-mount', 'a root folder that is a mount', true, ROOT_MOUNT_REMEDY, probeRootMount()),
    requirement('user-namespaces', 'user namespaces', false, USER_NAMESPACE_REMEDY, await probeUserNamespaces()),
    ...CONTROLLERS.map((controller) =>
      requirement(
        `cgroup2-${controller}`,
        `cgroup v2 controller ${controller}, for sizes and limits`,
        false,
        CONTROLLER_REMEDY,
        controllers.includes(controller)
          ? { met: true, found: 'present' }
          : { met: false, found: 'absent, or bound to cgroup v1: runs degraded, without that limit' },
      ),
    ),
    requirement(
      'bpf',
      'BPF with BTF, for exact CPU time',
      false,
      'a kernel with CONFIG_DEBUG_INFO_BTF=y, and root',
      probeBpf(),
    ),
    requirement('stacks', 'BPF on perf events, for profiles of functions', false, STACKS_REMEDY, stacks),
    requirement('profiler-parts', 'all that the profiler can measure', false, ...probeParts(left)),
    requirement(
      'kernel-symbols',
      'names of kernel functions, for profiles',
      false,
      'sysctl -w kernel.kptr_restrict=1, and root with CAP_SYSLOG',
      probeKernelSymbols(),
    ),
    requirement(
      'cap-sys-resource',
      'capability CAP_SYS_RESOURCE',
      false,
      'run the agent outside of a container that drops it; without it limits above its own cannot be given',
      probeCapability(),
    ),
    requirement(
      'overlay',
      'overlay file systems, for `image` and `rootfs` of a folder',
      false,
      'a kernel with CONFIG_OVERLAY_FS; modprobe overlay',
      probeOverlay(),
    ),
    requirement('skopeo', 'skopeo, to fetch images', false, 'apt-get install skopeo', probeTool('skopeo')),
  ];
}

/** The part of probeHost() that calls between instances need. */
export function probeFabric(): Requirement[] {
  return [
    requirement('native', 'the native part of Shoal', true, 'build it by ./scripts/setup', probeNative()),
    requirement(
      'shared-memory',
      'shared memory for state and calls',
      false,
      'mount -o remount,size=50% /dev/shm, and in /etc/fstab: tmpfs /dev/shm tmpfs size=50% 0 0 (a container: --shm-size)',
      probeSharedMemory(),
    ),
    requirement(
      'rings',
      'channels in shared memory, for calls on one host',
      false,
      'a kernel with CONFIG_MEMFD_CREATE=y and a plain Node.js; without them calls go over Unix sockets',
      probeRings(),
    ),
    requirement(
      'fabric-tcp',
      'calls to other hosts over TCP, encrypted',
      false,
      'a Node.js with OpenSSL, as those of nodejs.org and Debian, or apt-get install libssl3; --fabric-plain goes without',
      probeEncryption(),
    ),
    requirement(
      'rdma',
      'calls to other hosts by RDMA (RoCE v2), not encrypted: only with --fabric-plain on both',
      false,
      'a card with RoCE, its driver, and apt-get install rdma-core; without it such calls go over TCP',
      probeRdma(),
    ),
  ];
}

function requirement(id: string, what: string, required: boolean, remedy: string, found: Found): Requirement {
  return { id, what, required, remedy, ...found };
}

function probeRoot(): Found {
  const uid = process.geteuid?.() ?? -1;
  return { met: uid === 0, found: `user id ${uid}` };
}

/** Compares the first two numbers of a version. */
function atLeast(version: string, [major = 0, minor = 0]: number[]): Found {
  const [, a = 0, b = 0] = (/(\d+)\.(\d+)/.exec(version) ?? []).map(Number);
  return { met: a > major || (a === major && b >= minor), found: version };
}

function probeNative(): Found {
  try {
    return { met: true, found: native.shimPath() };
  } catch (error) {
    return { met: false, found: toShoalError(error).message };
  }
}

async function probeCrun(): Promise<Found> {
  try {
    const crun = findCrun();
    const [version = ''] = (await runTool(crun, ['--version'], TOOL_MS_MAX, 'SHOAL_E_HOST')).split('\n');
    return { met: true, found: version };
  } catch (error) {
    return { met: false, found: toShoalError(error).message };
  }
}

function probeCgroup2(): Found {
  const type = mountedAt('/sys/fs/cgroup');
  if (type === 'cgroup2') return { met: true, found: 'at /sys/fs/cgroup' };
  const known = /\tcgroup2$/m.test(readText('/proc/filesystems'));
  if (!known) return { met: false, found: 'the kernel has none' };
  return { met: true, found: 'hybrid with v1: the agent mounts v2 in a mount namespace of its own' };
}

function probeRootMount(): Found {
  const type = mountedAt('/');
  return { met: type !== null, found: type ?? 'a chroot into a plain folder' };
}

async function probeUserNamespaces(): Promise<Found> {
  const met = await allowsUserNamespace();
  return { met, found: met ? 'allowed' : 'refused: instances run as unprivileged users of the host itself' };
}

function probeBpf(): Found {
  if (!existsSync('/sys/kernel/btf/vmlinux')) return { met: false, found: 'no /sys/kernel/btf/vmlinux' };
  const profiler = native.createProfiler();
  try {
    profiler.start();
    return { met: true, found: 'the profiler loads' };
  } catch (error) {
    return { met: false, found: toShoalError(error).message };
  } finally {
    profiler.close();
  }
}

function probeRings(): Found {
  try {
    for (const fds of native.createChannel(LIMITS.ringBytes)) native.openChannel(fds, () => {}).close();
    return { met: true, found: 'a channel opens' };
  } catch (error) {
    return { met: false, found: toShoalError(error).message };
  }
}

function probeEncryption(): Found {
  const problem = native.probeEncryption();
  return { met: problem === null, found: problem ?? 'AES-256-GCM' };
}

function probeRdma(): Found {
  const { problem, ports } = native.probeRdma();
  if (problem !== null) return { met: false, found: problem };
  const names = ports.map(({ device, interface: name, active }) => `${device} on ${name}${active ? '' : ' (down)'}`);
  if (names.length === 0) return { met: false, found: 'no device with a RoCE v2 address' };
  return { met: ports.some(({ active }) => active), found: [...new Set(names)].join(', ') };
}

/** Whether stacks can be taken, and which parts of the profiler this host has to do without, each with the reason. */
function probeProfiler(): { stacks: Found; left: Record<string, string> } {
  const activity = native.createActivityProfiler();
  const profiler = native.createStackProfiler();
  let left: Record<string, string> = {};
  try {
    left = activity.start(true);
  } catch (error) {
    left = { 'what instances do': toShoalError(error).message };
  } finally {
    activity.close();
  }
  try {
    left = { ...left, ...profiler.start(LIMITS.profileHertzDefault, true) };
    return { stacks: { met: true, found: 'the profiler loads' }, left };
  } catch (error) {
    return { stacks: { met: false, found: toShoalError(error).message }, left };
  } finally {
    profiler.close();
  }
}

/** What to do, and what was found. */
export function probeParts(left: Record<string, string>): [remedy: string, found: Found] {
  const parts = Object.entries(left);
  if (parts.length === 0) return [profilerRemedy(''), { met: true, found: 'all is there' }];
  const remedies = parts.map(([part]) => `${part}: ${profilerRemedy(part)}`);
  const found = parts.map(([part, why]) => `${part} (${why})`);
  return [remedies.join('; '), { met: false, found: `left out: ${found.join('; ')}` }];
}

/** Addresses are zeros for those who may not know them. */
function probeKernelSymbols(): Found {
  const met = /^0*[1-9a-f]/m.test(readText('/proc/kallsyms').slice(0, 100_000));
  return { met, found: met ? 'readable' : 'hidden: kernel functions are shown as [kernel]' };
}

function probeCapability(): Found {
  const bits = BigInt(`0x${/^CapEff:\s+([0-9a-f]+)$/m.exec(readText('/proc/self/status'))?.[1] ?? '0'}`);
  const met = ((bits >> BigInt(CAP_SYS_RESOURCE)) & 1n) === 1n;
  return { met, found: met ? 'present' : 'absent: runs degraded' };
}

function probeSeccomp(): Found {
  const actions = readText('/proc/sys/kernel/seccomp/actions_avail').trim();
  return { met: actions !== '', found: actions === '' ? 'the kernel has none' : 'present' };
}

/** A module that is not loaded yet is loaded by the first mount. */
function probeOverlay(): Found {
  if (/\toverlay$/m.test(readText('/proc/filesystems'))) return { met: true, found: 'present' };
  const module = /\/overlay\.ko/.test(readText(`/lib/modules/${release()}/modules.dep`));
  return { met: module, found: module ? 'a module' : 'the kernel has none: components with such a rootfs cannot run' };
}

function probeTools(names: readonly string[]): Found {
  const missing = names.filter((name) => pathOf(name) === null);
  return missing.length === 0
    ? { met: true, found: 'installed' }
    : { met: false, found: `not installed: ${missing.join(', ')}` };
}

function probeTool(name: string): Found {
  const path = pathOf(name);
  return path === null
    ? { met: false, found: 'not installed: components with `image` cannot run' }
    : { met: true, found: path };
}

function pathOf(name: string): string | null {
  for (const folder of (process.env.PATH ?? '').split(':')) {
    try {
      accessSync(`${folder}/${name}`, constants.X_OK);
      return join(folder, name);
    } catch (error) {
      if (!['ENOENT', 'EACCES', 'ENOTDIR'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error;
    }
  }
  return null;
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if (['ENOENT', 'EACCES'].includes((error as NodeJS.ErrnoException).code ?? '')) return '';
    throw error;
  }
}

/** The memory of state shards and channels: `folder` has to be a memory file system with room. */
export function probeSharedMemory(folder = '/dev/shm', statfs: typeof statfsSync = statfsSync): Found {
  try {
    const { type, bsize, blocks, bavail } = statfs(folder);
    const mebibytes = (count: number) => `${Math.floor((count * bsize) / 2 ** 20)} MiB`;
    const found = `${folder}: ${mebibytes(blocks)}, ${mebibytes(bavail)} of it free`;
    if (type !== TMPFS_MAGIC) return { met: false, found: `${found}, but it is no tmpfs` };
    return { met: blocks * bsize >= SHARED_BYTES_MIN && bavail >= SHARED_FREE_MIN * blocks, found };
  } catch (error) {
    return { met: false, found: `${folder}: ${toShoalError(error).message}` };
  }
}
