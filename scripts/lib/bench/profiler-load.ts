import type { ChildProcess } from 'node:child_process';
import { readFile, rm } from 'node:fs/promises';
import { cpus } from 'node:os';
import { setTimeout } from 'node:timers/promises';
import { retry, within } from '../until.js';
import { end, makeCgroups, removeCgroup, spawnIn, yieldCpu } from './cgroups.js';

const ANSWER_MS_MAX = 30_000;

/**
 * Does rounds of work as a service does: computes in a function with a few callers, reads from the kernel, and takes
 * fresh memory. Says how many rounds when asked.
 */
const WORKER = `
const { openSync, readSync } = require('node:fs');
const zeros = openSync('/dev/zero', 'r');
let count = 0;
const leaf = (n) => { let sum = 0; for (let i = 0; i < n; i += 1) sum = Math.imul(sum ^ i, 1664525) | 0; return sum; };
const middle = (n) => leaf(n) + 1;
const round = () => { middle(50000); readSync(zeros, Buffer.allocUnsafeSlow(65536), 0, 65536, null); count += 1; };
const turn = () => { for (let i = 0; i < 10; i += 1) round(); setImmediate(turn); };
process.stdin.on('data', () => { process.stdout.write(count + '\\n'); count = 0; });
turn();
`;

/** Busy shells that take what nobody else wants, and as many workers as there are CPUs, whose work is counted. */
export class ProfilerLoad {
  readonly #workers: ChildProcess[] = [];
  readonly #shells: ChildProcess[] = [];
  #cgroups: string[] = [];

  static async start(shells: number): Promise<ProfilerLoad> {
    const load = new ProfilerLoad();
    try {
      await load.#start(shells);
    } catch (error) {
      await load.close();
      throw error;
    }
    return load;
  }

  /** Of all that is busy. */
  get cgroups(): readonly string[] {
    return this.#cgroups;
  }

  async #start(shells: number): Promise<void> {
    this.#cgroups = await makeCgroups(shells + cpus().length);
    const words = ['nice', '-n', '19', 'sh', '-c', 'while :; do :; done'];
    for (const cgroup of this.#cgroups.slice(0, shells)) {
      await yieldCpu(cgroup);
      this.#shells.push(spawnIn(cgroup, words, { stdio: 'ignore' }));
    }
    const flags = '--perf-basic-prof-only-functions --interpreted-frames-native-stack';
    const env = { ...process.env, NODE_OPTIONS: flags };
    for (const cgroup of this.#cgroups.slice(shells))
      this.#workers.push(
        spawnIn(cgroup, [process.execPath, '-e', WORKER], { stdio: ['pipe', 'pipe', 'inherit'], env }),
      );
    await retry('all workers work', ANSWER_MS_MAX, async () => {
      if ((await this.#done()) === 0) throw new Error('no rounds yet');
    });
  }

  /** Rounds of work of all workers for each second of their own CPU time: what others do on the machine changes it less. */
  async rate(ms: number): Promise<number> {
    await this.#done();
    const before = await this.#cpuSeconds();
    await setTimeout(ms);
    const count = await this.#done();
    return count / ((await this.#cpuSeconds()) - before);
  }

  async close(): Promise<void> {
    const all = [...this.#workers, ...this.#shells];
    await Promise.all(all.map((each) => end(each)));
    await Promise.all(this.#workers.map(({ pid }) => rm(`/tmp/perf-${pid}.map`, { force: true })));
    await Promise.all(this.#cgroups.map(removeCgroup));
  }

  async #done(): Promise<number> {
    const counts = this.#workers.map((each) => {
      const answer = new Promise<number>((resolve) => {
        each.stdout?.once('data', (chunk: Buffer) => resolve(Number(chunk.toString())));
        each.stdin?.write('?');
      });
      return within("a worker's count of its rounds", ANSWER_MS_MAX, answer);
    });
    return (await Promise.all(counts)).reduce((sum, each) => sum + each, 0);
  }

  /** Of their main threads, which do the work: to the nanosecond, other than in /proc/PID/stat. */
  async #cpuSeconds(): Promise<number> {
    const texts = await Promise.all(this.#workers.map(({ pid }) => readFile(`/proc/${pid}/schedstat`, 'utf8')));
    return texts.reduce((sum, text) => sum + Number(text.split(' ')[0]) / 1e9, 0);
  }
}
