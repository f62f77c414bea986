import type { ChildProcess, SpawnOptions } from 'node:child_process';
import { appendFileSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import t from 'tap';
import { describeGroup } from './process-group.js';

/**
 * Runs the test files that are its arguments, each in a plain Node process of its own, as many at once as there are
 * cores. `tap run` would load a TypeScript compiler and mocks, which compiled tests do not need, into each of them, and
 * a hook into every process that they start: together that took more CPU than the tests.
 *
 * Each file leads a process group of its own, which ends with it: what a test that failed has left running would hold
 * the pipes of this process, and with them the whole run. What one that takes too long waits in is said before that.
 *
 * SHOAL_TEST_FAILED names the file that gets the names of the files that failed, a line each; SHOAL_TEST_JOBS how many
 * run at once. SHOAL_TEST_NOTES names the file that gets what is to be said besides, since tap's reporters show nothing of
 * this process: which file does not end, and which took longest.
 */
const FILE_MS_MAX = 600_000;
const LOOK_MS = FILE_MS_MAX - 10_000;

const SLOWEST_SHOWN = 20;

const { NODE_OPTIONS: _hook, SHOAL_TEST_FAILED, SHOAL_TEST_JOBS, SHOAL_TEST_NOTES, ...env } = process.env;
const running = new Map<number, NodeJS.Timeout>();
const failed: string[] = [];
const took: { readonly file: string; readonly seconds: number }[] = [];

function note(text: string): void {
  if (SHOAL_TEST_NOTES === undefined) console.error(text);
  else appendFileSync(SHOAL_TEST_NOTES, `${text}\n`);
}

function endGroup(leader: number): void {
  clearTimeout(running.get(leader));
  running.delete(leader);
  try {
    process.kill(-leader, 'SIGKILL');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

t.on('spawn', (spawned) => {
  spawned.on('preprocess', (options) => {
    (options as SpawnOptions).detached = true;
  });
  spawned.on('process', (child) => {
    const { pid } = child as ChildProcess;
    if (pid === undefined) return;
    const look = () => note(`${spawned.name} does not end:\n${describeGroup(pid)}`);
    running.set(pid, setTimeout(look, LOOK_MS));
    const started = performance.now();
    (child as ChildProcess).once('exit', () => {
      endGroup(pid);
      took.push({ file: spawned.name, seconds: Math.round((performance.now() - started) / 1_000) });
    });
  });
});
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => {
    for (const leader of running.keys()) endGroup(leader);
    process.kill(process.pid, signal);
  });
}

t.jobs = Number(SHOAL_TEST_JOBS ?? availableParallelism());
t.setTimeout(0);
for (const file of process.argv.slice(2)) {
  const args = ['--enable-source-maps', file];
  const options = {
    env: { ...env, TAP_TIMEOUT: String(FILE_MS_MAX / 1_000) },
    timeout: FILE_MS_MAX,
    buffered: true,
  };
  void t.spawn(process.execPath, args, options, file).then((results) => {
    if (results?.ok !== true) failed.push(file);
  });
}
t.teardown(() => {
  const slowest = took.sort((a, b) => b.seconds - a.seconds).slice(0, SLOWEST_SHOWN);
  note(`seconds of the slowest files: ${slowest.map(({ file, seconds }) => `${file} ${seconds}`).join(', ')}`);
  if (SHOAL_TEST_FAILED !== undefined) writeFileSync(SHOAL_TEST_FAILED, failed.map((file) => `${file}\n`).join(''));
});
