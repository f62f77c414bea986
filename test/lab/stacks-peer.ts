/**
 * Has the profiler of this checkout watch a program: stacks-peer PROGRAM. Prints as JSON what the kernel cannot do, and
 * the stacks.
 */
import { native } from '../../native/index.js';
import { end, gather, makeCgroup, runInside } from '../native/workload.js';

const HERTZ = 99;
const SAMPLES = 150;

const [program = ''] = process.argv.slice(2);
const undo: (() => Promise<void>)[] = [];
const profiler = native.createStackProfiler();
try {
  const missing = profiler.start(HERTZ, true);
  const cgroup = await makeCgroup({ teardown: (action) => undo.push(action) });
  profiler.watch(cgroup);
  const child = runInside(cgroup, [program]);
  try {
    // The tables of a program are compiled once a sample of it has come.
    await gather(profiler, SAMPLES / 3);
    await gather(profiler, 1);
    process.stdout.write(JSON.stringify({ missing, stacks: await gather(profiler, SAMPLES) }));
  } finally {
    await end(child);
  }
} finally {
  profiler.close();
  for (const action of undo) await action();
}
