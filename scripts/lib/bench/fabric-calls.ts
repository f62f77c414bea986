import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createConnection, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type ChannelFds, native } from '../../../native/index.js';
import { freePort } from '../demo/cluster.js';
import { quantile } from '../demo/recorder.js';
import { processesByInstance, SoakHost } from '../soak/host.js';
import { retry } from '../until.js';
import { giveAway } from './give-away.js';
import { compare, type Row } from './rows.js';

const ROUNDS = 5;
const TRIPS = 5_000;
const START_MS_MAX = 30_000;
const MEASURE_MS_MAX = 120_000;
const RING = 'a bare ring, spinning';
/** Sockets that are made here and handed to both containers. */
const SOCKETS = ['unix', 'tcp', 'http'] as const;

/** Who is called how: `carrier` and `spinUs` are the caller's and the callee's. */
const CALLS = {
  'call over rings, spinning': {},
  'call over rings, sleeping': { SHOAL_SPIN_US: '0' },
  'call over Unix sockets': { SHOAL_CARRIER: 'unix' },
} as const;
const PEERS: Record<(typeof SOCKETS)[number], string> = {
  unix: 'Unix socket',
  tcp: 'loopback TCP',
  http: 'HTTP/1.1 keep-alive over loopback TCP (undici)',
};
const RING_BYTES = 64 * 1024;

/** Microseconds of the round trips of one round. */
interface Trips {
  p50: number;
  p99: number;
  max: number;
}

/**
 * 64 bytes to and fro between two Node processes in two containers, each on a processor of its own: over a bare
 * ring, by `call` over rings and over Unix sockets, beside a bare Unix socket, loopback TCP and HTTP between the same two.
 */
export async function benchFabricCalls(dist: string): Promise<Row[]> {
  const all = new Map<string, Trips[]>();
  const host = await SoakHost.start(dist);
  try {
    const ports = await startPairs(host, dist);
    for (let round = 0; round < ROUNDS; round += 1) {
      for (const [name, port] of ports) add(all, name, await measure(port, 'call'));
      const [[, port] = ['', 0]] = ports;
      add(all, RING, await measure(port, 'ring'));
      for (const kind of SOCKETS) add(all, PEERS[kind], await measure(port, kind));
    }
  } finally {
    await host.close();
  }
  const of = (name: string, key: keyof Trips) => (all.get(name) ?? []).map((trips) => trips[key]);
  return [RING, ...Object.keys(CALLS)].flatMap((ours) =>
    [...Object.values(PEERS), ...(ours.startsWith('call over rings') ? ['call over Unix sockets'] : [])].flatMap(
      (peer) =>
        (['p50', 'p99', 'max'] as const).map((key) =>
          compare(`two containers, 64 B round trip, ${ours}, ${key}`, 'µs', 0.5, of(ours, key), peer, of(peer, key)),
        ),
    ),
  );
}

function add(all: Map<string, Trips[]>, name: string, trips: Trips): void {
  all.set(name, [...(all.get(name) ?? []), trips]);
}

/** An app for each way to call: a caller and a callee. Answers the ports on which the callers take orders. */
async function startPairs(host: SoakHost, dist: string): Promise<Map<string, number>> {
  await retry('the coordinator answers', START_MS_MAX, () => host.ask('GET', '/healthz'));
  const ports = new Map<string, number>();
  for (const [i, [name, env]] of Object.entries(CALLS).entries()) {
    const port = await freePort();
    const common = {
      rootfs: 'host',
      directory: join(dist, 'scripts/lib/bench/calls'),
      count: 1,
      env,
      size: { cpu: 1 },
    };
    const components = {
      callee: { ...common, command: ['node', 'callee.mjs'] },
      caller: {
        ...common,
        command: ['node', 'caller.mjs'],
        calls: ['callee'],
        ports: [{ name: 'http', host: port }],
      },
    };
    const app = `bench${i}`;
    await host.ask('PUT', `/v1/apps/${app}`, 'application/json', JSON.stringify({ app, components }));
    await retry('the caller listens', START_MS_MAX, () => fetch(`http://127.0.0.1:${port}/call?trips=1`).then(orFail));
    for (const kind of SOCKETS) await handIn(host, app, kind);
    const ends = native.createChannel(RING_BYTES);
    for (const [i, component] of (['caller', 'callee'] as const).entries()) {
      const { memory, strike, listen } = ends[i] as ChannelFds;
      await giveAway(packetsOf(host, app, component), 'ring', [memory, strike, listen]);
    }
    ports.set(name, port);
  }
  for (const [id, pids] of await processesByInstance(host.run)) {
    const processor = id.includes('caller') ? '0' : '1';
    for (const pid of pids) spawnSync('taskset', ['-a', '-c', '-p', processor, String(pid)]);
  }
  return ports;
}

async function orFail(response: Response): Promise<{ took: number[] }> {
  if (!response.ok) throw new Error(await response.text());
  return (await response.json()) as { took: number[] };
}

async function measure(port: number, kind: string): Promise<Trips> {
  const { took } = await fetch(`http://127.0.0.1:${port}/${kind}?trips=${TRIPS}`, {
    signal: AbortSignal.timeout(MEASURE_MS_MAX),
  }).then(orFail);
  return { p50: quantile(took, 0.5), p99: quantile(took, 0.99), max: quantile(took, 1) };
}

/** Makes a connected pair of sockets in this network and gives each container of the app one end. */
async function handIn(host: SoakHost, app: string, kind: (typeof SOCKETS)[number]): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'shoal-bench-'));
  const server = createServer({ pauseOnConnect: true });
  if (kind === 'unix') server.listen(join(folder, 'socket'));
  else server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  const to =
    typeof address === 'object' && address !== null
      ? { port: address.port, host: '127.0.0.1' }
      : { path: join(folder, 'socket') };
  const mine = createConnection(to);
  const [[theirs]] = (await Promise.all([once(server, 'connection'), once(mine, 'connect')])) as [[Socket], unknown];
  for (const [component, socket] of [
    ['callee', theirs],
    ['caller', mine],
  ] as const) {
    await giveAway(packetsOf(host, app, component), kind, [socket]);
  }
  server.close();
  await rm(folder, { recursive: true });
}

/** Where an instance takes what is handed to it. */
function packetsOf(host: SoakHost, app: string, component: string): string {
  return join(host.run, 'instances', `${app}-${component}-0`, 'socket', 'bench.packets');
}
