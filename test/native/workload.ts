import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { mkdir, mkdtemp, rm, rmdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { mountedAt } from '../../agent/isolate.js';
import { type DrainedStacks, native, packageRoot, type StackProfilerHandle } from '../../native/index.js';

type Teardown = { teardown(action: () => Promise<void>): void };

let made = 0;

/** A cgroup of the test's own, v2 wherever this host has it. Gone at the end of the test, after all that runs in it. */
export async function makeCgroup(test: Teardown): Promise<string> {
  const mount = ['/sys/fs/cgroup', '/sys/fs/cgroup/unified'].find((path) => mountedAt(path) === 'cgroup2');
  if (mount === undefined) throw new Error('cgroup v2 is mounted nowhere on this host');
  made += 1;
  const cgroup = join(mount, `shoal-native-test-${process.pid}-${made}`);
  await mkdir(cgroup);
  test.teardown(() => removeCgroup(cgroup));
  return cgroup;
}

/** A process that has told of its end still has to leave its cgroup. */
export async function removeCgroup(cgroup: string): Promise<void> {
  for (;;) {
    try {
      await rmdir(cgroup);
      return;
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === 'ENOENT') return;
      if (code !== 'EBUSY') throw error;
      await setTimeout(10);
    }
  }
}

export async function makeFolder(test: Teardown): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'shoal-native-'));
  test.teardown(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

/** Compiles a program of test/native/workloads. */
export function compile(source: string, target: string, compiler: readonly string[]): void {
  const [program = '', ...options] = compiler;
  const path = join(packageRoot(), 'test/native/workloads', source);
  const { status, stderr } = spawnSync(program, [...options, path, '-o', target], { encoding: 'utf8' });
  if (status !== 0) throw new Error(`${compiler.join(' ')} ${path}: ${stderr}`);
}

/** Runs a command in the cgroup from its first instruction on. */
export function runInside(cgroup: string, argv: readonly string[], env: NodeJS.ProcessEnv = process.env): ChildProcess {
  return spawn('sh', ['-c', 'echo $$ > "$0"/cgroup.procs && exec "$@"', cgroup, ...argv], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env,
  });
}

/** The same, with standard input. */
export function runFed(cgroup: string, argv: readonly string[]): ChildProcess {
  const words = ['-c', 'echo $$ > "$0"/cgroup.procs && exec "$@"', cgroup, ...argv];
  return spawn('sh', words, { stdio: ['pipe', 'pipe', 'inherit'] });
}

export async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGKILL');
  await exited;
}

export function startProfiler(test: Teardown, hertz: number, offCpu = false): StackProfilerHandle {
  const profiler = native.createStackProfiler();
  test.teardown(async () => profiler.close());
  profiler.start(hertz, offCpu);
  return profiler;
}

export interface NamedStack {
  cgroup: string;
  kind: string;
  count: number;
  seconds: number;
  /** Names of functions, leaf first. */
  names: string[];
}

export function named({ stacks, functions }: DrainedStacks): NamedStack[] {
  return stacks.map(({ frames, ...rest }) => ({ ...rest, names: frames.map((each) => functions[each]?.name ?? '?') }));
}

const GATHER_MS_MAX = 60_000;

/** Drains until there are so many samples in all. Throws when they do not come. */
export async function gather(profiler: StackProfilerHandle, count: number): Promise<NamedStack[]> {
  const all: NamedStack[] = [];
  const deadlineMs = performance.now() + GATHER_MS_MAX;
  for (let found = 0; found < count; ) {
    if (performance.now() > deadlineMs) throw new Error(`${found} of ${count} samples came in ${GATHER_MS_MAX} ms`);
    await setTimeout(100);
    const stacks = named(await profiler.drain());
    for (const each of stacks) found += each.count;
    all.push(...stacks);
  }
  return all;
}

/** Whether these are among the names in this order. */
export function isInOrder(names: readonly string[], wanted: readonly string[]): boolean {
  let found = 0;
  for (const name of names) if (name.includes(wanted[found] ?? '\0')) found += 1;
  return found === wanted.length;
}

/** With names as C has them, whatever the language. */
export function withoutTypes(stacks: readonly NamedStack[]): NamedStack[] {
  return stacks.map((each) => ({ ...each, names: each.names.map((name) => name.split('(')[0] ?? '') }));
}

/** Who calls the three functions of chains.cc, through glibc, an aligned stack and a signal. */
const CHAINS: Record<string, readonly string[]> = {
  sixty: ['compare', 'qsort', 'sorts', 'main'],
  thirty: ['aligns', 'main'],
  ten: ['handle', 'raise', 'signals', 'main'],
};

/** Of each of them in how many stacks it is, and in how many with all its callers. */
export function wholeChains(
  stacks: readonly NamedStack[],
): { name: string; whole: number; all: number; example: string }[] {
  const sum = (list: readonly NamedStack[]) => list.reduce((total, { count }) => total + count, 0);
  return Object.entries(CHAINS).map(([name, callers]) => {
    const all = stacks.filter(({ names }) => names.includes(name));
    const whole = all.filter(({ names }) => isInOrder(names, [name, ...callers]));
    return { name, whole: sum(whole), all: sum(all), example: String(all[0]?.names) };
  });
}
