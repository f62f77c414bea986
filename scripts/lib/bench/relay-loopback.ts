import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { promisify } from 'node:util';
import { freePort } from '../demo/cluster.js';
import { retry } from '../until.js';
import { buildRelayBench } from './relay-bench.js';
import { compare, type Row } from './rows.js';

const run = promisify(execFile);
const ROUNDS = 3;
const TRIPS = 5_000;
const TRANSFERS = 5_000;
const LARGE_BYTES = 64 * 1024;
const STEP_MS_MAX = 60_000;
const CARRIERS = { sealed: 'relays, encrypted', tcp: 'relays, plain', socket: 'bare socket' } as const;
type Carrier = keyof typeof CARRIERS;

interface Sample {
  p50: number;
  p99: number;
  max: number;
}

/** Two programs with a relay each, over loopback TCP, encrypted and not, beside a bare socket. */
export async function measureRelays(): Promise<Row[]> {
  const program = await buildRelayBench();
  const port = String(await freePort());
  const server = spawn(program, ['serve', '127.0.0.1', port], { stdio: 'ignore' });
  const exited = once(server, 'exit');
  try {
    const step = async (carrier: Carrier, mode: 'lat' | 'bw'): Promise<Sample> => {
      const [size, count] = mode === 'lat' ? [64, TRIPS] : [LARGE_BYTES, TRANSFERS];
      const words = ['run', '127.0.0.1', '127.0.0.1', port, carrier, mode, size, count, 0].map(String);
      return JSON.parse((await run(program, words, { timeout: STEP_MS_MAX })).stdout) as Sample;
    };
    await retry('the relay of the benchmark listens', STEP_MS_MAX, () => step('socket', 'lat'));
    return await measure(step);
  } finally {
    server.kill('SIGKILL');
    await exited;
  }
}

async function measure(step: (carrier: Carrier, mode: 'lat' | 'bw') => Promise<Sample>): Promise<Row[]> {
  const carriers = Object.keys(CARRIERS) as Carrier[];
  const all = { lat: new Map<Carrier, Sample[]>(), bw: new Map<Carrier, Sample[]>() };
  for (let round = 0; round < ROUNDS; round += 1) {
    for (const mode of ['lat', 'bw'] as const) {
      for (const carrier of carriers) {
        all[mode].set(carrier, [...(all[mode].get(carrier) ?? []), await step(carrier, mode)]);
      }
    }
  }
  const of = (mode: 'lat' | 'bw', carrier: Carrier, key: keyof Sample) =>
    (all[mode].get(carrier) ?? []).map((sample) => sample[key]);
  const pairs: [Carrier, Carrier][] = [
    ['sealed', 'socket'],
    ['tcp', 'socket'],
    ['sealed', 'tcp'],
  ];
  return pairs.flatMap(([ours, peer]) => [
    ...(['p50', 'p99', 'max'] as const).map((key) => {
      const metric = `64 B one way, ${CARRIERS[ours]}, sleeping, ${key}`;
      return compare(metric, 'µs', 0.5, of('lat', ours, key), CARRIERS[peer], of('lat', peer, key));
    }),
    compare(
      `64 KiB records, ${CARRIERS[ours]}`,
      'MB/s',
      0.5,
      of('bw', ours, 'p50'),
      CARRIERS[peer],
      of('bw', peer, 'p50'),
    ),
  ]);
}
