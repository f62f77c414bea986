import { accessSync, constants } from 'node:fs';
import { cpus, release, totalmem } from 'node:os';
import { join } from 'node:path';
import { ShoalError } from '../protocol/errors.js';
import type { HostInfo } from '../protocol/link.js';
import { CONTROLLERS } from './cgroup.js';

const CRUN_FOLDERS = ['/usr/bin', '/usr/local/bin', '/usr/sbin', '/bin'];
const WITHOUT: Record<(typeof CONTROLLERS)[number], string> = {
  cpu: 'the CPU size of an instance is counted but not enforced',
  memory: 'the memory size of an instance is not enforced; use is read from its processes',
  io: 'bytes read and written are not known',
  pids: 'the number of processes in an instance is not limited',
};
export const CONTROLLER_REMEDY =
  'boot with pure cgroup v2: add systemd.unified_cgroup_hierarchy=1 to the kernel command line';

/** What the coordinator is told of this host, degradations included. */
export function describeHost(name: string, controllers: readonly string[], profilerProblem: string | null): HostInfo {
  const degraded: HostInfo['degraded'] = [];
  for (const controller of CONTROLLERS) {
    if (controllers.includes(controller)) continue;
    const what = `no cgroup v2 ${controller} controller: ${WITHOUT[controller]}`;
    degraded.push({ what, remedy: CONTROLLER_REMEDY });
  }
  if (profilerProblem !== null) {
    const remedy = 'run as root on Linux 5.11 or newer with BTF (CONFIG_DEBUG_INFO_BTF=y)';
    degraded.push({ what: `no BPF profiler, CPU time comes from cpu.stat: ${profilerProblem}`, remedy });
  }
  return { name, cores: cpus().length, memoryBytes: totalmem(), kernel: release(), degraded };
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
