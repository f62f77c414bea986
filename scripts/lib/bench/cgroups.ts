import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process';
import { access, mkdir, rmdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { until, within } from '../until.js';

const END_MS_MAX = 20_000;

let made = 0;

/** So many cgroups of the benchmark's own. */
export async function makeCgroups(count: number): Promise<string[]> {
  const names = Array.from({ length: count }, () => {
    made += 1;
    return join('/sys/fs/cgroup', `shoal-bench-${process.pid}-${made}`);
  });
  await Promise.all(names.map((name) => mkdir(name)));
  return names;
}

/** Everything else on the machine goes before it, where cgroups have a share of the CPU; elsewhere nice does it. */
export async function yieldCpu(cgroup: string): Promise<void> {
  const weight = join(cgroup, 'cpu.weight');
  const hasShare = await access(weight).then(
    () => true,
    () => false,
  );
  if (hasShare) await writeFile(weight, '1');
}

/** Runs a command in the cgroup from its first instruction on. */
export function spawnIn(cgroup: string, words: readonly string[], options: SpawnOptions): ChildProcess {
  return spawn('sh', ['-c', 'echo $$ > "$0"/cgroup.procs && exec "$@"', cgroup, ...words], options);
}

/** Also of one that has ended by itself. Throws when it is still there after 20 s. */
export async function end(child: ChildProcess, signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = new Promise((resolve) => child.once('exit', resolve));
  child.kill(signal);
  await within(`the end of ${child.spawnfile} by ${signal}`, END_MS_MAX, exited);
}

/** A process that has told of its end still has to leave its cgroup. */
export async function removeCgroup(cgroup: string): Promise<void> {
  await until(async function processesHaveLeftTheCgroup() {
    try {
      await rmdir(cgroup);
      return true;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EBUSY') throw error;
      return false;
    }
  }, END_MS_MAX);
}
