import { once } from 'node:events';
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { pino } from 'pino';
import t, { type Test } from 'tap';
import { InstanceWatches } from '../../agent/instance-watches.js';
import { ProfileRecorder } from '../../agent/profiles/recorder.js';
import { type DrainedStacks, native } from '../../native/index.js';
import type { ProfileKind } from '../../protocol/profile.js';
import { until, within } from '../../scripts/lib/until.js';
import { compile, end, makeCgroup, makeFolder, runFed, runInside, startProfiler } from './workload.js';

const HERTZ = 997;
const WAIT_MS_MAX = 60_000;
/** As native/src/profiler/stacks.h, activity.h and cpu_time.h say. */
const STACKS_MAX = 8_192;
const WAIT_STACKS_MAX = 4_096;
const WAITS_MAX = 4_096;
const DETAILS_MAX = 16_384;
const CGROUPS_MAX = 4_096;
const NAPS = WAIT_STACKS_MAX + 400;
const THREADS = WAITS_MAX + 400;
const PEERS = DETAILS_MAX + 1_000;
/** That still have places, so that fewer are left to fill. */
const NAPS_KEPT = WAIT_STACKS_MAX - 200;
const SAMPLES = STACKS_MAX - NAPS_KEPT + 1_000;
const BURNERS = 2;
/** Of other kinds. */
const OTHERS_MAX = 20;
const OWNER = { app: 'a', component: 'flood' };
const CALM = { app: 'a', component: 'calm' };
const quiet = pino({ level: 'silent' });

const program = join(await makeFolder(t), 'floods');
compile('floods.c', program, ['cc', '-O0', '-fno-omit-frame-pointer', '-pthread']);

/** A program that does what it is told, with its orders. */
async function startFlood(t: Test, cgroup: string) {
  const child = runFed(cgroup, [program]);
  t.teardown(() => end(child));
  const lines = createInterface({ input: child.stdout as NodeJS.ReadableStream })[Symbol.asyncIterator]();
  const order = async (words: string) => {
    child.stdin?.write(`${words}\n`);
    t.equal((await within(words, WAIT_MS_MAX, lines.next())).value, 'done');
  };
  /** Waits that have begun, by the kernel's own account. */
  const waits = async () => {
    const status = await readFile(`/proc/${child.pid}/status`, 'utf8');
    return Number(/^voluntary_ctxt_switches:\t(\d+)$/m.exec(status)?.[1]);
  };
  return { child, order, waits };
}

/** As the agent has it, but that a second passes when the test says so. */
async function startRecorder(t: Test) {
  const folder = await makeFolder(t);
  const stacks = startProfiler(t, HERTZ, true);
  const activity = native.createActivityProfiler();
  const cpu = native.createProfiler();
  t.teardown(async () => activity.close());
  t.teardown(async () => cpu.close());
  activity.start(false);
  cpu.start();
  let last: DrainedStacks['stacks'] = [];
  const drain = async () => {
    const drained = await stacks.drain();
    last = drained.stacks;
    return drained;
  };
  const profiler = {
    start: () => ({}),
    watch: (path: string) => stacks.watch(path),
    unwatch: (path: string) => stacks.unwatch(path),
    drain,
    cost: () => stacks.cost(),
    close: () => stacks.close(),
  };
  let nowMs = 1_000_000;
  const recorder = new ProfileRecorder({ profiler, activity, hertz: HERTZ, folder, clock: () => nowMs, log: quiet });
  const round = async () => {
    nowMs += 1_000;
    await recorder.round();
    return last;
  };
  /** Of the last round. */
  const read = (owner: typeof OWNER, kind: ProfileKind) =>
    recorder.read({ ...owner, kind, fromMs: nowMs - 1_000, toMs: nowMs });
  /** After a calm second each wait is looked at. */
  const becalm = async () => {
    for (let i = 0; i < 2; i += 1) await round();
  };
  const watches = new InstanceWatches({ cpu, activity, recorder }, quiet);
  const watch = (cgroup: string, owner: typeof OWNER) => watches.watch(cgroup, owner);
  return { activity, cpu, recorder, round, read, becalm, watch, watches };
}

