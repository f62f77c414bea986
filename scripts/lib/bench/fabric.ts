import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { access } from 'node:fs/promises';
import { createServer } from 'node:net';
import { resolve } from 'node:path';
import { promisify } from 'node:util';
import { packageRoot } from '../../../native/index.js';
import { retry } from '../until.js';
import { benchFabricIdle, SHORT_WATCH_MS } from './fabric-idle.js';
import { benchFabricJs } from './fabric-js.js';
import { compare, type Row } from './rows.js';

const run = promisify(execFile);
const ROUNDS = 10;
const UCX_PERFTEST = '/usr/bin/ucx_perftest';
const UCX_TRIPS = '20000';
const UCX_MS_MAX = 30_000;
const ROUDI = '/usr/bin/iox-roudi';
const ICEORYX_MS_MAX = 60_000;
const LARGE_BYTES = 64 * 1024;

/** What native/bench/fabric_bench.cc prints for one measurement of one round: nanoseconds one way, or a rate. */
interface Latency {
  name: string;
  p50: number;
  p99: number;
  max: number;
}
interface Rate {
  name: string;
  perSecond: number;
}

/** Rings between two processes: native beside what they are made from, then between two Node processes. */
export async function benchFabric(): Promise<Row[]> {
  const { latencies, rates } = await measureNative();
  const ucx = await measureUcx();
  const iceoryx = await measureIceoryx();
  const latency = (ours: string, theirs: string) =>
    (['p50', 'p99', 'max'] as const).map((key) =>
      compare(
        `64 B one way, ${ours}, ${key}`,
        'ns',
        0.5,
        of(latencies, ours).map((one) => one[key]),
        theirs,
        of(latencies, theirs).map((one) => one[key]),
      ),
    );
  const rate = (metric: string, unit: string, scale: number, ours: string, theirs: string) =>
    compare(
      metric,
      unit,
      0.5,
      of(rates, ours).map((one) => one.perSecond * scale),
      theirs,
      of(rates, theirs).map((one) => one.perSecond * scale),
    );
  const spinning = of(latencies, 'ring, spinning').map((one) => one.p50);
  return [
    ...latency('ring, spinning', 'bare cache line'),
    ...(ucx.length === 0
      ? []
      : [compare('64 B one way, ring, spinning, p50', 'ns', 0.5, spinning, 'ucx_perftest ucp_am_lat, posix', ucx)]),
    ...(iceoryx.length === 0
      ? []
      : [compare('64 B one way, ring, spinning, p50', 'ns', 0.5, spinning, 'iceoryx, polling', iceoryx)]),
    ...['eventfd', 'futex', 'unix socket'].flatMap((peer) => latency('ring, sleeping', peer)),
    rate('64 B records, in batches of 32', '1/s', 1, 'ring, 64 B', 'unix socket, 64 B'),
    rate('64 KiB records', 'GB/s', LARGE_BYTES / 1e9, 'ring, 64 KiB', 'memcpy, 64 KiB'),
    rate('64 KiB records, past the caches', 'GB/s', LARGE_BYTES / 1e9, 'ring, 64 KiB, streamed', 'memcpy, 64 KiB'),
    ...(await benchFabricJs()),
    ...(await benchFabricIdle(SHORT_WATCH_MS)),
  ];
}

function of<T extends { name: string }>(all: readonly T[], name: string): T[] {
  return all.filter((one) => one.name === name);
}

async function measureNative(): Promise<{ latencies: Latency[]; rates: Rate[] }> {
  const root = packageRoot();
  const folder = resolve(root, 'build/native-bench');
  const options = ['-DSHOAL_BENCH=ON', '-DCMAKE_BUILD_TYPE=Release'];
  await run('cmake', ['-S', resolve(root, 'native'), '-B', folder, ...options]);
  await run('cmake', ['--build', folder, '--target', 'fabric-bench']);
  const { stdout } = await run(resolve(folder, 'fabric-bench'), [String(ROUNDS)]);
  const lines = stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Latency | Rate);
  return {
    latencies: lines.filter((line): line is Latency => 'p50' in line),
    rates: lines.filter((line): line is Rate => 'perSecond' in line),
  };
}

/** Nanoseconds one way of UCX over shared memory, the median of each round; none where it is not installed. */
async function measureUcx(): Promise<number[]> {
  try {
    await access(UCX_PERFTEST);
  } catch {
    return [];
  }
  const medians: number[] = [];
  for (let round = 0; round < ROUNDS; round += 1) {
    const port = String(await freePort());
    const words = ['-t', 'ucp_am_lat', '-s', '64', '-n', UCX_TRIPS, '-p', port];
    const env = { ...process.env, UCX_TLS: 'posix,self' };
    const server = spawn(UCX_PERFTEST, ['-c', '1', ...words], { env, stdio: 'ignore' });
    const exited = once(server, 'exit');
    // The client is refused until the server listens.
    const stdout = await retry('ucx_perftest has measured', UCX_MS_MAX, async () => {
      const client = await run(UCX_PERFTEST, ['127.0.0.1', '-c', '0', ...words], { env, timeout: UCX_MS_MAX });
      return client.stdout;
    });
    await exited;
    const microseconds = /^Final:\s+\d+\s+([0-9.]+)/m.exec(stdout)?.[1];
    if (microseconds !== undefined) medians.push(Number(microseconds) * 1000);
  }
  return medians;
}

/** Nanoseconds one way of iceoryx, the median of each round; none where it is not installed (iceoryx, libiceoryx-posh-dev). */
async function measureIceoryx(): Promise<number[]> {
  const folder = resolve(packageRoot(), 'build/native-bench');
  try {
    await access(ROUDI);
    await run('cmake', ['--build', folder, '--target', 'iceoryx-bench']);
  } catch {
    return [];
  }
  const daemon = spawn(ROUDI, ['-m', 'off', '-l', 'error'], { stdio: ['ignore', 'pipe', 'ignore'] });
  const exited = once(daemon, 'exit');
  try {
    for await (const chunk of daemon.stdout) if (String(chunk).includes('ready for clients')) break;
    const program = resolve(folder, 'iceoryx-bench');
    const { stdout } = await run(program, [String(ROUNDS)], { timeout: ICEORYX_MS_MAX });
    const lines = stdout.split('\n').filter((line) => line.startsWith('{'));
    return lines.map((line) => (JSON.parse(line) as Latency).p50);
  } finally {
    // At this signal it removes its shared memory.
    daemon.kill('SIGTERM');
    await exited;
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  return typeof address === 'object' && address !== null ? address.port : 0;
}
