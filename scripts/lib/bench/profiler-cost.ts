import { spawn } from 'node:child_process';
import { mkdtemp, readdir, readlink, rm } from 'node:fs/promises';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { native } from '../../../native/index.js';
import { LIMITS } from '../../../protocol/limits.js';
import { bccEnvironment } from '../kernel-headers.js';
import { until, within } from '../until.js';
import { end, makeCgroups, removeCgroup, spawnIn } from './cgroups.js';
import { cpuSeconds, residentMebibytes } from './process-use.js';
import { ProfilerLoad } from './profiler-load.js';
import { Profilers, ProfilersAlone, type Use, type Watched } from './profilers-alone.js';
import { alone, compare, comparePairs, type Row } from './rows.js';

/** For all variants together: with what else there is the benchmark takes twelve minutes. */
const EFFECTS_MS = process.env.SHOAL_BENCH_QUICK === '1' ? 40_000 : 120_000;
/** In each window the stacks are taken out once. */
const WINDOW_MS = LIMITS.profileDrainMs;
/** Until each process has been met, of which much is read once, what runs each second has been compiled, and files with debug information are read seldom. */
const WARM_MS = process.env.SHOAL_BENCH_QUICK === '1' ? 10_000 : 90_000;
const USE_MS = process.env.SHOAL_BENCH_QUICK === '1' ? 5_000 : 30_000;
const COUNT_MS = 4_000;
const INSTANCES = 100;
const TOOL_START_MS_MAX = 60_000;
const CALL_ROUNDS = 4;
const CALL_BYTES = 400_000;
const CALLS_MS_MAX = 60_000;
const HERTZ = LIMITS.profileHertzDefault;
const COMPLAINT_LENGTH_MAX = 300;

interface Running {
  use(): Promise<Use>;
  stop(): Promise<void>;
}

interface Variant {
  name: string;
  /** Another's tool, which may be missing here. */
  isPeer: boolean;
  start(): Promise<Running>;
}

/**
 * The cost of the profiler with a hundred busy instances: by its effect on the work they get done, turned on and off in
 * turns, beside perf and bcc's profile at the same rate; by the kernel's own count of the BPF programs' time; and of
 * the counting of system calls what each call takes longer.
 */
export async function benchProfilerCost(): Promise<Row[]> {
  const load = await ProfilerLoad.start(INSTANCES);
  const folder = await mkdtemp(join(tmpdir(), 'shoal-bench-'));
  try {
    const watched = { cgroups: load.cgroups, folder: join(folder, 'profiles'), systemCalls: false };
    const variants = [
      ours('stacks', { ...watched, activity: false }),
      ours('stacks and activity', { ...watched, activity: true }),
      perfRecord(join(folder, 'perf.data')),
      bccProfile(),
    ];
    const found = await effects(load, variants);
    return [
      ...found.map(effectRow),
      ...(await uses(found.map(({ variant }) => variant))),
      ...(await runTimes({ ...watched, activity: true, systemCalls: true })),
      ...(await callTimes()),
    ];
  } finally {
    await load.close();
    await rm(folder, { recursive: true, force: true });
  }
}

/** What was seen of a variant. */
interface Effect {
  variant: Variant;
  rates: number[];
  without: number[];
}

/**
 * In turns: without, with the first, without, with the second … Each window with one is compared with the two beside it,
 * since what others do on the machine changes from second to second. So many rounds as the time allows.
 */
async function effects(load: ProfilerLoad, variants: readonly Variant[]): Promise<Effect[]> {
  const deadlineMs = performance.now() + EFFECTS_MS;
  let left: Effect[] = variants.map((variant) => ({ variant, rates: [], without: [] }));
  let before = await load.rate(WINDOW_MS);
  do {
    for (const each of left) {
      try {
        const running = await each.variant.start();
        const rate = await load.rate(WINDOW_MS).finally(() => running.stop());
        const after = await load.rate(WINDOW_MS);
        each.rates.push(rate);
        each.without.push((before + after) / 2);
        before = after;
      } catch (error) {
        if (!each.variant.isPeer) throw error;
        // Not installed or not allowed here: the others are compared.
        left = left.filter((other) => other !== each);
        process.stderr.write(`${each.variant.name} is left out: ${(error as Error).message}\n`);
      }
    }
  } while (performance.now() < deadlineMs);
  return left;
}

function effectRow({ variant, rates, without }: Effect): Row {
  const metric = `work for each second of CPU, ${variant.name} at ${HERTZ} Hz, ${rates.length} windows`;
  return comparePairs(metric, '1/s', rates, 'without', without);
}

/** What each takes in user space once it knows the processes, one after the other. */
async function uses(variants: readonly Variant[]): Promise<Row[]> {
  const rows: Row[] = [];
  for (const variant of variants) {
    const running = await variant.start();
    try {
      await setTimeout(WARM_MS);
      const { cpuShare, mebibytes } = await useOver(running.use);
      rows.push(
        alone(`user space, ${variant.name}`, '% of all CPUs', (100 * cpuShare) / cpus().length),
        alone(`memory, ${variant.name}`, 'MiB', mebibytes),
      );
    } finally {
      await running.stop();
    }
  }
  return rows;
}

/** In CPU-seconds a second of wall time, and the memory at the end. */
async function useOver(use: Running['use']): Promise<{ cpuShare: number; mebibytes: number }> {
  const before = await use();
  const start = performance.now();
  await setTimeout(USE_MS);
  const after = await use();
  const cpuShare = ((after.cpuSeconds - before.cpuSeconds) * 1000) / (performance.now() - start);
  return { cpuShare, mebibytes: after.mebibytes };
}

