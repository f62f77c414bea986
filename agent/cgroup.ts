import { constants } from 'node:fs';
import { access, mkdir, readdir, readFile, rmdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Size } from '../protocol/link.js';
import { parseCores } from './core-list.js';
import { parsePressure } from './memory-probe.js';

/** Period of cpu.max in microseconds: the kernel's default. */
const CPU_PERIOD_US = 100_000;
/** Below this the kernel refuses a cpu.max quota. */
const CPU_QUOTA_US_MIN = 1_000;
/** Of cpu.weight; a core's is what the kernel gives to a cgroup by itself. */
const CPU_WEIGHT = { min: 1, core: 100, max: 10_000 };
/** Of memory.high. */
const NO_HOLD = 'max';
export const PIDS_MAX = 512;
export const CONTROLLERS = ['cpu', 'memory', 'io', 'pids', 'cpuset'] as const;
const PAGE_BYTES = 4096;
const REMOVE_TRIES_MAX = 50;
/** To count the pages of processes is dear, and holds these up meanwhile: a little less than from one heartbeat to the next. */
const COUNTED_MS = 900;

export interface Usage {
  cpuSeconds: number;
  memoryBytes: number;
  ioReadBytes: number;
  ioWriteBytes: number;
}

/** One cgroup v2 folder. Reads and limits fall back to what the host has. */
export class Cgroup {
  /** Memory of its processes as it was last counted, and until when that is good enough. */
  #counted = { bytes: 0, untilMs: Number.NEGATIVE_INFINITY };

  constructor(readonly path: string) {}

  async create(): Promise<void> {
    await mkdir(this.path, { recursive: true });
  }

