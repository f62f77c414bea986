import { type ChildProcess, spawn } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, rmdir } from 'node:fs/promises';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { native } from '../../../native/index.js';
import { LIMITS } from '../../../protocol/limits.js';
import { alone, compare, type Row } from './rows.js';

const ROUNDS = 4;
const ROUND_MS = 2_000;
const COST_MS = 5_000;
const INSTANCES = 100;
const TICKS_PER_SECOND = 100;

/** Counts rounds of work in a function with a few callers; says how many when asked. */
const WORKER = `
let count = 0;
const leaf = (n) => { let sum = 0; for (let i = 0; i < n; i += 1) sum = Math.imul(sum ^ i, 1664525) | 0; return sum; };
const middle = (n) => leaf(n) + 1;
const turn = () => { for (let i = 0; i < 20; i += 1) { middle(5000); count += 1; } setImmediate(turn); };
process.stdin.on('data', () => { process.stdout.write(count + '\\n'); count = 0; });
turn();
`;

type Profiler = { name: string; start(): Promise<() => Promise<void>> };

/**
 * The cost of stacks at the usual rate: what as many busy instances as there are cores get done with and without, beside
 * bcc's profile and perf at the same rate; and with a hundred busy instances what the BPF programs and the thread that
 * names functions take.
 */
export async function benchProfilerStacks(): Promise<Row[]> {
  return [...(await benchWork()), ...(await benchCost())];
}

async function benchWork(): Promise<Row[]> {
  const cgroups = await makeCgroups(cpus().length);
  const load = cgroups.map(startWorker);
  const folder = await mkdtemp(join(tmpdir(), 'shoal-bench-'));
  const profilers: Profiler[] = [
    new StacksRun(cgroups),
    tool('perf', 'perf', ['record', '-a', '-g', '-e', 'cpu-clock', '-F', '99', '-o', join(folder, 'perf.data')]),
    tool('bcc profile', 'profile-bpfcc', ['-F', '99', '-f', '3600']),
  ];
  try {
    const off: number[] = [];
    const on = new Map<string, number[]>(profilers.map(({ name }) => [name, []]));
    for (let round = 0; round < ROUNDS; round += 1) {
      off.push(await rate(load));
      for (const each of profilers) {
        const stop = await each.start().catch(() => null);
        // Not installed, or not allowed here: the others are compared.
        if (stop === null) continue;
        on.get(each.name)?.push(await rate(load));
        await stop();
      }
    }
    return [...on].flatMap(([name, values]) =>
      values.length === 0
        ? []
        : [compare(`work for each second of CPU, ${name} at 99 Hz`, '1/s', 0.5, values, 'without', off)],
    );
  } finally {
    await Promise.all(load.map(end));
    await Promise.all(cgroups.map(removeWhenEmpty));
    await rm(folder, { recursive: true, force: true });
  }
}

async function benchCost(): Promise<Row[]> {
  const cgroups = await makeCgroups(INSTANCES);
  const load = cgroups.map((cgroup) => spawn('sh', [...inCgroup(cgroup), 'sh', '-c', 'while :; do :; done']));
  const ours = new StacksRun(cgroups);
  try {
    const stop = await ours.start();
    await setTimeout(COST_MS);
    await stop();
    return ours.rows();
  } finally {
    await Promise.all(load.map(end));
    await Promise.all(cgroups.map(removeWhenEmpty));
  }
}

/** Our profiler as the agent runs it, with what it costs. */
class StacksRun implements Profiler {
  readonly name = 'stacks';
  #seconds = 0;
  #bpfSeconds = 0;
  #bpfRuns = 0;
  #processSeconds = 0;
  #samples = 0;
  #lost = 0;

  constructor(private readonly cgroups: readonly string[]) {}

  async start(): Promise<() => Promise<void>> {
    const profiler = native.createStackProfiler();
    profiler.start(LIMITS.profileHertzDefault, true);
    for (const cgroup of this.cgroups) profiler.watch(cgroup);
    // The first round reads the tables of the programs; that is paid once in the life of an agent.
    await setTimeout(500);
    await profiler.drain();
    const before = { cost: profiler.cost(), cpu: process.cpuUsage(), at: performance.now() };
    const drain = async () => {
      const { stacks, lost } = await profiler.drain();
      for (const { kind, count } of stacks) this.#samples += kind === 'cpu' ? count : 0;
      this.#lost = lost;
    };
    let working = Promise.resolve();
    const timer = setInterval(() => {
      working = working.then(drain);
    }, LIMITS.profileDrainMs);
    return async () => {
      clearInterval(timer);
      await working;
      const cost = profiler.cost();
      const { user, system } = process.cpuUsage(before.cpu);
      this.#seconds += (performance.now() - before.at) / 1000;
      this.#bpfSeconds += cost.seconds - before.cost.seconds;
      this.#bpfRuns += cost.runs - before.cost.runs;
      this.#processSeconds += (user + system) / 1e6;
      profiler.close();
    };
  }

