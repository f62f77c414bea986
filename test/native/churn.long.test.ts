import { once } from 'node:events';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import t from 'tap';
import { native, type StackProfilerHandle } from '../../native/index.js';
import { compile, end, makeCgroup, makeFolder, type NamedStack, named, runInside, startProfiler } from './workload.js';

const HERTZ = 997;
/** The first ones show what is kept of their files anyway. */
const FIRST = 40;
const PROCESSES = 250;
/** What JavaScript and the tables of a few processes more come to. */
const GROWTH_BYTES_MAX = 48 * 1024 * 1024;
/**
 * Who may be above whom in churn.cc; the stack may end anywhere, or be unknown from somewhere on. Until a process is known to
 * the kernel its stacks are walked by frame pointers, and callers are missing in between.
 */
const CALLERS: Record<string, readonly string[]> = {
  burn: ['dive', 'live', 'lose_stack', 'main'],
  dive: ['dive', 'live', 'lose_stack', 'main'],
  map_and_call: ['live', 'main'],
  lose_stack: ['live', 'main'],
  live: ['main'],
};

/** Takes stacks out all the while until the program has ended. */
async function drainWhile(profiler: StackProfilerHandle, cgroup: string, argv: readonly string[]) {
  const child = runInside(cgroup, argv);
  const exited = once(child, 'exit');
  const all: NamedStack[] = [];
  try {
    while (child.exitCode === null && child.signalCode === null) {
      all.push(...named(await profiler.drain()));
      await Promise.race([exited, setTimeout(20)]);
    }
  } finally {
    await end(child);
  }
  all.push(...named(await profiler.drain()));
  return { all, code: child.exitCode };
}

t.test('processes end, change and unmap while their stacks are walked and named', async (t) => {
  const folder = await makeFolder(t);
  const program = join(folder, 'churn');
  compile('churn.cc', program, ['c++', '-O2', '-fomit-frame-pointer', '-fno-inline']);
  const cgroup = await makeCgroup(t);
  const profiler = startProfiler(t, HERTZ, true);
  const cpu = native.createProfiler();
  t.teardown(async () => cpu.close());
  cpu.start();
  cpu.watch(cgroup);
  profiler.watch(cgroup);
  const ran = () => cpu.read().get(cgroup)?.cpuSeconds ?? Number.NaN;

  await drainWhile(profiler, cgroup, [program, String(FIRST)]);
  const before = { descriptors: (await readdir('/proc/self/fd')).length, bytes: process.memoryUsage.rss(), ran: ran() };
  const { all, code } = await drainWhile(profiler, cgroup, [program, String(PROCESSES)]);
  t.equal(code, 0, 'they did all that they shall');
  t.equal((await readdir('/proc/self/fd')).length, before.descriptors, 'no descriptor is left');
  const growth = process.memoryUsage.rss() - before.bytes;
  t.ok(growth < GROWTH_BYTES_MAX, `${growth} bytes more`);

  const samples = all.filter(({ kind }) => kind === 'cpu');
  const [seconds, sampled] = [ran() - before.ran, samples.reduce((sum, each) => sum + each.seconds, 0)];
  const bound = 0.05 * seconds + 5 * Math.sqrt(seconds / HERTZ);
  t.ok(Math.abs(sampled - seconds) < bound, `they ran for ${seconds} s, and ${sampled} s are in the profile`);
  const wrong = samples.flatMap(({ names }) =>
    names.flatMap((full, place) => {
      const [name = '', next] = [full, names[place + 1]].map((each) => each?.split('(')[0]);
      const callers = CALLERS[name];
      const isRight = callers === undefined || !next || next.startsWith('[') || callers.includes(next);
      return isRight ? [] : [names.join(' ')];
    }),
  );
  t.same(wrong, [], 'nobody is called by whom it cannot be');
  const deep = samples.filter(({ names }) => names.filter((each) => each.startsWith('dive(')).length > 20);
  t.ok(deep.length > 0, 'of those that lived long enough whole stacks are told');

  compile('named.c', join(folder, 'named'), ['cc', '-O0', '-DNAME=afterwards', '-DMILLISECONDS=300']);
  const after = await drainWhile(profiler, cgroup, [join(folder, 'named')]);
  t.ok(
    after.all.some(({ names }) => names.includes('afterwards')),
    'and others are named as ever',
  );
});