  /** Names of the limits that this host could not set; empty when all are in force. */
  async limit(size: Size): Promise<string[]> {
    const missing: string[] = [];
    for (const [file, value] of limitsOf(size)) {
      if (!(await this.#writeIfPresent(file, value))) missing.push(file);
    }
    return missing;
  }

  /** Lines of io.max, one for each disk; false where the host has no io controller. */
  async limitIo(lines: readonly string[]): Promise<boolean> {
    for (const line of lines) if (!(await this.#writeIfPresent('io.max', line))) return false;
    return true;
  }

  get hasIo(): Promise<boolean> {
    return exists(join(this.path, 'io.max'));
  }

  /** Keeps its processes to these cores, such as 1,3; false where the host has no cpuset controller, or it is gone. */
  runOn(cores: string): Promise<boolean> {
    return this.#writeIfPresent('cpuset.cpus', cores);
  }

  /** What runOn() was last told; empty before. */
  cores(): Promise<string> {
    return readOrEmpty(join(this.path, 'cpuset.cpus'));
  }

  /** By memory.reclaim (Linux 5.19), which fails with EAGAIN when it finds less; without it nothing happens. */
  async reclaim(bytes: number): Promise<void> {
    await this.#writeIfPresent('memory.reclaim', String(bytes)).catch((error: unknown) => {
      if (!isErrno(error, 'EAGAIN')) throw error;
    });
  }

  /** Who takes more than so many bytes has to wait for each page, and nobody is ended for it; until the next limit() or release(). */
  async hold(bytes: number): Promise<void> {
    await this.#writeIfPresent('memory.high', String(bytes));
  }

  /** Ends what hold() began. */
  async release(): Promise<void> {
    await this.#writeIfPresent('memory.high', NO_HOLD);
  }

  /** What it holds, and how long somebody in it waited for memory; null without the memory controller or PSI. */
  async memory(): Promise<{ usedBytes: number; stalledUs: number } | null> {
    const [used, pressure] = await Promise.all([
      readOrEmpty(join(this.path, 'memory.current')),
      readOrEmpty(join(this.path, 'memory.pressure')),
    ]);
    const stalledUs = parsePressure(pressure);
    return used === '' || stalledUs === null ? null : { usedBytes: Number(used.trim()), stalledUs };
  }

  async usage(): Promise<Usage> {
    const [cpu, memory, io] = await Promise.all([
      readOrEmpty(join(this.path, 'cpu.stat')),
      readOrEmpty(join(this.path, 'memory.current')),
      readOrEmpty(join(this.path, 'io.stat')),
    ]);
    const bytes = memory === '' ? await this.#memoryOfProcesses() : Number(memory.trim());
    return { cpuSeconds: parseCpuStat(cpu), memoryBytes: bytes, ...parseIoStat(io) };
  }

  /** Names of the cgroups right below. */
  children(): Promise<string[]> {
    return children(this.path);
  }

  async pids(): Promise<number[]> {
    const found = parsePids(await readOrEmpty(join(this.path, 'cgroup.procs')));
    for (const child of await this.children()) found.push(...(await new Cgroup(join(this.path, child)).pids()));
    return found;
  }

  /** Puts a process inside, unless it has ended. */
  async take(pid: number): Promise<void> {
    await writeFile(join(this.path, 'cgroup.procs'), String(pid)).catch((error: unknown) => {
      if (!isErrno(error, 'ESRCH')) throw error;
    });
  }

  /** Stops all processes of the subtree, or lets them go on (cgroup.freeze, Linux 5.2); false where the kernel cannot. */
  freeze(frozen: boolean): Promise<boolean> {
    return this.#writeIfPresent('cgroup.freeze', frozen ? '1' : '0');
  }

  async isFrozen(): Promise<boolean> {
    return (await readOrEmpty(join(this.path, 'cgroup.freeze'))).trim() === '1';
  }

  /** Kills every process of the subtree at once; false when the cgroup is gone. */
  async kill(): Promise<boolean> {
    if (await this.#writeIfPresent('cgroup.kill', '1')) return true;
    // Kernels before 5.14 have no cgroup.kill; a second round catches what forked meanwhile.
    for (let round = 0; round < 3; round += 1) for (const pid of await this.pids()) killQuietly(pid);
    return await exists(this.path);
  }

  /** Kills what is inside and removes the folders, waiting for the kernel to let go of them. */
  async remove(): Promise<void> {
    for (let attempt = 0; ; attempt += 1) {
      if (!(await this.kill())) return;
      try {
        await removeTree(this.path);
        return;
      } catch (error) {
        if (attempt >= REMOVE_TRIES_MAX || !isErrno(error, 'EBUSY')) throw error;
      }
      await new Promise((resolve) => setTimeout(resolve, Math.min(100, 2 ** attempt)));
    }
  }

  async #writeIfPresent(file: string, value: string): Promise<boolean> {
    try {
      await writeFile(join(this.path, file), value, { flag: constants.O_WRONLY });
      return true;
    } catch (error) {
      if (isErrno(error, 'ENOENT') || isErrno(error, 'EACCES') || isErrno(error, 'ENODEV')) return false;
      throw error;
    }
  }

  async #memoryOfProcesses(): Promise<number> {
    const nowMs = performance.now();
    if (nowMs < this.#counted.untilMs) return this.#counted.bytes;
    let bytes = 0;
    for (const pid of await this.pids()) bytes += await memoryOfProcess(pid);
    this.#counted = { bytes, untilMs: nowMs + COUNTED_MS };
    return bytes;
  }
}

/** Makes the agent's own subtree and hands the wanted controllers down; answers which of them are in force there. */
export async function prepareCgroupRoot(mount: string, root: string): Promise<string[]> {
  await mkdir(root, { recursive: true });
  const names = root.slice(mount.length).split('/').filter(Boolean);
  let folder = mount;
  for (const name of ['', ...names]) {
    folder = name === '' ? mount : join(folder, name);
    const present = (await readOrEmpty(join(folder, 'cgroup.controllers'))).split(/\s+/);
    for (const controller of CONTROLLERS.filter((wanted) => present.includes(wanted))) {
      // A folder that holds processes refuses (EBUSY); then the controller stays out and doctor says so.
      await writeFile(join(folder, 'cgroup.subtree_control'), `+${controller}`).catch((error: unknown) => {
        if (!isErrno(error, 'EBUSY') && !isErrno(error, 'ENOENT') && !isErrno(error, 'EOPNOTSUPP')) throw error;
      });
    }
  }
  const inForce = (await readOrEmpty(join(root, 'cgroup.subtree_control'))).split(/\s+/);
  return CONTROLLERS.filter((controller) => inForce.includes(controller));
}

/** The cores that processes below it may run on; none without the cpuset controller. */
export async function coresBelow(root: string, controllers: readonly string[]): Promise<number[]> {
  if (!controllers.includes('cpuset')) return [];
  return parseCores(await readOrEmpty(join(root, 'cpuset.cpus.effective')));
}

/** Why the memory of instances below it cannot be probed; null when it can. */
export async function memoryProbeProblem(root: string): Promise<string | null> {
  const present = await readdir(root);
  if (!present.includes('memory.current')) return 'no cgroup v2 memory controller';
  if (!present.includes('memory.reclaim')) return 'no memory.reclaim, which Linux has from 5.19 on';
  const pressure = await readOrEmpty(join(root, 'memory.pressure'));
  return parsePressure(pressure) === null ? 'no memory.pressure: boot with psi=1' : null;
}

/** Removes a folder of the agent's own unless instances are in it, which go on without the agent. */
export async function removeUnused(path: string): Promise<void> {
  await rmdir(path).catch((error: unknown) => {
    if (!isErrno(error, 'EBUSY') && !isErrno(error, 'ENOTEMPTY') && !isErrno(error, 'ENOENT')) throw error;
  });
}

export function limitsOf(size: Size): [string, string][] {
  const quota = Math.max(CPU_QUOTA_US_MIN, Math.round(size.cpu * CPU_PERIOD_US));
  const memory = Math.ceil(size.memory / PAGE_BYTES) * PAGE_BYTES;
  return [
    ['cpu.max', `${quota} ${CPU_PERIOD_US}`],
    // Where more is allotted than there is, each gets its share of it.
    ['cpu.weight', String(Math.min(CPU_WEIGHT.max, Math.max(CPU_WEIGHT.min, Math.round(size.cpu * CPU_WEIGHT.core))))],
    ['memory.max', String(memory)],
    // After memory.max, which takes over from it; it holds only while a size shrinks, see resize.ts.
    ['memory.high', NO_HOLD],
    ['pids.max', String(PIDS_MAX)],
  ];
}

export function parseCpuStat(text: string): number {
  const match = /^usage_usec (\d+)$/m.exec(text);
  return match === null ? 0 : Number(match[1]) / 1e6;
}

export function parseIoStat(text: string): { ioReadBytes: number; ioWriteBytes: number } {
  const sum = (key: string) =>
    [...text.matchAll(new RegExp(`\\b${key}=(\\d+)`, 'g'))].reduce((total, match) => total + Number(match[1]), 0);
  return { ioReadBytes: sum('rbytes'), ioWriteBytes: sum('wbytes') };
}

/** Proportional set size where the kernel tells it (shared pages counted once), else resident size. */
async function memoryOfProcess(pid: number): Promise<number> {
  const rollup = await readOrEmpty(`/proc/${pid}/smaps_rollup`);
  const pss = /^Pss:\s+(\d+) kB$/m.exec(rollup);
  if (pss !== null) return Number(pss[1]) * 1024;
  const resident = Number((await readOrEmpty(`/proc/${pid}/statm`)).split(' ')[1] ?? 0);
  return resident * PAGE_BYTES;
}

function parsePids(text: string): number[] {
  return text.split('\n').filter(Boolean).map(Number);
}

/** A cgroup or process may go away between two reads: then it uses nothing. */
async function readOrEmpty(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if (['ENOENT', 'ESRCH', 'ENODEV', 'EACCES', 'EOPNOTSUPP'].some((code) => isErrno(error, code))) return '';
    throw error;
  }
}

async function children(path: string): Promise<string[]> {
  try {
    const entries = await readdir(path, { withFileTypes: true });
    return entries.filter((entry) => entry.isDirectory()).map((entry) => entry.name);
  } catch (error) {
    if (isErrno(error, 'ENOENT') || isErrno(error, 'ENODEV')) return [];
    throw error;
  }
}

async function removeTree(path: string): Promise<void> {
  for (const child of await children(path)) await removeTree(join(path, child));
  await rmdir(path).catch((error: unknown) => {
    if (!isErrno(error, 'ENOENT')) throw error;
  });
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}

function killQuietly(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if (!isErrno(error, 'ESRCH')) throw error;
  }
}

export function isErrno(error: unknown, code: string): boolean {
  return error instanceof Error && (error as NodeJS.ErrnoException).code === code;
}
