import { type ChildProcess, type StdioOptions, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { closeSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { native } from '../../../native/index.js';
import { RingLink, SPIN_MS_MAX } from '../../../native/ring-link.js';
import { LIMITS } from '../../../protocol/limits.js';
import { RingCarrier } from '../../../sdk/ring-carrier.js';
import { Router } from '../../../sdk/router.js';
import { quantile } from '../demo/recorder.js';
import { handedOver } from './handed-over.js';
import { compare, type Row } from './rows.js';

const PEER = fileURLToPath(new URL('./ring-peer.js', import.meta.url));
const ROUNDS = 5;
const TRIPS = 10_000;
const WARM_UP = 2_000;
const RECORDS = 1_000_000;
const RECORD = Buffer.alloc(64, 1);
const RING_BYTES = 1 << 20;

/** Microseconds of the round trips of one round. */
interface Trips {
  p50: number;
  p99: number;
  max: number;
}

/**
 * Two Node processes, each on a processor of its own, send 64 bytes to and fro: over bare rings, by the SDK's `call` over a
 * ring, and over what else there is. `call` between containers, beside HTTP as well: fabric-calls.
 */
export async function benchFabricJs(): Promise<Row[]> {
  const carriers = {
    'ring, spinning': () => ringTrips(SPIN_MS_MAX),
    'ring, sleeping': () => ringTrips(0),
    'call, spinning': () => callTrips(SPIN_MS_MAX),
    'call, sleeping': () => callTrips(0),
    'unix socket': () => socketTrips('unix'),
    'loopback TCP': () => socketTrips('tcp'),
  };
  spawnSync('taskset', ['-a', '-c', '-p', '0', String(process.pid)]);
  const all = new Map<string, Trips[]>();
  const rates: number[] = [];
  for (let round = 0; round < ROUNDS; round += 1) {
    for (const [name, measure] of Object.entries(carriers)) all.set(name, [...(all.get(name) ?? []), await measure()]);
    rates.push(await ringRate());
  }
  const of = (name: string, key: keyof Trips) => (all.get(name) ?? []).map((trips) => trips[key]);
  const row = (ours: string, peer: string, key: keyof Trips) =>
    compare(`JavaScript, 64 B round trip, ${ours}, ${key}`, 'µs', 0.5, of(ours, key), peer, of(peer, key));
  return [
    ...['ring, spinning', 'ring, sleeping', 'call, spinning', 'call, sleeping'].flatMap((ours) =>
      ['unix socket', 'loopback TCP'].flatMap((peer) =>
        (['p50', 'p99', 'max'] as const).map((key) => row(ours, peer, key)),
      ),
    ),
    compare(
      'JavaScript to JavaScript, 64 B records, one way',
      '1/s',
      0.5,
      rates,
      'round trips over the unix socket',
      of('unix socket', 'p50').map((microseconds) => 1e6 / microseconds),
    ),
  ];
}

/** `send` sends one record; `taken` is to be called for each that comes back. */
async function measureTrips(start: (taken: () => void) => { send: () => void }): Promise<Trips> {
  const trips: number[] = [];
  await new Promise<void>((resolve) => {
    let began = 0;
    let count = 0;
    const { send } = start(() => {
      const now = performance.now();
      if (count > WARM_UP) trips.push((now - began) * 1000);
      count += 1;
      if (count > WARM_UP + TRIPS) resolve();
      else {
        began = performance.now();
        send();
      }
    });
    send();
  });
  return tripsOf(trips);
}

function tripsOf(took: number[]): Trips {
  return { p50: quantile(took, 0.5), p99: quantile(took, 0.99), max: quantile(took, 1) };
}

async function ringTrips(spinMs: number): Promise<Trips> {
  const { open, end } = startRingPeer(spinMs);
  let link: RingLink | undefined;
  const trips = await measureTrips((taken) => {
    link = open(taken, () => {});
    return { send: () => link?.send(RECORD) };
  });
  link?.close();
  await end();
  return trips;
}

async function callTrips(spinMs: number): Promise<Trips> {
  const [mine, theirs] = native.createChannel(LIMITS.ringBytes);
  const fds = [theirs.memory, theirs.strike, theirs.listen];
  const child = startPeer(['call', String(spinMs)], fds);
  for (const fd of fds) closeSync(fd);
  const router = new Router(new RingCarrier(handedOver(mine), spinMs), Math.random, () => {});
  router.update({ echo: { instances: ['echo-0'] } });
  const trips: number[] = [];
  for (let i = -WARM_UP; i < TRIPS; i += 1) {
    const began = performance.now();
    await router.call('echo', 'echo', RECORD, {});
    if (i >= 0) trips.push((performance.now() - began) * 1000);
  }
  router.close();
  await ended(child);
  return tripsOf(trips);
}

/** Records a second, as fast as they go; each is sent by itself. */
async function ringRate(): Promise<number> {
  const { open, end } = startRingPeer(SPIN_MS_MAX, RECORDS);
  let sent = 0;
  const began = performance.now();
  await new Promise<void>((resolve) => {
    const send = () => {
      while (sent < RECORDS && link.send(RECORD)) sent += 1;
    };
    const link = open(() => {
      link.close();
      resolve();
    }, send);
    send();
  });
  const rate = RECORDS / ((performance.now() - began) / 1000);
  await end();
  return rate;
}

function startRingPeer(spinMs: number, count?: number) {
  const [mine, theirs] = native.createChannel(RING_BYTES);
  const fds = [theirs.memory, theirs.strike, theirs.listen];
  const words = ['ring', String(spinMs), ...(count === undefined ? [] : [String(count)])];
  const child = startPeer(words, fds);
  for (const fd of fds) closeSync(fd);
  return {
    open: (onRecord: () => void, onRoom: () => void) =>
      new RingLink(mine, 0, { onRecord, onRoom, onClose: () => {} }, spinMs),
    end: () => ended(child),
  };
}

async function socketTrips(kind: 'unix' | 'tcp'): Promise<Trips> {
  const folder = await mkdtemp(join(tmpdir(), 'shoal-bench-'));
  const path = join(folder, 'socket');
  const server = createServer();
  if (kind === 'unix') server.listen(path);
  else server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const child = startPeer(['socket', kind === 'unix' ? path : portOf(server)]);
  const [socket] = (await once(server, 'connection')) as [Socket];
  socket.setNoDelay(true);
  const trips = await measureTrips((taken) => {
    let bytes = 0;
    socket.on('data', (chunk) => {
      bytes += chunk.length;
      if (bytes < RECORD.length) return;
      bytes = 0;
      taken();
    });
    return { send: () => socket.write(RECORD) };
  });
  socket.destroy();
  server.close();
  child.kill();
  await ended(child);
  await rm(folder, { recursive: true });
  return trips;
}

/** On the second processor; this process is on the first. */
function startPeer(words: string[], fds: number[] = []): ChildProcess {
  const stdio: StdioOptions = ['ignore', 'inherit', 'inherit', ...fds];
  return spawn('taskset', ['-c', '1', process.execPath, PEER, ...words], { stdio });
}

function portOf(server: Server): string {
  const address = server.address();
  return typeof address === 'object' && address !== null ? String(address.port) : '';
}

async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
}
