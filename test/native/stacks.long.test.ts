import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readFile, readlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { type DrainedStacks, native, type StackProfilerHandle } from '../../native/index.js';
import { until, within } from '../../scripts/lib/until.js';
import {
  compile,
  end,
  gather,
  isInOrder,
  makeCgroup,
  makeFolder,
  type NamedStack,
  named,
  removeCgroup,
  runInside,
  startProfiler,
  wholeChains,
  withoutTypes,
} from './workload.js';

const HERTZ = 997;
const SAMPLES = 1_500;
/** So far off are one in a million of as many throws of dice. */
const SIGMAS = 5;
/** What is no chance is off in each of them. */
const WINDOWS_MAX = 3;
/** Of a hundred samples each: some seconds. */
const WARM_WINDOWS_MAX = 40;
const WAIT_MS_MAX = 60_000;
/** Of a period how much it may be longer or shorter, as native/src/profiler/stack_sampler.cc says. */
const JITTER = 0.025;
/** In so many samples of one clock its period is drawn six times. */
const BEATS = 3_000;
/** That come and go, so many at once. */
const INSTANCES = 500;
const AT_ONCE = 10;
const SHARES: Record<string, number> = { sixty: 0.6, thirty: 0.3, ten: 0.1 };

/** Only without optimisation do functions that call none have frame pointers too. */
const CC = ['cc', '-O0', '-fno-omit-frame-pointer'];

