import type { ChildProcess, SpawnOptions } from 'node:child_process';
import { availableParallelism } from 'node:os';
import t from 'tap';

/**
 * Runs the test files that are its arguments, each in a plain Node process of its own, as many at once as there are
 * cores. `tap run` would load a TypeScript compiler and mocks, which compiled tests do not need, into each of them, and
 * a hook into every process that they start: together that took more CPU than the tests.
 *
 * Each file leads a process group of its own, which ends with it: what a test that failed has left running would hold
 * the pipes of this process, and with them the whole run.
 */
const FILE_MS_MAX = 600_000;

const running = new Set<number>();

function endGroup(leader: number): void {
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
    running.add(pid);
    (child as ChildProcess).once('exit', () => endGroup(pid));
  });
});
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => {
    for (const leader of running) endGroup(leader);
    process.kill(process.pid, signal);
  });
}

const { NODE_OPTIONS: _hook, ...env } = process.env;
t.jobs = availableParallelism();
t.setTimeout(0);
for (const file of process.argv.slice(2)) {
  const args = ['--enable-source-maps', file];
  void t.spawn(
    process.execPath,
    args,
    { env: { ...env, TAP_TIMEOUT: String(FILE_MS_MAX / 1_000) }, timeout: FILE_MS_MAX, buffered: true },
    file,
  );
}