/** All as the agent runs it, in a process of its own. */
function ours(name: string, watched: Watched): Variant {
  return {
    name,
    isPeer: false,
    async start() {
      const alone = await ProfilersAlone.start(watched);
      return { use: () => alone.use(), stop: () => alone.close() };
    },
  };
}

/** Counting them makes them dearer by two readings of a clock, so this is no part of the effects. */
async function runTimes(watched: Watched): Promise<Row[]> {
  const profilers = new Profilers(watched);
  const parts = [
    ['stacks', profilers.stacks],
    ['CPU time', profilers.cpu],
    ['activity with system calls', profilers.activity],
  ] as const;
  try {
    await profilers.begin();
    const before = parts.map(([, each]) => each.cost());
    const start = performance.now();
    const fromMs = Date.now();
    await setTimeout(COUNT_MS);
    const seconds = (performance.now() - start) / 1000;
    const rows = parts.flatMap(([name, each], i) => {
      const runs = each.cost().runs - (before[i]?.runs ?? 0);
      const spent = each.cost().seconds - (before[i]?.seconds ?? 0);
      return [
        alone(
          `BPF of ${name}, ${watched.cgroups.length} busy instances`,
          '% of all CPUs',
          (100 * spent) / seconds / cpus().length,
        ),
        alone(`BPF of ${name}, each run`, 'ns', (1e9 * spent) / runs),
        alone(`BPF of ${name}, runs`, '1/s', runs / seconds),
      ];
    });
    const taken = alone('samples taken', '1/s', (await profilers.samples(fromMs, Date.now())) / seconds);
    return [...rows, taken, alone('samples lost', '1', profilers.lost)];
  } finally {
    await profilers.close();
  }
}

/** Of reads and writes of one byte, which do nothing else: not counted, of others, and of a watched cgroup. */
async function callTimes(): Promise<Row[]> {
  const [inside = '', outside = ''] = await makeCgroups(2);
  const figures = { without: [] as number[], others: [] as number[], watched: [] as number[] };
  try {
    for (let round = 0; round < CALL_ROUNDS; round += 1) {
      figures.without.push(await callTime(inside));
      const profiler = native.createActivityProfiler();
      profiler.start(true);
      profiler.watch(inside);
      figures.watched.push(await callTime(inside));
      figures.others.push(await callTime(outside));
      profiler.close();
    }
    const { without, others, watched } = figures;
    return [
      compare('a system call of others, with system calls counted', 'ns', 0.5, others, 'not counted', without),
      compare('a system call of an instance, with system calls counted', 'ns', 0.5, watched, 'not counted', without),
    ];
  } finally {
    await Promise.all([inside, outside].map(removeCgroup));
  }
}

/** CPU time of each, in ns. */
async function callTime(cgroup: string): Promise<number> {
  const copy = `TIMEFORMAT='%U %S'; time dd if=/dev/zero of=/dev/null bs=1 count=${CALL_BYTES} 2>/dev/null`;
  const child = spawnIn(cgroup, ['bash', '-c', copy], { stdio: ['ignore', 'ignore', 'pipe'] });
  let text = '';
  child.stderr?.on('data', (chunk: Buffer) => {
    text += chunk.toString();
  });
  const closed = new Promise((resolve) => child.once('close', resolve));
  try {
    await within('dd to copy its bytes', CALLS_MS_MAX, closed);
  } finally {
    await end(child);
  }
  const [user = Number.NaN, system = Number.NaN] = text.trim().split(' ').map(Number);
  return ((user + system) * 1e9) / (2 * CALL_BYTES);
}

function perfRecord(file: string): Variant {
  return tool('perf record', 'perf', ['record', '-a', '-g', '-e', 'cpu-clock', '-F', String(HERTZ), '-o', file]);
}

function bccProfile(): Variant {
  return tool('bcc profile', 'profile-bpfcc', ['-F', String(HERTZ)], bccEnvironment);
}

function tool(
  name: string,
  program: string,
  words: readonly string[],
  environment: () => Promise<NodeJS.ProcessEnv> = async () => ({}),
): Variant {
  return {
    name,
    isPeer: true,
    async start() {
      const env = { ...process.env, ...(await environment()) };
      const child = spawn(program, words, { stdio: ['ignore', 'ignore', 'pipe'], env });
      let complaint = '';
      child.stderr.on('data', (chunk: Buffer) => {
        complaint = (complaint + chunk.toString()).slice(-COMPLAINT_LENGTH_MAX);
      });
      const spawned = new Promise((resolve, reject) => {
        child.once('spawn', resolve);
        child.once('error', reject);
      });
      await within(`the start of ${program}`, TOOL_START_MS_MAX, spawned);
      try {
        await until(async function theToolHasOpenedItsClocks() {
          if (child.exitCode !== null) throw new Error(`${program} ended with ${child.exitCode}: ${complaint.trim()}`);
          return await hasClocks(child.pid ?? 0);
        }, TOOL_START_MS_MAX);
      } catch (error) {
        await end(child);
        throw error;
      }
      return {
        use: async () => ({
          cpuSeconds: await cpuSeconds(child.pid ?? 0),
          mebibytes: await residentMebibytes(child.pid ?? 0),
        }),
        // What it makes of the samples is thrown away.
        stop: () => end(child),
      };
    },
  };
}

/** Whether the process holds perf events. */
async function hasClocks(pid: number): Promise<boolean> {
  const folder = `/proc/${pid}/fd`;
  const names = await readdir(folder).catch(() => []);
  const targets = await Promise.all(names.map((name) => readlink(join(folder, name)).catch(() => '')));
  return targets.some((target) => target.includes('perf_event'));
}
