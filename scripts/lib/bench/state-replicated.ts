import type { StateCluster } from '../state/state-cluster.js';
import type { Row } from './rows.js';
import { besideRedis, type Place } from './state.js';

const HOSTS = 2;
const COUNT = 4;
const READY_MS_MAX = 120_000;

/**
 * Gets and sets of 100 bytes by an instance that owns none of them: with replicated state from its own memory, with partitioned state
 * from the copy on its host; and in a redis-server over loopback TCP, in turns. Sets go to the owner, here on the other host.
 */
export async function benchStateReplicated(dist: string): Promise<Row[]> {
  const common = { dist, hosts: HOSTS, count: COUNT, countMax: COUNT, program: 'state/local.mjs', replicas: 1 };
  const replicated = await besideRedis({ ...common, mode: 'replicated', shards: 1 }, placesOfReplicated);
  const copies = await besideRedis({ ...common, shards: 64, staleness: '500ms' }, placesOfCopies);
  return [...replicated, ...copies];
}

async function placesOfReplicated(cluster: StateCluster): Promise<{ client: string; places: Place[] }> {
  await cluster.replicated(READY_MS_MAX);
  const instances = await cluster.instances();
  const owner = instances.find(({ shards }) => shards.length > 0);
  const client = instances.find(({ host }) => host !== owner?.host);
  if (owner === undefined || client === undefined)
    throw new Error('all instances are on one host, or nobody owns the entries');
  return { client: client.id, places: [{ name: 'replicated', way: 'owner', owners: [owner] }] };
}

async function placesOfCopies(cluster: StateCluster): Promise<{ client: string; places: Place[] }> {
  await cluster.replicated(READY_MS_MAX);
  const instances = await cluster.instances();
  const [client] = instances;
  const owners = instances.filter(({ host }) => host !== client?.host);
  if (client === undefined || owners.length === 0) throw new Error('all instances are on one host');
  return { client: client.id, places: [{ name: 'from a copy', way: 'owner', owners, actions: ['get'] }] };
}