/** A wait that is over before the CPU has let go of its task is one to the kernel's count, and none to us. */
const isAbout = (told: number, waits: number) => told > 0.93 * waits - 3 && told < waits + OTHERS_MAX;

const sum = (stacks: readonly { count: number }[]) => stacks.reduce((total, { count }) => total + count, 0);
const secondsOf = (stacks: readonly { seconds: number }[]) => stacks.reduce((total, { seconds }) => total + seconds, 0);

t.test(
  'more different stacks than there is room for: what is lost is counted and told, others lose nothing',
  async (t) => {
    const { cpu, recorder, round, read, becalm, watch } = await startRecorder(t);
    const [cgroup, other] = [await makeCgroup(t), await makeCgroup(t)];
    watch(cgroup, OWNER);
    watch(other, CALM);
    const { order, waits } = await startFlood(t, cgroup);
    const calm = runInside(other, ['sh', '-c', 'while :; do :; done']);
    t.teardown(() => end(calm));
    await round();
    const ran = () => cpu.read().get(other)?.cpuSeconds ?? Number.NaN;
    // Its samples are those between two drains: it is looked before and after each.
    const began = { before: ran(), after: await round().then(ran) };

    const before = { lost: recorder.figures().samplesLost, waits: await waits() };
    await order(`naps ${NAPS}`);
    const waited = (await waits()) - before.waits;
    const atEnd = ran();
    const stacks = (await round()).filter(({ kind }) => kind === 'off-cpu');
    const [least, most] = [atEnd - began.after, ran() - began.before];
    const lost = recorder.figures().samplesLost - before.lost;
    t.equal(stacks.length, WAIT_STACKS_MAX, 'waits leave room for what runs on a CPU');
    t.ok(lost > 0);
    const told = sum(stacks) + lost;
    t.ok(isAbout(told, waited), `${told} waits are told or counted as lost, by the kernel ${waited}`);
    t.equal((await read(OWNER, 'off-cpu')).lost, lost, 'profiles of that second say so');
    t.equal((await read(CALM, 'cpu')).lost, lost);
    const sampled = secondsOf((await read(CALM, 'cpu')).stacks);
    const bound = 0.03 * most + 5 / HERTZ;
    t.ok(
      sampled > least - bound && sampled < most + bound,
      `the other ran for ${least} to ${most} s, and ${sampled} s are in its profile`,
    );

    await becalm();
    const after = recorder.figures().samplesLost;
    const waitsBefore = await waits();
    await order('naps 100');
    const naps = (await waits()) - waitsBefore;
    await round();
    const toldNow = sum((await read(OWNER, 'off-cpu')).stacks);
    t.ok(isAbout(toldNow, naps), `${toldNow} of ${naps} waits are told when there is room again`);
    t.equal(recorder.figures().samplesLost, after);
  },
);

t.test('more different stacks on CPUs than there is room for: lost samples are counted and told', async (t) => {
  const { cpu, recorder, round, read, becalm, watch } = await startRecorder(t);
  const [cgroup, other] = [await makeCgroup(t), await makeCgroup(t)];
  watch(cgroup, OWNER);
  watch(other, CALM);
  const napper = await startFlood(t, cgroup);
  const burners = await Promise.all(Array.from({ length: BURNERS }, () => startFlood(t, other)));
  const burn = (ms: number) => Promise.all(burners.map(({ order }) => order(`burn ${ms}`)));
  await becalm();
  const began = { lost: recorder.figures().samplesLost, ran: ran() };
  function ran() {
    return cpu.read().get(other)?.cpuSeconds ?? Number.NaN;
  }
  await napper.order(`naps ${NAPS_KEPT}`);
  await burn(Math.ceil((SAMPLES / HERTZ / BURNERS) * 1000));
  const stacks = await round();
  const expected = (ran() - began.ran) * HERTZ;
  const lost = recorder.figures().samplesLost - began.lost;
  t.equal(stacks.length, STACKS_MAX, 'all places are taken');
  t.ok(lost > 0);
  const told = sum((await read(CALM, 'cpu')).stacks) + lost;
  const bound = 0.03 * expected + 5 * Math.sqrt(expected);
  t.ok(Math.abs(told - expected) < bound, `${told} samples are told or counted as lost, by the clock ${expected}`);
  t.equal((await read(CALM, 'cpu')).lost, lost, 'profiles of that second say so');

  await burn(200);
  await round();
  const again = await read(CALM, 'cpu');
  t.ok(sum(again.stacks) > (0.2 * BURNERS * HERTZ) / 2, 'there is room again');
  t.same([again.lost, recorder.figures().samplesLost - began.lost], [0, lost]);
});

