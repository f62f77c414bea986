import { availableParallelism } from 'node:os';
import t from 'tap';

/**
 * Runs the test files that are its arguments, each in a plain Node process of its own, as many at once as there are
 * cores. `tap run` would load a TypeScript compiler and mocks, which compiled tests do not need, into each of them, and
 * a hook into every process that they start: together that took more CPU than the tests.
 */
const FILE_MS_MAX = 300_000;

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
