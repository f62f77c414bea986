import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { LINK_VERSION, LINK_VERSION_CHANGES } from '../../../protocol/link.js';
import { freePorts } from '../cluster/etcd.js';
import { until } from '../until.js';
import { type ClusterFigures, measureInOwnNetwork } from './cluster-net.js';
import { cpuSeconds, residentMebibytes } from './process-use.js';
import { alone, compare, type Row, sharesOf } from './rows.js';
import { SimulatedAgent } from './simulated-agents.js';

export const AGENTS = 1_000;
const COMPONENTS = 20;
/** Of the first component the count goes up and down. */
const INSTANCES_PER_AGENT = 5;
const SECONDS = 20;
const CONNECTING_MAX = 100;
const UP_MS_MAX = 240_000;
export const HOSTS = 20;

/** One leader with so many simulated agents. */
export async function benchClusterAgents(dist: string, agents: number): Promise<Row[]> {
  const whole = await simulated(dist, agents, LINK_VERSION_CHANGES - 1);
  const changes = await simulated(dist, agents, LINK_VERSION);
  const rows: Row[] = [];
  const metrics: [keyof Load, string, string][] = [
    ['cores', 'CPU of the leader', 'cores'],
    ['mebibytes', 'memory of the leader', 'MiB'],
    ['bytesUp', 'sent by an agent', 'B/s'],
    ['bytesDown', 'sent to an agent', 'B/s'],
    ['reports', 'reports of an agent, of 1 each second', '1/s'],
  ];
  for (const [key, what, unit] of metrics) {
    const name = `${agents} agents, ${COMPONENTS * countFor(agents)} instances: ${what}`;
    rows.push(compare(name, unit, 0.5, [changes[key]], 'whole states', [whole[key]]));
  }
  return rows;
}

/**
 * Three coordinators, three members of etcd and twenty agents in network namespaces: what they take at rest, and what
 * happens while the leader is cut off and killed so many times. A fail-over takes about ten seconds, most of them for
 * etcd's members to find one another again.
 */
export async function benchClusterHosts(dist: string, hosts: number, cuts: number, kills: number): Promise<Row[]> {
  const options = { dist, hosts, cuts, kills, restSeconds: SECONDS };
  return rowsOf(hosts, await measureInOwnNetwork(options, `bench${process.pid}`));
}

interface Load {
  cores: number;
  mebibytes: number;
  /** Per agent and second. */
  bytesUp: number;
  bytesDown: number;
  /** Fewer than one where the machine is too busy for the agents: what is per second is too small then. */
  reports: number;
}

/** Instances of each component. */
function countFor(agents: number): number {
  return Math.ceil((INSTANCES_PER_AGENT * agents) / COMPONENTS);
}

async function simulated(dist: string, count: number, version: number): Promise<Load> {
  const folder = await mkdtemp(join(tmpdir(), 'shoal-bench-cluster-'));
  const [port = 0] = await freePorts(1);
  const [socket, api] = [join(folder, 'c.sock'), `http://127.0.0.1:${port}`];
  const own = ['--socket', socket, '--run', folder, '--data', join(folder, 'data'), '--listen', `127.0.0.1:${port}`];
  const env = { ...process.env, SHOAL_LOG: 'fatal' };
  const leader = spawn(process.execPath, [join(dist, 'coordinator/main.js'), ...own], { stdio: 'inherit', env });
  const agents: SimulatedAgent[] = [];
  try {
    await until(() => answers(api), UP_MS_MAX);
    for (let i = 0; i < count; i += 1) {
      agents.push(new SimulatedAgent(socket, `h${i}`, version, i % 1_000));
      // Of a thousand at once a busy leader's socket refuses some.
      if (i % CONNECTING_MAX === 0) await until(() => agents.every(({ isWelcome }) => isWelcome), UP_MS_MAX);
    }
    const each = countFor(count);
    await ask(api, 'PUT', '/v1/apps/bench', manifest(2 * each));
    for (let i = 0; i < COMPONENTS; i += 1) await scale(api, i, each);
    const placed = () => agents.reduce((sum, { instances }) => sum + instances, 0) >= COMPONENTS * each;
    await until(placed, UP_MS_MAX);
    const figures = await load(leader, api, agents);
    const lost = agents.filter(({ isLost }) => isLost).length;
    if (lost > 0) throw new Error(`${lost} of ${count} agents were silent for too long: this machine is too busy`);
    return figures;
  } finally {
    for (const each of agents) each.end();
    await ended(leader);
    await rm(folder, { recursive: true, force: true });
  }
}