/** Whether the name, such as `sixty`, `sixty()` or `sixty [eval]:1`, is that of the function. */
const isOf = (name: string, wanted: string) => name.split(/[ (]/)[0] === wanted;

type Counted = Pick<NamedStack, 'names' | 'count'>;

/** Samples that have the function in them, among those that have any of these, which do not call each other. */
function share(stacks: readonly Counted[], wanted: string, among: readonly string[] = Object.keys(SHARES)) {
  const within = (names: string[], wantedNames: readonly string[]) =>
    names.some((name) => wantedNames.some((each) => isOf(name, each)));
  const count = (functions: readonly string[]) =>
    stacks.reduce((sum, each) => sum + (within(each.names, functions) ? each.count : 0), 0);
  const all = count(among);
  return { all, share: count([wanted]) / all };
}

/** What of the shares is not as expected, in words. */
function shareProblems(stacks: readonly NamedStack[]): string[] {
  return Object.entries(SHARES).flatMap(([name, expected]) => {
    const { all, share: found } = share(stacks, name);
    const bound = SIGMAS * Math.sqrt((expected * (1 - expected)) / all);
    if (all <= SAMPLES * 0.9) return [`only ${all} samples have names`];
    if (Math.abs(found - expected) < bound) return [];
    return [`${name}: ${found.toFixed(3)} of ${all}, more than ${bound.toFixed(3)} off`];
  });
}

/**
 * Tables for a new process and names of inlined functions are made while it runs already: until a window has every sample
 * of the chain's first function with the whole chain. What is gathered then is judged by itself.
 */
async function untilWhole(
  profiler: StackProfilerHandle,
  chain: readonly string[],
  renamed: (stacks: NamedStack[]) => NamedStack[],
): Promise<void> {
  for (let window = 0; window < WARM_WINDOWS_MAX; window += 1) {
    const of = renamed(await gather(profiler, 100)).filter(({ names }) => names.includes(chain[0] as string));
    if (of.length > 0 && of.every(({ names }) => isInOrder(names, chain))) return;
  }
}

/** The samples of a window whose shares are right; of the last one when none is. */
async function gatherShares(
  t: Test,
  profiler: StackProfilerHandle,
  renamed = (stacks: NamedStack[]) => stacks,
): Promise<NamedStack[]> {
  for (let window = 1; ; window += 1) {
    const stacks = renamed(await gather(profiler, SAMPLES));
    const problems = shareProblems(stacks);
    if (problems.length > 0 && window < WINDOWS_MAX) {
      t.comment(`window ${window}`, problems);
      continue;
    }
    t.same(problems, []);
    return stacks;
  }
}

t.test('a program in C: the shares, who calls whom, and what perf says of it', async (t) => {
  const program = join(await makeFolder(t), 'shares');
  compile('shares.c', program, CC);
  const cgroup = await makeCgroup(t);
  const profiler = startProfiler(t, HERTZ);
  profiler.watch(cgroup);
  const child = runInside(cgroup, [program]);
  t.teardown(() => end(child));
  const perf = perfSamples(child, program);
  const stacks = await gatherShares(t, profiler);
  const leaves = stacks.filter(({ names }) => names.includes('sixty'));
  const whole = leaves.filter(
    ({ names }) => names.indexOf('work') === names.indexOf('sixty') + 1 && names.includes('main'),
  );
  const sum = (list: readonly NamedStack[]) => list.reduce((total, { count }) => total + count, 0);
  // In the first instructions of a function its frame is not there yet, and its caller is missing.
  t.ok(sum(whole) / sum(leaves) > 0.95, 'sixty is called by work, which main calls');
  const seconds = stacks.reduce((total, each) => total + each.seconds, 0);
  t.ok(Math.abs(seconds * HERTZ - sum(stacks)) / sum(stacks) < 0.03, 'a sample stands for a period');

  await agreesWithPerf(t, stacks, perf);
});

t.test('in step with the clock that samples: the shares still, as many samples as the rate says', async (t) => {
  const program = join(await makeFolder(t), 'beats');
  compile('beats.c', program, [...CC, `-DNANOSECONDS=${Math.floor(1e9 / HERTZ)}L`]);
  const cgroup = await makeCgroup(t);
  const looks = [HERTZ, Math.floor(HERTZ / 4)].map((hertz) => ({ hertz, profiler: startProfiler(t, hertz) }));
  for (const { profiler } of looks) profiler.watch(cgroup);
  // On one CPU there is one clock.
  const child = runInside(cgroup, ['taskset', '-c', '0', program]);
  t.teardown(() => end(child));
  const ran = async () => Number((await readFile(`/proc/${child.pid}/schedstat`, 'utf8')).split(' ')[0]) / 1e9;
  for (const { hertz, profiler } of looks) {
    await gather(profiler, 100);
    // Samples are those between two drains, and a drain may take long: it is looked before and after each.
    const began = { before: await ran(), after: await profiler.drain().then(ran) };
    const stacks = await gather(profiler, hertz === HERTZ ? BEATS : BEATS / 8);
    const ended = await ran();
    stacks.push(...named(await profiler.drain()));
    const [least, most] = [(ended - began.after) * hertz, ((await ran()) - began.before) * hertz];
    // Of drawn periods the mean is off by no more than each may be; the rest is what else runs on this CPU.
    const bound = JITTER * most + SIGMAS * Math.sqrt(most / 2);
    const isAsOften = (found: number) => found > least - bound && found < most + bound;
    const taken = stacks.reduce((sum, { count }) => sum + count, 0);
    const seconds = stacks.reduce((sum, each) => sum + each.seconds, 0);
    t.ok(isAsOften(taken), `${taken} samples, by ${hertz} Hz ${least.toFixed(0)} to ${most.toFixed(0)}`);
    t.ok(isAsOften(seconds * hertz), `they stand for ${seconds} s`);
    const periods = stacks.map((each) => (each.seconds / each.count) * hertz);
    t.ok(periods.every((period) => Math.abs(period - 1) < JITTER + 1e-3));
    if (hertz !== HERTZ) continue;
    t.ok(new Set(periods.map((period) => period.toFixed(6))).size > 2, 'the clock has another period now and then');
    // In step it would be 1 or 0. What the drawings leave is no row of dice: one in eight or so hits few places only.
    const { all, share: sixty } = share(stacks, 'sixty');
    t.ok(all > 0.9 * BEATS && Math.abs(sixty - 0.6) < 0.25, `sixty has ${sixty} of ${all}`);
  }
});

t.test('a program in C++ without frame pointers: the shares, with names as written', async (t) => {
  const program = join(await makeFolder(t), 'shares');
  compile('shares.c', program, ['c++', '-x', 'c++', '-O2', '-fomit-frame-pointer']);
  const cgroup = await makeCgroup(t);
  const profiler = startProfiler(t, HERTZ);
  profiler.watch(cgroup);
  const child = runInside(cgroup, [program]);
  t.teardown(() => end(child));
  const perf = perfSamples(child, program);
  const stacks = await gatherShares(t, profiler);
  t.ok(stacks.some(({ names }) => names[0] === 'sixty()'));
  await agreesWithPerf(t, stacks, perf);
});

for (const [language, compiler] of [
  ['C', ['cc']],
  ['C++', ['c++', '-x', 'c++']],
] as const) {
  t.test(`a program in ${language} whose functions are inlined: the shares, and which is in which`, async (t) => {
    const program = join(await makeFolder(t), 'shares');
    compile('shares.c', program, [...compiler, '-O2', '-g', '-DINLINED']);
    t.notMatch(spawnSync('nm', [program], { encoding: 'utf8' }).stdout, /sixty|step/, 'no symbol tells of them');
    const cgroup = await makeCgroup(t);
    const profiler = native.createStackProfiler();
    t.teardown(async () => profiler.close());
    t.notOk(profiler.start(HERTZ, false)['inlined functions in profiles']);
    profiler.watch(cgroup);
    const child = runInside(cgroup, [program]);
    t.teardown(() => end(child));
    await untilWhole(profiler, ['sixty', 'work', 'main'], withoutTypes);
    const stacks = await gatherShares(t, profiler, withoutTypes);
    const of = stacks.filter(({ names }) => names.includes('sixty'));
    const sum = (list: readonly NamedStack[]) => list.reduce((total, { count }) => total + count, 0);
    const within = (...wanted: string[]) => sum(of.filter(({ names }) => isInOrder(names, wanted))) / sum(of);
    t.ok(within('sixty', 'work', 'main') > 0.97, `sixty is within work, which main calls, as in ${of[0]?.names}`);
    // Some instructions of the loop are its own.
    t.ok(within('step', 'sixty') > 0.5, 'and step within sixty');
    // A drain tells of what was sampled since the one before, which may be nothing.
    const sites = new Map<string, DrainedStacks['functions'][number]>();
    await until(async () => {
      for (const each of (await profiler.drain()).functions) sites.set(each.name.replace(/\(.*/, ''), each);
      return sites.has('sixty');
    });
    t.match(sites.get('sixty'), { file: 'shares', calledAt: /shares\.c:\d+$/ });
    t.notOk(sites.get('work')?.calledAt);
  });
}

t.test('a program in Rust: the shares, names demangled, whole chains of callers, and which is in which', async (t) => {
  const { error } = spawnSync('rustc', ['--version']);
  if (error !== undefined) return t.comment('rustc is not installed (apt-get install rustc): Rust is not looked at');
  const folder = await makeFolder(t);
  /** Of both forms of names what comes last: sixty of <shares::Turn as shares::Share>::sixty, work of shares::work::<...>. */
  const short = (stacks: NamedStack[]) =>
    stacks.map((each) => ({ ...each, names: each.names.map((name) => /(\w+)(::<.*>)?$/.exec(name)?.[1] ?? name) }));
  for (const { form, options, name } of [
    {
      form: 'called',
      options: ['-Csymbol-mangling-version=v0'],
      name: '<shares::Turn as shares::Share>::sixty',
    },
    { form: 'inlined', options: ['-g', '--cfg', 'inlined'], name: /^<?shares::.*::sixty$/ },
  ]) {
    const program = join(folder, form);
    compile('shares.rs', program, ['rustc', '-O', ...options]);
    const cgroup = await makeCgroup(t);
    const profiler = native.createStackProfiler();
    t.teardown(async () => profiler.close());
    profiler.start(HERTZ, false);
    profiler.watch(cgroup);
    const child = runInside(cgroup, [program]);
    t.teardown(() => end(child));
    const chain = ['sixty', 'work', 'main', '__libc_start_main'];
    await untilWhole(profiler, chain, short);
    let last: NamedStack[] = [];
    const stacks = await gatherShares(t, profiler, (all) => {
      last = all;
      return short(all);
    });
    const full = last.flatMap(({ names }) => names).find((each) => each.endsWith('sixty'));
    t.match(full, name, form);
    const of = stacks.filter(({ names }) => names.includes('sixty'));
    const sum = (list: readonly NamedStack[]) => list.reduce((total, { count }) => total + count, 0);
    const whole = of.filter(({ names }) => isInOrder(names, chain));
    t.ok(sum(whole) / sum(of) > 0.95, `${form}: sixty in work in main, which the library calls, as in ${of[0]?.names}`);
    await end(child);
    profiler.close();
  }
});

t.test(
  'a program in C++ without frame pointers: whole chains of callers, also through glibc and a signal',
  async (t) => {
    const program = join(await makeFolder(t), 'chains');
    compile('chains.cc', program, ['c++', '-O2', '-fomit-frame-pointer', '-fno-inline', '-rdynamic']);
    const cgroup = await makeCgroup(t);
    const profiler = native.createStackProfiler();
    t.teardown(async () => profiler.close());
    const missing = profiler.start(HERTZ, false);
    if (Object.keys(missing).length > 0) return t.comment(missing);
    profiler.watch(cgroup);
    // The first drain finds two programs of one process, in either order: the tables are those of the later one.
    const busyFirst = 'i=0; while [ $i -lt 30000 ]; do i=$((i+1)); done; exec "$0"';
    const child = runInside(cgroup, ['sh', '-c', busyFirst, program]);
    t.teardown(() => end(child));
    await until(async function itRunsTheOtherProgram() {
      return (await readlink(`/proc/${child.pid}/exe`)) === program;
    });
    await setTimeout(200);
    await gather(profiler, 100);
    await gather(profiler, 1);
    // Perf has the callers of such code by its own way: it keeps 8 KiB of each stack, and reads the same tables later.
    const perf = perfSamples(child, program, ['--call-graph', 'dwarf']);
    const bare = await gatherShares(t, profiler, withoutTypes);
    await agreesWithPerf(t, bare, perf, ['sorts', 'aligns', 'signals']);
    for (const { name, whole, all, example } of wholeChains(bare)) {
      t.ok(whole / all > 0.97, `${name}: ${whole} of ${all} stacks are whole, as ${example}`);
    }
  },
);

t.test('a program in JavaScript: names from the map that V8 writes, interpreted ones too', async (t) => {
  const spend = (name: string, tenths: number) =>
    `function ${name}(length) { let sink = 0; for (let round = 0; round < ${tenths} * length; round += 1) sink = Math.imul(sink ^ (sink >>> 15), 1664525) + 1 | 0; return sink; }`;
  // Where V8 puts one function into its caller, neither perf nor we can tell them apart.
  const options = ['--no-turbo-inlining', '--perf-basic-prof-only-functions', '--interpreted-frames-native-stack'];
  const script = `${spend('sixty', 6)} ${spend('thirty', 3)} ${spend('ten', 1)}
    function work(length) { return sixty(length) + thirty(length) + ten(length); }
    for (;;) work(5_000 + Math.floor(10_000 * Math.random()));`;
  const folder = await makeFolder(t);
  const cgroup = await makeCgroup(t);
  const profiler = startProfiler(t, HERTZ);
  profiler.watch(cgroup);
  // It leaves its map in /tmp of its own, which is none here: the pid is told so that the file can go.
  const child = runInside(cgroup, [process.execPath, ...options, '-e', script]);
  t.teardown(async () => {
    await end(child);
    spawnSync('rm', ['-f', `/tmp/perf-${child.pid}.map`]);
  });
  await gather(profiler, 200);
  const perf = perfSamples(child, join(folder, 'javascript'));
  const stacks = await gatherShares(t, profiler);
  await agreesWithPerf(t, stacks, perf);
  const called = stacks.filter(({ names }) => names.some((name) => isOf(name, 'sixty')));
  const byWork = called.filter(({ names }) => names.some((name) => isOf(name, 'work')));
  const sum = (list: readonly NamedStack[]) => list.reduce((total, { count }) => total + count, 0);
  // As in C: in the first instructions of a function its frame is not there yet.
  t.ok(sum(byWork) / sum(called) > 0.95, `sixty is called by work in ${sum(byWork)} of ${sum(called)} samples`);
});

t.test('waiting: as often and as long as the program did, by what it waited in', async (t) => {
  const program = join(await makeFolder(t), 'naps');
  compile('naps.c', program, CC);
  const cgroup = await makeCgroup(t);
  const profiler = startProfiler(t, HERTZ, true);
  profiler.watch(cgroup);
  // After a calm span each wait is looked at.
  await profiler.drain();
  await profiler.drain();
  const watchNaps = async () => {
    const start = performance.now();
    const child = runInside(cgroup, [program]);
    const exited = once(child, 'exit');
    // Names of its functions can be found while it is there, those of the kernel always.
    const all: NamedStack[] = [];
    while (child.exitCode === null && child.signalCode === null) {
      all.push(...named(await profiler.drain()));
      await Promise.race([exited, setTimeout(50)]);
    }
    const wall = (performance.now() - start) / 1000;
    const waits = [...all, ...named(await profiler.drain())].filter(({ kind }) => kind === 'off-cpu');
    const naps = waits.filter(({ names }) => names.includes('do_nanosleep'));
    const sum = (of: 'count' | 'seconds') => naps.reduce((total, each) => total + each[of], 0);
    const inNap = waits.filter(({ names }) => names.includes('nap') && names.includes('main'));
    return { wall, naps, inNap, count: sum('count'), seconds: sum('seconds') };
  };
  let seen = await watchNaps();
  // Lots are drawn where many waits come at once, as where a busy machine lets the program start in fits; and there it may
  // have ended before its functions are known.
  const isWhole = () => seen.count === 25 && seen.inNap.length > 0;
  for (let tries = 1; !isWhole() && tries < 4; tries += 1) seen = await watchNaps();
  const { wall, naps, inNap, count, seconds } = seen;
  t.equal(count, 25);
  t.ok(seconds >= 25 * 0.02 && seconds <= wall, `${seconds} s of ${wall} s`);
  t.ok(
    naps.every(({ names }) => names[0] === 'schedule'),
    'from what the kernel waits in',
  );
  t.ok(inNap.length > 0, `to what called it, not only ${naps[0]?.names}`);
});

t.test('waiting for a CPU: as the kernel itself accounts it', async (t) => {
  const cgroup = await makeCgroup(t);
  const profiler = native.createProfiler();
  t.teardown(async () => profiler.close());
  profiler.start();
  profiler.watch(cgroup);
  const spin = ['taskset', '-c', '0', 'sh', '-c', 'while :; do :; done'];
  const children = [runInside(cgroup, spin), runInside(cgroup, spin)];
  t.teardown(async () => {
    await Promise.all(children.map(end));
  });
  const accounted = async () => {
    const texts = await Promise.all(children.map(({ pid }) => readFile(`/proc/${pid}/schedstat`, 'utf8')));
    return texts.reduce((sum, text) => sum + Number(text.split(' ')[1]) / 1e9, 0);
  };
  const found = () => profiler.read().get(cgroup)?.runDelaySeconds ?? 0;
  // A busy machine may stop us between two looks, while both wait on: the kernel's are taken before and after ours.
  const look = async () => {
    const before = await accounted();
    return { before, found: found(), after: await accounted() };
  };
  await until(function someDelayIsSeen() {
    return found() > 0.2;
  });
  const first = await look();
  await until(function halfASecondMoreIsSeen() {
    return found() > first.found + 0.5;
  });
  const last = await look();
  const delay = last.found - first.found;
  const [least, most] = [last.before - first.after, last.after - first.before];
  t.ok(delay > 0.9 * least - 0.02 && delay < 1.1 * most + 0.02, `${delay} s, by the kernel ${least} to ${most} s`);
});

t.test('no sample goes to another component while 500 instances come and go and pids are used again', async (t) => {
  const folder = await makeFolder(t);
  const program = join(folder, 'named');
  const kinds = ['alpha', 'beta', 'gamma'];
  for (const kind of kinds) {
    compile('named.c', `${program}-${kind}`, [...CC, `-DNAME=${kind}`, '-DMILLISECONDS=8']);
    compile('named.c', `${program}-${kind}-lasting`, [...CC, `-DNAME=${kind}`, '-DMILLISECONDS=60000']);
  }
  const profiler = startProfiler(t, HERTZ);
  const kindOf = new Map<string, string>();
  const kindOfPid = new Map<number, string>();
  const all: NamedStack[] = [];
  let reused = 0;
  /** It ends by itself, or, `drain` given, when that is done. */
  const live = async (kind: string, drain?: () => Promise<void>) => {
    const cgroup = await makeCgroup(t);
    kindOf.set(cgroup, kind);
    profiler.watch(cgroup);
    const child = runInside(cgroup, [`${program}-${kind}${drain === undefined ? '' : '-lasting'}`]);
    const before = kindOfPid.get(child.pid as number);
    if (before !== undefined && before !== kind) reused += 1;
    kindOfPid.set(child.pid as number, kind);
    const ended = once(child, 'exit');
    await drain?.().finally(() => child.kill('SIGKILL'));
    await within(`the end of ${kind}`, WAIT_MS_MAX, ended);
    profiler.unwatch(cgroup);
    await removeCgroup(cgroup);
  };
  for (let first = 0; first < INSTANCES; first += AT_ONCE) {
    const [oldest = 0] = kindOfPid.keys();
    if (first % (2 * AT_ONCE) === 0) await reusePids(oldest);
    const kindAt = (i: number) => kinds[(first + first / AT_ONCE + i) % kinds.length] as string;
    // What is drained is of an instance that lives, of some that have just ended, and at times of many that are long gone.
    const drain = async () => {
      await Promise.race(others);
      all.push(...named(await profiler.drain()));
    };
    // On a slow machine all others have ended before it is noticed that one has.
    const lasting = live(kindAt(0), first % (4 * AT_ONCE) === 0 ? undefined : drain);
    const others = Array.from({ length: AT_ONCE - 1 }, (_, i) => live(kindAt(i + 1)));
    await Promise.all([lasting, ...others]);
  }
  all.push(...named(await profiler.drain()));
  t.comment(`${reused} pids were used again by another component`);
  const isOfAny = ({ names }: NamedStack) => kinds.some((kind) => names.includes(kind));
  const wrong = all.filter(({ cgroup, names }) =>
    kinds.some((kind) => names.includes(kind) && kindOf.get(cgroup) !== kind),
  );
  t.same(wrong, []);
  t.same(
    all.filter(({ cgroup }) => !kindOf.has(cgroup)),
    [],
    'nor to nobody',
  );
  t.ok(all.some(isOfAny), 'those that lived until a drain have names');
  t.ok(new Set(all.map(({ cgroup }) => cgroup)).size > INSTANCES / 2);
});

/** The next processes get the numbers from that one on, as far as they are free (proc(5), ns_last_pid). */
async function reusePids(pid: number): Promise<void> {
  if (pid < 2) return;
  await writeFile('/proc/sys/kernel/ns_last_pid', String(pid - 1)).catch((error: unknown) => {
    if (!['EACCES', 'EPERM', 'EROFS', 'ENOENT'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error;
  });
}

/**
 * What `perf record` at the same rate finds in the process for two seconds from now on, with data in a file named after
 * `path`; null where it does not run.
 */
async function perfSamples(
  { pid }: ChildProcess,
  path: string,
  callGraph: readonly string[] = [],
): Promise<Counted[] | null> {
  const file = `${path}.perf`;
  const clock = ['-e', 'cpu-clock', '-F', String(HERTZ), ...callGraph];
  const record = ['record', ...clock, '-o', file, '-p', String(pid), '--', 'sleep', '2'];
  const [code] = (await once(spawn('perf', record, { stdio: 'ignore' }), 'exit').catch(() => [1])) as [number];
  if (code !== 0) return null;
  const options = { encoding: 'utf8', maxBuffer: 2 ** 28 } as const;
  const { stdout } = spawnSync('perf', ['script', '-i', file, '-F', 'ip,sym', '--no-inline'], options);
  // Frames of one sample stand together. V8 writes what kind of code it is before a name.
  return stdout
    .split(callGraph.length > 0 ? /\n\n/ : /\n/)
    .map((sample) => sample.split('\n').map((line) => line.trim().replace(/^[0-9a-f]+ (JS:.?)?/, '')))
    .map((names) => ({ names, count: 1 }));
}

/** The shares are those that perf has found, as far as two samples may differ. */
async function agreesWithPerf(
  t: Test,
  stacks: readonly Counted[],
  found: Promise<Counted[] | null>,
  functions: readonly string[] = Object.keys(SHARES),
): Promise<void> {
  const samples = await found;
  if (samples === null) return t.comment('perf is not installed or cannot run here (apt-get install linux-perf)');
  for (const name of functions) {
    const [ours, perf] = [share(stacks, name, functions), share(samples, name, functions)];
    const bound = SIGMAS * Math.sqrt(perf.share * (1 - perf.share) * (1 / ours.all + 1 / perf.all));
    const text = `${name}: ${ours.share.toFixed(3)} of ${ours.all}, by perf ${perf.share.toFixed(3)} of ${perf.all}`;
    t.ok(perf.all > SAMPLES / 10 && Math.abs(ours.share - perf.share) < bound, text);
  }
}