  rows(): Row[] {
    const cores = this.#seconds * cpus().length;
    return [
      alone(`BPF of stacks, ${this.cgroups.length} busy instances`, '% of all CPUs', (100 * this.#bpfSeconds) / cores),
      alone('BPF of stacks, each run', 'ns', (1e9 * this.#bpfSeconds) / this.#bpfRuns),
      alone('draining and naming, with this benchmark', '% of all CPUs', (100 * this.#processSeconds) / cores),
      alone('samples taken', '1/s', this.#samples / this.#seconds),
      alone('samples lost', '1', this.#lost),
      alone('memory of this process', 'MiB', process.memoryUsage.rss() / 2 ** 20),
    ];
  }
}

function tool(name: string, program: string, words: readonly string[]): Profiler {
  return {
    name,
    async start() {
      const child = spawn(program, words, { stdio: 'ignore' });
      await new Promise((resolve, reject) => {
        child.once('spawn', resolve);
        child.once('error', reject);
      });
      // It compiles or opens its events first.
      await setTimeout(3_000);
      if (child.exitCode !== null) throw new Error(`${program} does not run here`);
      return async () => {
        const exited = new Promise((resolve) => child.once('exit', resolve));
        child.kill('SIGINT');
        await exited;
      };
    },
  };
}

async function makeCgroups(count: number): Promise<string[]> {
  const names = Array.from({ length: count }, (_, i) => join('/sys/fs/cgroup', `shoal-bench-${process.pid}-${i}`));
  await Promise.all(names.map((name) => mkdir(name)));
  return names;
}

/** Words for a shell that runs the command after them in the cgroup. */
function inCgroup(cgroup: string): string[] {
  return ['-c', 'echo $$ > "$0"/cgroup.procs && exec "$@"', cgroup];
}

function startWorker(cgroup: string): ChildProcess {
  const options = '--perf-basic-prof-only-functions --interpreted-frames-native-stack';
  const words = [...inCgroup(cgroup), process.execPath, '-e', WORKER];
  return spawn('sh', words, { stdio: ['pipe', 'pipe', 'inherit'], env: { ...process.env, NODE_OPTIONS: options } });
}

/** Rounds of work of all per second of their own CPU time: what others do on the machine changes it less. */
async function rate(load: readonly ChildProcess[]): Promise<number> {
  await done(load);
  const before = await cpuSeconds(load);
  await setTimeout(ROUND_MS);
  const count = await done(load);
  return count / ((await cpuSeconds(load)) - before);
}

async function done(load: readonly ChildProcess[]): Promise<number> {
  const counts = load.map(
    (each) =>
      new Promise<number>((resolve) => {
        each.stdout?.once('data', (chunk: Buffer) => resolve(Number(chunk.toString())));
        each.stdin?.write('?');
      }),
  );
  return (await Promise.all(counts)).reduce((sum, each) => sum + each, 0);
}

async function cpuSeconds(load: readonly ChildProcess[]): Promise<number> {
  const texts = await Promise.all(load.map(({ pid }) => readFile(`/proc/${pid}/stat`, 'utf8')));
  // utime and stime, the 14th and 15th field of proc(5); the name before them may hold blanks.
  const ticks = texts.map((text) =>
    text
      .slice(text.lastIndexOf(')') + 2)
      .split(' ')
      .slice(11, 13),
  );
  return ticks.flat().reduce((sum, each) => sum + Number(each), 0) / TICKS_PER_SECOND;
}

async function end(child: ChildProcess): Promise<void> {
  const exited = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGKILL');
  await exited;
  await rm(`/tmp/perf-${child.pid}.map`, { force: true });
}

async function removeWhenEmpty(cgroup: string): Promise<void> {
  for (;;) {
    try {
      await rmdir(cgroup);
      return;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EBUSY') throw error;
      await setTimeout(10);
    }
  }
}