/** With one component that gets an instance more and one less in turns, so that the desired state of hosts changes. */
async function load(leader: ChildProcess, api: string, agents: readonly SimulatedAgent[]): Promise<Load> {
  const pid = leader.pid as number;
  const counters = ['bytesUp', 'bytesDown', 'reports'] as const;
  const counted = () => counters.map((key) => agents.reduce((sum, each) => sum + each[key], 0));
  const [cpu, before, startMs] = [await cpuSeconds(pid), counted(), performance.now()];
  for (let second = 0; second < SECONDS; second += 1) {
    await scale(api, 0, countFor(agents.length) + 10 * (second % 2));
    await new Promise((resolve) => setTimeout(resolve, 1_000));
  }
  const seconds = (performance.now() - startMs) / 1_000;
  const cores = ((await cpuSeconds(pid)) - cpu) / seconds;
  const rates = counted().map((count, i) => (count - (before[i] as number)) / seconds / agents.length);
  const [bytesUp, bytesDown, reports] = rates as [number, number, number];
  return { cores, mebibytes: await residentMebibytes(pid), bytesUp, bytesDown, reports };
}

function rowsOf(hosts: number, { kinds, bytesPerSecond, cut, killed }: ClusterFigures): Row[] {
  const rows: Row[] = [];
  for (const [kind, { cores, mebibytes, count }] of Object.entries(kinds)) {
    rows.push(alone(`${count} × ${kind} at rest: CPU of each`, 'cores', cores / count));
    rows.push(alone(`${count} × ${kind} at rest: memory of each`, 'MiB', mebibytes / count));
  }
  rows.push(alone(`${hosts} × agent at rest: sent by each`, 'B/s', bytesPerSecond.sent));
  rows.push(alone(`${hosts} × agent at rest: sent to each`, 'B/s', bytesPerSecond.received));
  for (const [what, { changeMs, agentsMs }] of Object.entries({ 'is cut off': cut, 'is killed': killed })) {
    if (changeMs.length === 0) continue;
    const name = `the leader ${what}, ${changeMs.length} times`;
    rows.push(...sharesOf(`${name}: another leader takes changes`, changeMs));
    rows.push(...sharesOf(`${name}: ${hosts} agents obey it`, agentsMs));
  }
  return rows;
}

function manifest(max: number): object {
  const component = {
    rootfs: 'host',
    command: ['/bin/true'],
    size: { cpu: 0.1, memory: '64Mi' },
    count: { min: 0, max: Math.max(20, max) },
  };
  const names = Array.from({ length: COMPONENTS }, (_, i) => `c${i}`);
  return { app: 'bench', components: Object.fromEntries(names.map((name) => [name, component])) };
}

function scale(api: string, component: number, count: number): Promise<void> {
  return ask(api, 'PUT', `/v1/apps/bench/components/c${component}/scale`, { count });
}

async function ask(api: string, method: string, path: string, body: object): Promise<void> {
  const headers = { 'content-type': 'application/json' };
  const response = await fetch(`${api}${path}`, { method, headers, body: JSON.stringify(body) });
  const text = await response.text();
  if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`);
}

async function answers(api: string): Promise<boolean> {
  return await fetch(`${api}/v1/hosts`).then(
    ({ ok }) => ok,
    () => false,
  );
}

async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGKILL');
  await exited;
}
