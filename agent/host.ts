import { accessSync, constants } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { cpus, release, totalmem } from 'node:os';
import { join } from 'node:path';
import { ShoalError } from '../protocol/errors.js';
import type { HostInfo } from '../protocol/link.js';
import { CONTROLLERS, isErrno } from './cgroup.js';
import { profilerRemedy, STACKS_REMEDY } from './profilers.js';
import { runTool } from './run-tool.js';

const CRUN_FOLDERS = ['/usr/bin', '/usr/local/bin', '/usr/sbin', '/bin'];
const WITHOUT: Record<(typeof CONTROLLERS)[number], string> = {
  cpu: 'the CPU size of an instance is counted but not enforced',
  memory: 'the memory size of an instance is not enforced; use is read from its processes',
  io: 'bytes read and written are not known, and `io` of a manifest is not enforced',
  cpuset: 'no instance can have cores for itself (`exclusive` of a manifest)',
  pids: 'the number of processes in an instance is not limited',
};
export const CONTROLLER_REMEDY =
  'boot with pure cgroup v2: add systemd.unified_cgroup_hierarchy=1 to the kernel command line';

export const MEMORY_PROBE_REMEDY = 'boot Linux 5.19 or newer with pure cgroup v2 and psi=1';

export const USER_NAMESPACE_REMEDY =
  'sysctl -w user.max_user_namespaces=65536, and run the agent outside of a chroot, where the kernel refuses them';

const TOOL_MS_MAX = 5_000;

/** Whether a process may make a user namespace here, by doing it (user_namespaces(7); refused in a chroot). */
export async function allowsUserNamespace(): Promise<boolean> {
  return runTool('unshare', ['--user', 'true'], TOOL_MS_MAX, 'SHOAL_E_HOST').then(
    () => true,
    () => false,
  );
}

/** Tells this boot of the host from others (random(4)). */
export async function bootId(): Promise<string> {
  return (await readFile('/proc/sys/kernel/random/boot_id', 'utf8')).trim();
}

/**
 * What programs made with this host's own root depend on: the processor, the distribution (os-release(5)) and Node.js. On hosts
 * of another one they may not run.
 */
export async function platform(): Promise<string> {
  const text = await readFile('/etc/os-release', 'utf8').catch((error: unknown) => {
    if (isErrno(error, 'ENOENT')) return '';
    throw error;
  });
  const named = ['ID', 'VERSION_ID'].map((name) => new RegExp(`^${name}="?([^"\n]*)`, 'm').exec(text)?.[1] ?? '');
  return [process.arch, ...named, process.version].join(' ');
}

export interface HostFeatures {
  /** Cgroup v2 controllers in force for instances. */
  controllers: readonly string[];
  /** Why there is no CPU time by BPF; null when there is. */
  cpuProblem: string | null;
  /** Why there are no stacks; null when there are, or nobody wants them. */
  stacksProblem: string | null;
  /** Why devices are not confined by BPF; null when they are. */
  devicesProblem: string | null;
  userNamespace: boolean;
  /** Why what instances do is not counted, by what is not. */
  profilerProblems: Record<string, string>;
  /** Why the memory of instances is not probed; null when it is, or nobody wants it. */
  memoryProblem: string | null;
  /** Cores that can be given to single instances. */
  ownCores: number;
}

/** What the coordinator is told of this host, degradations included. */
export function describeHost(name: string, features: HostFeatures): HostInfo {
  const { controllers, cpuProblem, stacksProblem, devicesProblem, userNamespace, profilerProblems, memoryProblem } =
    features;
  const { ownCores } = features;
  const degraded: HostInfo['degraded'] = [];
  if (!userNamespace) {
    const what =
      'no user namespaces: instances run as unprivileged users of the host itself, still without capabilities';
    degraded.push({ what, remedy: USER_NAMESPACE_REMEDY, part: 'user namespaces' });
  }
  for (const controller of CONTROLLERS) {
    if (controllers.includes(controller)) continue;
    const what = `no cgroup v2 ${controller} controller: ${WITHOUT[controller]}`;
    degraded.push({ what, remedy: CONTROLLER_REMEDY, part: `cgroup v2 ${controller}` });
  }
  if (devicesProblem !== null) {
    const remedy = 'a kernel with CONFIG_CGROUP_BPF=y, and the agent as root of the host itself';
    degraded.push({
      what: `devices are kept away by capabilities alone, not by BPF too: ${devicesProblem}`,
      remedy,
      part: 'devices by BPF',
    });
  }
  if (cpuProblem !== null) {
    const remedy = 'run as root on Linux 5.11 or newer with BTF (CONFIG_DEBUG_INFO_BTF=y)';
    degraded.push({
      what: `no BPF profiler, CPU time comes from cpu.stat: ${cpuProblem}`,
      remedy,
      part: 'CPU time by BPF',
    });
  }
  if (stacksProblem !== null)
    degraded.push({
      what: `no profiles of functions: ${stacksProblem}`,
      remedy: STACKS_REMEDY,
      part: 'profiles of functions',
    });
  for (const [part, why] of Object.entries(profilerProblems))
    degraded.push({ what: `not measured: ${part}: ${why}`, remedy: profilerRemedy(part), part });
  if (memoryProblem !== null)
    degraded.push({
      what: `not measured: how little memory instances can live in: ${memoryProblem}`,
      remedy: MEMORY_PROBE_REMEDY,
      part: 'working sets',
    });
  return {
    name,
    cores: cpus().length,
    memoryBytes: totalmem(),
    kernel: release(),
    degraded,
    ...(ownCores > 0 ? { ownCores } : {}),
  };
}

/** Absolute path of crun; throws SHOAL_E_HOST with the remedy when it is not installed. */
export function findCrun(folders: readonly string[] = CRUN_FOLDERS): string {
  for (const folder of folders) {
    try {
      accessSync(join(folder, 'crun'), constants.X_OK);
      return join(folder, 'crun');
    } catch (error) {
      if (!['ENOENT', 'EACCES', 'ENOTDIR'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error;
    }
  }
  throw new ShoalError('SHOAL_E_HOST', 'crun is not installed: apt-get install crun');
}
