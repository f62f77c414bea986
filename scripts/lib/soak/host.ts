import { type ChildProcess, spawn } from 'node:child_process';
import { chmod, mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { mountedAt } from '../../../agent/isolate.js';
import { Paths } from '../../../agent/paths.js';
import { freePort } from '../demo/cluster.js';

type Part = 'coordinator' | 'agent';

/** Coordinator and agent of one host, each started again at once when it ends, as systemd would. */
export class SoakHost {
  readonly #children = new Map<Part, ChildProcess>();
  #closing = false;
  restarts = 0;

  private constructor(
    readonly folder: string,
    readonly server: string,
    private readonly dist: string,
  ) {}

  static async start(dist: string): Promise<SoakHost> {
    const folder = await mkdtemp('/run/shoal-soak-');
    await chmod(folder, 0o711);
    const host = new SoakHost(folder, `http://127.0.0.1:${await freePort()}`, dist);
    host.#start('coordinator');
    host.#start('agent');
    return host;
  }

  get run(): string {
    return join(this.folder, 'run');
  }

  /** The process that was started, which of the agent only waits for the one in its own mount namespace. */
  outerPidOf(part: Part): number | undefined {
    return this.#children.get(part)?.pid;
  }

  /** The process proper. */
  async pidOf(part: Part): Promise<number | undefined> {
    const pid = this.outerPidOf(part);
    if (pid === undefined || part === 'coordinator') return pid;
    const children = await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8').catch(() => '');
    const [child] = children.split(' ').filter(Boolean);
    return child === undefined ? undefined : Number(child);
  }

  async ask<T>(method: string, path: string, type?: string, body?: string): Promise<T> {
    const init = type === undefined ? { method } : { method, headers: { 'content-type': type }, body: body ?? '' };
    const response = await fetch(`${this.server}${path}`, { ...init, signal: AbortSignal.timeout(5_000) });
    const text = await response.text();
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`);
    return JSON.parse(text) as T;
  }

  /** Ends everything and removes the folder. */
  async close(): Promise<void> {
    this.#closing = true;
    for (const child of this.#children.values()) {
      if (child.exitCode !== null || child.signalCode !== null) continue;
      const exited = new Promise((resolve) => child.once('exit', resolve));
      child.kill('SIGTERM');
      await exited;
    }
    await rm(this.folder, { recursive: true, force: true });
  }

  #start(part: Part): void {
    const socket = join(this.folder, 'c.sock');
    const own =
      part === 'agent'
        ? ['--stop-instances', '--name', 'soak']
        : ['--data', join(this.folder, 'data'), '--listen', this.server.slice('http://'.length)];
    const words = [join(this.dist, part, 'main.js'), '--socket', socket, '--run', this.run, ...own];
    const child = spawn(process.execPath, words, { stdio: 'ignore' });
    this.#children.set(part, child);
    child.once('exit', () => {
      if (this.#closing) return;
      this.restarts += 1;
      this.#start(part);
    });
  }
}

/** Folder on which the host itself sees cgroup v2. */
export function cgroupMount(): string {
  for (const path of ['/sys/fs/cgroup', '/sys/fs/cgroup/unified']) if (mountedAt(path) === 'cgroup2') return path;
  throw new Error('cgroup v2 is mounted nowhere on this host');
}

/** Processes by the instance whose cgroup they are in. */
export async function processesByInstance(run: string): Promise<Map<string, number[]>> {
  const marker = `/shoal/${new Paths(run).runHash}/`;
  const found = new Map<string, number[]>();
  for (const pid of (await readdir('/proc')).filter((name) => /^\d+$/.test(name))) {
    const line = (await readFile(`/proc/${pid}/cgroup`, 'utf8').catch(() => ''))
      .split('\n')
      .find((each) => each.startsWith('0::'));
    const at = line?.indexOf(marker) ?? -1;
    if (line === undefined || at < 0 || !(await runs(pid))) continue;
    const id = line.slice(at + marker.length).split('/')[0] ?? '';
    found.set(id, [...(found.get(id) ?? []), Number(pid)]);
  }
  return found;
}

/** What exists for instances that nobody wants: processes, cgroups, folders, crun's state, mounts of the host. */
export async function leftovers(run: string, wanted: ReadonlySet<string>): Promise<string[]> {
  const paths = new Paths(run, cgroupMount());
  const unwanted = (kind: string, ids: Iterable<string>) =>
    [...ids].filter((id) => !wanted.has(id)).map((id) => `${kind} ${id}`);
  const mounts = (await readFile('/proc/self/mountinfo', 'utf8')).split('\n').filter((line) => line.includes(run));
  return [
    ...unwanted('process of', (await processesByInstance(run)).keys()),
    ...unwanted('cgroup', await folders(paths.cgroupRoot)),
    ...unwanted('folder', await folders(paths.instances)),
    ...unwanted('crun state', await folders(paths.crunRoot)),
    ...mounts.map((line) => `mount ${line}`),
  ];
}

/** Pids of crun processes that work for this agent. */
export async function crunPids(run: string): Promise<number[]> {
  const found: number[] = [];
  for (const pid of (await readdir('/proc')).filter((name) => /^\d+$/.test(name))) {
    const words = (await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')).split('\0');
    if (basename(words[0] ?? '') === 'crun' && words.some((word) => word.startsWith(run))) found.push(Number(pid));
  }
  return found;
}

async function folders(path: string): Promise<string[]> {
  const entries = await readdir(path, { withFileTypes: true }).catch(() => []);
  return entries.filter((entry) => entry.isDirectory()).map((entry) => entry.name);
}

/** Whether the process is more than an entry that its parent has yet to read. */
async function runs(pid: string): Promise<boolean> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
  return stat !== '' && !/\) [ZX] /.test(stat);
}
