import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { HostView } from '../../../protocol/http.js';
import { type Kind, NetCluster } from '../cluster/net-cluster.js';
import { runInOwnNetwork } from '../cluster/net-rack.js';
import { until } from '../until.js';
import { cpuSeconds, residentMebibytes } from './process-use.js';

/** Set within the network namespace of the switch: see runInOwnNetwork. */
const IN_NETWORK = 'SHOAL_BENCH_NETWORK';

export interface ClusterFigures {
  /** At rest, all of a kind together. */
  kinds: Record<Kind, { cores: number; mebibytes: number; count: number }>;
  /** At rest, of an agent, on the network with all that frames and encrypts it. */
  bytesPerSecond: { sent: number; received: number };
  /** The leader was cut off, and its process was killed. */
  cut: FailOvers;
  killed: FailOvers;
}

/** From the fault until another leader took a change, and until it had all agents. */
export interface FailOvers {
  changeMs: number[];
  agentsMs: number[];
}

const WAIT_MS_MAX = 180_000;
/** A coordinator that was killed comes again when another one leads: until then it must not win itself. */
const AWAY_MS = 600_000;
/** So often in a row a cluster that was mended has to look well: the members of etcd find one another one by one. */
const WELL_LOOKS = 5;
/** A bound on one look, so that a member that is away costs no more. */
const LOOK_MS_MAX = 1_000;

export interface MeasureOptions {
  /** Folder of compiled code. */
  dist: string;
  hosts: number;
  /** How often the leader is cut off, and how often killed. */
  cuts: number;
  kills: number;
  restSeconds: number;
}

