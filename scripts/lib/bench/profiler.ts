import { spawn } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { native } from '../../../native/index.js';
import { within } from '../until.js';
import { end, makeCgroups, removeCgroup } from './cgroups.js';
import { alone, compare, type Row } from './rows.js';

const ROUNDS = 8;
const ROUND_MS = 1_000;
const ANSWER_MS_MAX = 30_000;

/** Two processes that wake each other without end: as many switches of tasks a second as the machine can do. */
const PING_PONG = `
const { spawn } = require('node:child_process');
const other = spawn('cat', [], { stdio: ['pipe', 'pipe', 'inherit'] });
let count = 0;
other.stdout.on('data', () => { count += 1; other.stdin.write('x'); });
other.stdin.write('x');
process.stdin.on('data', () => { process.stdout.write(count + '\\n'); count = 0; });
process.stdin.on('end', () => other.kill());
`;

/** What the BPF profiler costs a load that does nothing but switch tasks, by turning it on and off in turns. */
export async function benchProfiler(): Promise<Row[]> {
  const [cgroup = ''] = await makeCgroups(1);
  const load = spawn(process.execPath, ['-e', PING_PONG], { stdio: ['pipe', 'pipe', 'inherit'] });
  // Its own child follows into the cgroup only if it is born there; both are moved before anything is counted.
  await writeFile(join(cgroup, 'cgroup.procs'), String(load.pid));
  const on: number[] = [];
  const off: number[] = [];
  let cost = { runs: 0, seconds: 0 };
  try {
    await trips(load);
    for (let round = 0; round < ROUNDS; round += 1) {
      off.push(await trips(load));
      const profiler = native.createProfiler();
      profiler.start();
      profiler.watch(cgroup);
      await trips(load, 100);
      const before = profiler.cost();
      on.push(await trips(load));
      const after = profiler.cost();
      cost = { runs: cost.runs + after.runs - before.runs, seconds: cost.seconds + after.seconds - before.seconds };
      profiler.close();
    }
  } finally {
    load.stdin.end();
    await end(load);
    await removeCgroup(cgroup);
  }
  const seconds = (ROUNDS * ROUND_MS) / 1000;
  return [
    compare('round trips between two processes, profiled', '1/s', 0.5, on, 'not profiled', off),
    alone('BPF program, each switch of tasks', 'ns', (cost.seconds / cost.runs) * 1e9),
    alone('switches of tasks at this load', '1/s', cost.runs / seconds),
    alone('BPF program at this load', '% of a core', (cost.seconds / seconds) * 100),
  ];
}

/** Round trips per second over the time. */
async function trips(load: ReturnType<typeof spawn>, ms = ROUND_MS): Promise<number> {
  await ask(load);
  const start = performance.now();
  await setTimeout(ms);
  const count = await ask(load);
  return (count * 1000) / (performance.now() - start);
}

function ask(load: ReturnType<typeof spawn>): Promise<number> {
  const answer = new Promise<number>((resolve) => {
    load.stdout?.once('data', (chunk: Buffer) => resolve(Number(chunk.toString())));
    load.stdin?.write('?');
  });
  return within('a count of round trips', ANSWER_MS_MAX, answer);
}
