import { once } from 'node:events';
import { connect } from 'node:net';
import type { InstanceView } from '../../../protocol/http.js';
import { quantile } from '../demo/recorder.js';
import { RedisServer } from '../state/redis-server.js';
import { StateCluster, type StateClusterOptions } from '../state/state-cluster.js';
import { giveAway } from './give-away.js';
import { compare, type Row } from './rows.js';

const isQuick = process.env.SHOAL_BENCH_QUICK === '1';
const ROUNDS = isQuick ? 2 : 5;
const MEASURE_MS = isQuick ? 200 : 1_000;
const WARM_UP_MS = 500;
const ANSWER_MS_MAX = 30_000;
const HOSTS = 2;
const COUNT = 4;
const SHARDS = 64;
const AT_ONCE = [1, 64];
const ACTIONS = ['get', 'set'] as const;
const PEER = 'Redis over loopback, same process';

interface Measured {
  done: number;
  ms: number;
  /** In µs. */
  took: number[];
}

/** From whom entries are had: `way` is that of local.mts, `owners` have the keys. */
export interface Place {
  name: string;
  way: 'owner' | 'call' | 'redis';
  owners: readonly InstanceView[];
  /** Absent: all. */
  actions?: readonly Action[];
}

type Action = (typeof ACTIONS)[number];

/**
 * Gets and sets of 100 bytes by one instance: of keys that it owns, of keys of another instance on its host and on another host of
 * the same machine, and in a redis-server over loopback TCP, in turns; one after the other and 64 at once.
 */
export async function benchState(dist: string): Promise<Row[]> {
  const options = { dist, hosts: HOSTS, shards: SHARDS, count: COUNT, countMax: COUNT, program: 'state/local.mjs' };
  return besideRedis(options, async (cluster) => {
    const { client, near, far } = placesOf(await cluster.instances());
    const places: Place[] = [
      { name: 'on the owner', way: 'owner', owners: [client] },
      { name: 'same host', way: 'call', owners: near },
      { name: 'across hosts', way: 'call', owners: far },
    ];
    return { client: client.id, places };
  });
}

/** `placesIn`: which instance measures, and from where it has entries. */
export async function besideRedis(
  options: StateClusterOptions,
  placesIn: (cluster: StateCluster) => Promise<{ client: string; places: Place[] }>,
): Promise<Row[]> {
  const redis = await RedisServer.start();
  try {
    const cluster = await StateCluster.start(options);
    try {
      const { client, places } = await placesIn(cluster);
      return await measureAll(cluster, redis, client, places);
    } finally {
      await cluster.close();
    }
  } finally {
    await redis.close();
  }
}

async function measureAll(
  cluster: StateCluster,
  redis: RedisServer,
  clientId: string,
  given: readonly Place[],
): Promise<Row[]> {
  const client = (await cluster.instances()).find(({ id }) => id === clientId);
  if (client === undefined) throw new Error(`${clientId} is gone`);
  const socket = connect(redis.port, '127.0.0.1');
  await once(socket, 'connect');
  await giveAway(cluster.socketOf(client, 'bench.packets'), 'redis', [socket]);
  const [first] = given;
  // Its keys are the same, whoever owns them.
  const places: Place[] = [...given, { name: PEER, way: 'redis', owners: first?.owners ?? [] }];
  const measured = new Map<string, Measured[]>();
  for (const action of ACTIONS) {
    for (const place of doing(action, places)) await ask(cluster, client, place, action, 1, WARM_UP_MS);
  }
  for (const action of ACTIONS) {
    for (const atOnce of AT_ONCE) {
      for (let round = 0; round < ROUNDS; round += 1) {
        for (const place of doing(action, places)) {
          const key = `${place.name} ${action} ${atOnce}`;
          const one = await ask(cluster, client, place, action, atOnce, MEASURE_MS);
          measured.set(key, [...(measured.get(key) ?? []), one]);
        }
      }
    }
  }
  return ACTIONS.flatMap((action) => doing(action, given).flatMap(({ name }) => rowsOf(measured, name, action)));
}

function doing(action: Action, places: readonly Place[]): Place[] {
  return places.filter(({ actions = ACTIONS }) => actions.includes(action));
}

/** Who measures, who shares its host, and who is on the other. */
function placesOf(instances: readonly InstanceView[]): {
  client: InstanceView;
  near: InstanceView[];
  far: InstanceView[];
} {
  for (const client of instances) {
    const near = instances.filter(({ id, host }) => id !== client.id && host === client.host);
    const far = instances.filter(({ host }) => host !== client.host);
    if (near.length > 0 && far.length > 0) return { client, near, far };
  }
  throw new Error(
    `no host has two of the instances: ${instances.map(({ id, host }) => `${id} on ${host}`).join(', ')}`,
  );
}

function ask(
  cluster: StateCluster,
  client: InstanceView,
  { way, owners }: Place,
  action: string,
  atOnce: number,
  ms: number,
): Promise<Measured> {
  const ids = owners.map(({ id }) => id).join();
  return cluster.askInstance(client, `/${way}/${action}?owners=${ids}&atOnce=${atOnce}&ms=${ms}`, ANSWER_MS_MAX);
}

function rowsOf(measured: ReadonlyMap<string, Measured[]>, place: string, action: string): Row[] {
  const of = (name: string, atOnce: number, read: (one: Measured) => number) => {
    return (measured.get(`${name} ${action} ${atOnce}`) ?? []).map(read);
  };
  const perSecond = ({ done, ms }: Measured) => (done * 1_000) / ms;
  return [
    ...[0.5, 0.99].map((q) => {
      const us = ({ took }: Measured) => quantile(took, q);
      const metric = `${action} ${place}, one after the other, p${q * 100}`;
      return compare(metric, 'µs', 0.5, of(place, 1, us), PEER, of(PEER, 1, us));
    }),
    ...AT_ONCE.map((atOnce) => {
      const how = atOnce === 1 ? 'one after the other' : `${atOnce} at once`;
      const [ours, theirs] = [of(place, atOnce, perSecond), of(PEER, atOnce, perSecond)];
      return compare(`${action} ${place}, ${how}`, '1/s', 0.5, ours, PEER, theirs);
    }),
  ];
}