t.test('more threads that wait than can be known at once: the longest waits are given up, and counted', async (t) => {
  const { recorder, round, becalm, watch, read } = await startRecorder(t);
  const cgroup = await makeCgroup(t);
  watch(cgroup, OWNER);
  const { child, order } = await startFlood(t, cgroup);
  await becalm();
  await order(`threads ${THREADS}`);
  await round();
  const lost = recorder.figures().samplesLost;
  // The last ones may still be on their way to their wait.
  t.ok(lost >= THREADS - WAITS_MAX - OTHERS_MAX, `${lost} waits are counted as lost`);
  child.kill('SIGKILL');
  await within('its end', WAIT_MS_MAX, once(child, 'exit'));
  const next = await startFlood(t, cgroup);
  await becalm();
  t.equal(recorder.figures().samplesLost, lost);
  const before = await next.waits();
  await next.order('naps 100');
  const waited = (await next.waits()) - before;
  await round();
  const told = sum((await read(OWNER, 'off-cpu')).stacks);
  t.ok(isAbout(told, waited), `${told} of ${waited} waits are told when they have ended`);
  t.equal(recorder.figures().samplesLost, lost);
});

t.test('more peers than there is room for: sums stay exact, what has no place is counted and told', async (t) => {
  const { activity, recorder, round, read, watch } = await startRecorder(t);
  const cgroup = await makeCgroup(t);
  watch(cgroup, OWNER);
  const { order } = await startFlood(t, cgroup);
  await round();
  await order(`peers ${PEERS}`);
  t.equal(activity.read().get(cgroup)?.connectsFailed, PEERS);
  await round();
  const { stacks, lost } = await read(OWNER, 'peers');
  t.ok(stacks.length <= DETAILS_MAX);
  const told = sum(stacks) + lost;
  t.ok(told >= PEERS && told < PEERS + OTHERS_MAX, `${told} are told or counted as lost`);
  t.ok(lost >= PEERS - DETAILS_MAX, `${lost} found no place`);
  t.equal(recorder.figures().countsLost, lost);
  await order('peers 10');
  await round();
  const again = await read(OWNER, 'peers');
  t.match(again.functions[0], { name: /^a\/flood 127\.16\.0\.\d+:1$/, file: '[connect failed]' });
  t.same([again.stacks.length, sum(again.stacks), again.lost], [10, 10, 0], 'there is room again');
  t.equal(activity.read().get(cgroup)?.connectsFailed, PEERS + 10);
});

t.test('more cgroups than can be watched: the last one is when another has gone', async (t) => {
  const { activity, cpu, round, watch, watches, read } = await startRecorder(t);
  // Any folder does: it is known by its number alone.
  const folder = await makeFolder(t);
  const idle = Array.from({ length: CGROUPS_MAX }, (_, place) => join(folder, String(place)));
  await Promise.all(idle.map((path) => mkdir(path)));
  for (const path of idle) watch(path, CALM);
  await until(async function theKernelHasHadMemoryForAll() {
    watches.retry();
    return cpu.read().size === CGROUPS_MAX && activity.read().size === CGROUPS_MAX;
  });
  const cgroup = await makeCgroup(t);
  const measured = () => [cpu.read().has(cgroup), activity.read().has(cgroup)];
  watch(cgroup, OWNER);
  t.same(measured(), [false, false], 'there is no place, and nothing is thrown');
  watches.unwatch(idle[0] ?? '');
  await until(async function itIsWatched() {
    watches.retry();
    return measured().every((each) => each);
  });
  const { order } = await startFlood(t, cgroup);
  await order('peers 3');
  await round();
  t.equal(sum((await read(OWNER, 'peers')).stacks), 3);
});