/** As `measureCluster`, in a network of its own; `id` makes its names unique on this machine. */
export async function measureInOwnNetwork(options: MeasureOptions, id: string): Promise<ClusterFigures> {
  const folder = await mkdtemp(join(tmpdir(), 'shoal-cluster-'));
  try {
    const file = join(folder, 'figures.json');
    const words = [import.meta.filename, JSON.stringify(options), file];
    const code = await runInOwnNetwork(id, words, IN_NETWORK);
    if (code !== 0) throw new Error(`the cluster in network namespaces ended with code ${code}`);
    return JSON.parse(await readFile(file, 'utf8')) as ClusterFigures;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** A cluster in network namespaces: what it takes at rest, and what happens when its leader is lost again and again. */
export async function measureCluster(
  { dist, hosts, cuts, kills, restSeconds }: MeasureOptions,
  prefix: string,
): Promise<ClusterFigures> {
  const cluster = await NetCluster.start({ dist, hosts, prefix });
  try {
    await until(() => hasAll(cluster, hosts), WAIT_MS_MAX);
    const { kinds, bytesPerSecond } = await atRest(cluster, restSeconds);
    const cut = await failOvers(cluster, cuts, async (leader) => {
      await cluster.rack.drop(leader, 'both');
      return () => cluster.rack.heal(leader);
    });
    const killed = await failOvers(cluster, kills, async (leader) => {
      const part = cluster.part('coordinator', leader);
      await cluster.kill(part, AWAY_MS);
      return async () => cluster.revive(part);
    });
    return { kinds, bytesPerSecond, cut, killed };
  } finally {
    await cluster.close();
    await cluster.remove();
  }
}

/** `begin` does to the leader what it is to be lost by, and answers with what mends it. */
async function failOvers(
  cluster: NetCluster,
  count: number,
  begin: (leader: string) => Promise<() => Promise<void>>,
): Promise<FailOvers> {
  const found: FailOvers = { changeMs: [], agentsMs: [] };
  const once = async (round: number): Promise<void> => {
    const leader = await agreedLeader(cluster);
    const startMs = performance.now();
    const mend = await begin(leader);
    const next = await leaderOf(cluster, [leader]);
    await until(() => takesChange(cluster, next, round), WAIT_MS_MAX);
    found.changeMs.push(performance.now() - startMs);
    await until(async () => (await connectedAt(cluster, next)) === cluster.hosts.length, WAIT_MS_MAX);
    found.agentsMs.push(performance.now() - startMs);
    await mend();
    await untilWell(cluster);
  };
  for (let round = 0; round < count; round += 1) {
    await once(round).catch((cause: Error) => {
      // A hundred rounds take a quarter of an hour.
      const soFar = Object.entries(found).map(([name, times]) => `${name} ${times.map(Math.round).join(' ')}`);
      throw new Error(`round ${round + 1} of ${count}: ${cause.message}; measured before: ${soFar.join('; ')}`, {
        cause,
      });
    });
  }
  return found;
}

/** Until every member of etcd follows the same leader and takes writes, and every coordinator knows who leads. */
async function untilWell(cluster: NetCluster): Promise<void> {
  let looks = 0;
  await until(async () => {
    looks = (await isWell(cluster)) ? looks + 1 : 0;
    return looks === WELL_LOOKS;
  }, WAIT_MS_MAX);
}

async function isWell(cluster: NetCluster): Promise<boolean> {
  const [views, leaders] = await Promise.all([
    viewsOf(cluster),
    Promise.all(cluster.coordinators.map((name) => etcdLeaderAt(cluster, name))),
  ]);
  const first = views[0]?.leader?.name;
  return (
    first !== undefined &&
    views.every((view) => view?.leader?.name === first) &&
    leaders[0] !== null &&
    new Set(leaders).size === 1
  );
}

/** Which member leads, by the one on that machine: null when it does not answer a read that the majority confirms. */
async function etcdLeaderAt(cluster: NetCluster, machine: string): Promise<string | null> {
  const url = `http://${cluster.rack.addressOf(machine)}:2379`;
  const signal = AbortSignal.timeout(LOOK_MS_MAX);
  try {
    const { health } = (await (await fetch(`${url}/health`, { signal })).json()) as { health: string };
    if (health !== 'true') return null;
    const status = await fetch(`${url}/v3/maintenance/status`, { method: 'POST', body: '{}', signal });
    return ((await status.json()) as { leader?: string }).leader ?? null;
  } catch {
    return null;
  }
}

function viewsOf(cluster: NetCluster) {
  return Promise.all(cluster.coordinators.map((name) => cluster.view(name)));
}

/** The coordinator that leads, once all of them know it: otherwise it is no fail-over. */
async function agreedLeader(cluster: NetCluster): Promise<string> {
  let agreed: string | undefined;
  await until(async () => {
    const views = await viewsOf(cluster);
    agreed = views.find((view) => view?.role === 'leads')?.name;
    return agreed !== undefined && views.every((view) => view?.leader?.name === agreed);
  }, WAIT_MS_MAX);
  return agreed as string;
}

/** The coordinator that leads, once there is one beside these. */
async function leaderOf(cluster: NetCluster, but: readonly string[]): Promise<string> {
  let found: string | undefined;
  const others = cluster.coordinators.filter((name) => !but.includes(name));
  await until(async () => {
    const views = await Promise.all(others.map((name) => cluster.view(name)));
    found = views.find((view) => view?.role === 'leads')?.name;
    return found !== undefined;
  }, WAIT_MS_MAX);
  return found as string;
}

async function takesChange(cluster: NetCluster, coordinator: string, count: number): Promise<boolean> {
  const components = { one: { rootfs: 'host', command: ['/bin/true'], count: { min: 0, max: 1 }, env: { N: count } } };
  return await cluster.askOne(coordinator, 'PUT', '/v1/apps/probe', { app: 'probe', components }).then(
    () => true,
    () => false,
  );
}

async function connectedAt(cluster: NetCluster, coordinator: string): Promise<number> {
  const hosts = await cluster.askOne<HostView[]>(coordinator, 'GET', '/v1/hosts').catch(() => []);
  return hosts.filter(({ connected }) => connected).length;
}

async function hasAll(cluster: NetCluster, hosts: number): Promise<boolean> {
  const known = await cluster.ask<HostView[]>('GET', '/v1/hosts').catch(() => []);
  return known.filter(({ connected }) => connected).length === hosts;
}

async function atRest(
  cluster: NetCluster,
  restSeconds: number,
): Promise<Pick<ClusterFigures, 'kinds' | 'bytesPerSecond'>> {
  const none = () => ({ cores: 0, mebibytes: 0, count: 0 });
  const kinds = { etcd: none(), coordinator: none(), agent: none() };
  const [bytes, before] = [await cluster.rack.bytes(cluster.hosts), await cpuOf(cluster)];
  await new Promise((resolve) => setTimeout(resolve, restSeconds * 1_000));
  const [bytesAfter, after] = [await cluster.rack.bytes(cluster.hosts), await cpuOf(cluster)];
  const agentSeconds = Math.max(1, restSeconds) * cluster.hosts.length;
  for (const part of cluster.parts) {
    const pid = await cluster.pidOf(part);
    if (pid === null) throw new Error(`${part.kind} of ${part.machine} does not run`);
    const use = kinds[part.kind];
    use.count += 1;
    use.cores += ((after.get(pid) ?? 0) - (before.get(pid) ?? 0)) / Math.max(1, restSeconds);
    use.mebibytes += await residentMebibytes(pid);
  }
  return {
    kinds,
    bytesPerSecond: {
      sent: (bytesAfter.sent - bytes.sent) / agentSeconds,
      received: (bytesAfter.received - bytes.received) / agentSeconds,
    },
  };
}

async function cpuOf(cluster: NetCluster): Promise<Map<number, number>> {
  const found = new Map<number, number>();
  for (const part of cluster.parts) {
    const pid = await cluster.pidOf(part);
    if (pid !== null) found.set(pid, await cpuSeconds(pid));
  }
  return found;
}

const prefix = process.env[IN_NETWORK];
if (prefix !== undefined && process.argv[1] === import.meta.filename) {
  const [options = '', file = ''] = process.argv.slice(2);
  const figures = await measureCluster(JSON.parse(options) as MeasureOptions, prefix);
  await writeFile(file, JSON.stringify(figures));
  process.exit(0);
}
