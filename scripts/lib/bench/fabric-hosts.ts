import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { NetHosts } from '../cluster/net-hosts.js';
import { rackProblem, runInOwnNetwork } from '../cluster/net-rack.js';
import { quantile } from '../demo/recorder.js';
import { measureRelays } from './relay-loopback.js';
import { compare, type Row } from './rows.js';

/** Set within the network namespace of the switch: see runInOwnNetwork. */
const IN_NETWORK = 'SHOAL_BENCH_HOSTS';
const run = promisify(execFile);
const CALLS = resolve(dirname(fileURLToPath(import.meta.url)), 'calls');
const ROUNDS = 3;
const TRIPS = 1_000;
const SOCKET_PORT = 9_100;
const START_MS_MAX = 60_000;
const HAND_MS_MAX = 30_000;

/** Microseconds of the round trips of one round. */
interface Trips {
  p50: number;
  p99: number;
  max: number;
}
type Measured = Record<string, Trips[]>;

/** Caller's and callee's host, and the words of their agents. */
const PAIRS = {
  'call, encrypted': { hosts: ['h0', 'h1'], port: 8_080, words: [] },
  'call, plain': { hosts: ['h2', 'h3'], port: 8_081, words: ['--fabric-plain'] },
} as const;
type Pair = (typeof PAIRS)[keyof typeof PAIRS];
const PEERS = { tcp: 'TCP', http: 'HTTP/1.1 keep-alive' } as const;

/**
 * Calls of 64 bytes from one host to another, through both agents' relays over TCP, beside a bare TCP connection and
 * HTTP/1.1 between the same two containers; then the relays by themselves, with their bandwidth. The hosts are network
 * namespaces of this machine: what a wire and a card take is not in it.
 */
export async function benchFabricHosts(): Promise<Row[]> {
  const problem = await rackProblem();
  if (problem !== null) throw new Error(`hosts cannot be made here: ${problem}`);
  const folder = await mkdtemp(join(tmpdir(), 'shoal-bench-'));
  try {
    const file = join(folder, 'measured.json');
    const code = await runInOwnNetwork(`sb${process.pid}`, [import.meta.filename, file], IN_NETWORK);
    if (code !== 0) throw new Error(`the hosts in network namespaces ended with code ${code}`);
    return [...rowsOf(JSON.parse(await readFile(file, 'utf8')) as Measured), ...(await measureRelays())];
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

function rowsOf(measured: Measured): Row[] {
  const of = (name: string, key: keyof Trips) => (measured[name] ?? []).map((trips) => trips[key]);
  const pairs: [string, string][] = Object.keys(PAIRS).flatMap((ours) =>
    Object.values(PEERS).map((peer): [string, string] => [ours, peer]),
  );
  return [...pairs, ['call, encrypted', 'call, plain'] as [string, string]].flatMap(([ours, peer]) =>
    (['p50', 'p99', 'max'] as const).map((key) =>
      compare(`two hosts, 64 B round trip, ${ours}, ${key}`, 'µs', 0.5, of(ours, key), peer, of(peer, key)),
    ),
  );
}

async function measureHosts(prefix: string): Promise<Measured> {
  const hosts = Object.values(PAIRS).flatMap((pair) => pair.hosts.map((host) => [host, pair.words] as const));
  const all = await NetHosts.start(prefix, new Map<string, readonly string[]>(hosts));
  try {
    for (const [i, pair] of Object.values(PAIRS).entries()) await startPair(all, `bench${i}`, pair);
    const measured: Measured = {};
    const add = async (name: string, { hosts, port }: Pair, kind: string) => {
      const { took } = await all.get<{ took: number[] }>(hosts[0], port, `/${kind}?trips=${TRIPS}`);
      const trips = { p50: quantile(took, 0.5), p99: quantile(took, 0.99), max: quantile(took, 1) };
      measured[name] = [...(measured[name] ?? []), trips];
    };
    for (let round = 0; round < ROUNDS; round += 1) {
      for (const [name, pair] of Object.entries(PAIRS)) await add(name, pair, 'call');
      for (const [kind, name] of Object.entries(PEERS)) await add(name, PAIRS['call, encrypted'], kind);
    }
    return measured;
  } finally {
    await all.close();
  }
}

async function startPair(all: NetHosts, app: string, { hosts: [near, far], port }: Pair): Promise<void> {
  const component = (name: string, host: string, more: object) => ({
    rootfs: 'host',
    directory: CALLS,
    command: ['node', `${name}.mjs`],
    count: 1,
    size: { cpu: 1 },
    place: { require: { host } },
    ...more,
  });
  const components = {
    callee: component('callee', far, {}),
    caller: component('caller', near, { calls: ['callee'], ports: [{ name: 'http', host: port }] }),
  };
  await all.until('the hosts are there', START_MS_MAX, async () => {
    for (const host of [near, far]) if (!(await all.view(host))?.connected) throw new Error(`${host} is not connected`);
  });
  await all.ask('PUT', `/v1/apps/${app}`, { app, components });
  await all.until('the caller calls', START_MS_MAX, () => all.get(near, port, '/call?trips=1'));
  for (const [i, kind] of Object.keys(PEERS).entries()) {
    const give = (host: string, component: string, way: string) => {
      const path = join(all.folder, host, 'instances', `${app}-${component}-0`, 'socket', 'bench.packets');
      const to = [all.rack.addressOf(far), String(SOCKET_PORT + i)];
      const script = [process.execPath, join(CALLS, 'give-tcp.mjs'), path, kind, way, ...to];
      const [program = '', ...words] = all.rack.on(host, ...script);
      return run(program, words, { timeout: HAND_MS_MAX });
    };
    await Promise.all([give(far, 'callee', 'listen'), give(near, 'caller', 'dial')]);
  }
}

const prefix = process.env[IN_NETWORK];
const [, script = '', file = ''] = process.argv;
if (prefix !== undefined && resolve(script) === import.meta.filename) {
  await writeFile(file, JSON.stringify(await measureHosts(prefix)));
}
