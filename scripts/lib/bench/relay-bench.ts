import { execFile } from 'node:child_process';
import { resolve } from 'node:path';
import { promisify } from 'node:util';
import { packageRoot } from '../../../native/index.js';

const run = promisify(execFile);
const BUILD_MS_MAX = 600_000;

/** Builds native/bench/relay_bench.cc; answers the program's path. */
export async function buildRelayBench(): Promise<string> {
  const root = packageRoot();
  const folder = resolve(root, 'build/native-bench');
  const options = ['-DSHOAL_BENCH=ON', '-DCMAKE_BUILD_TYPE=Release'];
  await run('cmake', ['-S', resolve(root, 'native'), '-B', folder, ...options], { timeout: BUILD_MS_MAX });
  await run('cmake', ['--build', folder, '--target', 'relay-bench'], { timeout: BUILD_MS_MAX });
  return resolve(folder, 'relay-bench');
}
