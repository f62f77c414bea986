import { readdir, readFile, rm, rmdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { Paths } from '../../../agent/paths.js';
import { cgroupMount } from '../soak/host.js';

const END_MS_MAX = 10_000;
const LOOK_MS = 20;

/**
 * Ends by SIGKILL whatever is left of the agent with this state folder: itself, supervisors, instances; then removes its cgroups and
 * its shared memory. Throws naming the processes that do not end.
 */
export async function clearAway(run: string): Promise<void> {
  const deadline = performance.now() + END_MS_MAX;
  for (;;) {
    const pids = await processesOf(run);
    if (pids.length === 0) break;
    if (performance.now() > deadline) throw new Error(`processes of ${run} do not end: ${pids.join(', ')}`);
    for (const pid of pids) kill(pid);
    await pause(LOOK_MS);
  }
  const { cgroupRoot, shimsCgroup, shared } = new Paths(run, cgroupMount());
  for (const cgroup of [cgroupRoot, shimsCgroup]) await removeCgroup(cgroup);
  await rm(shared, { recursive: true, force: true });
}

/** The agent and supervisors name the folder in their command lines, the others are in its cgroups. */
async function processesOf(run: string): Promise<number[]> {
  const { runHash } = new Paths(run);
  const found: number[] = [];
  for (const pid of (await readdir('/proc')).filter((name) => /^\d+$/.test(name))) {
    const [words, cgroups, stat] = await Promise.all(
      ['cmdline', 'cgroup', 'stat'].map((file) => readFile(`/proc/${pid}/${file}`, 'utf8').catch(() => '')),
    );
    const isOurs = words?.split('\0').some((word) => word === run || word.startsWith(`${run}/`)) === true;
    const isBelow = cgroups?.includes(`/shoal/${runHash}`) === true;
    const runs = stat !== '' && !/\) [ZX] /.test(stat ?? '');
    if ((isOurs || isBelow) && runs && Number(pid) !== process.pid) found.push(Number(pid));
  }
  return found;
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    // It ended between the look and the shot.
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

async function removeCgroup(path: string): Promise<void> {
  const entries = await readdir(path, { withFileTypes: true }).catch(() => null);
  if (entries === null) return;
  for (const entry of entries) if (entry.isDirectory()) await removeCgroup(join(path, entry.name));
  await rmdir(path);
}
