import { setTimeout as pause } from 'node:timers/promises';
import type { Random } from '../../../protocol/balancer.js';
import type { InstanceView } from '../../../protocol/http.js';
import { History } from './history.js';
import { StateCluster } from './state-cluster.js';

/** `cut off`: a host hears and is heard of no more, and its instances go on; `behind`: a host burns whose writes no copy has. */
export const FAULTS = [
  'none',
  'instance',
  'agent',
  'coordinator',
  'agent and instance',
  'cut off',
  'host',
  'behind',
] as const;
export type Fault = (typeof FAULTS)[number];

export interface StateSoakOptions {
  dist: string;
  hosts: number;
  replicas: number;
  shards: number;
  countMax: number;
  /** Ends when so many state shards have changed their owner. */
  handovers: number;
  random: Random;
  said(line: string): void;
  /** In place of chance: one for each round, then the end. */
  faults?: readonly Fault[];
}

export interface StateSoaked {
  rounds: number;
  handovers: number;
  answered: number;
  failed: number;
  longestMs: number;
}

const KEYS_PER_ROUND = 12;
/** From a change of the count to the fault, at most. */
const FAULT_AFTER_MS = 1_500;
const AWAY_MS_MAX = 1_000;
const SETTLE_MS_MAX = 90_000;
/** A host that burns comes back empty after this: others have taken over by then. */
const BURNT_MS = 10_000;
/** Longer than leases last and hosts are waited for, shorter than what counts as lost. */
const CUT_MS = { min: 2_500, more: 3_500 };
/** Copies lag for so long … */
const BEHIND_MS = 700;
/** … and the owner, which reports copies that do not answer for 2 s, must not have done so when it burns; else once more. */
const BEHIND_MS_MAX = 1_600;
const BEHIND_TRIES = 8;

/**
 * Changes the count again and again under calls, kills processes in the middle, and then looks whether what was answered could
 * have come from one copy. Throws when it could not, or when something does not come to rest.
 */
export async function soakState(options: StateSoakOptions): Promise<StateSoaked> {
  const { dist, hosts, replicas, shards, countMax, random, said, faults } = options;
  const cluster = await StateCluster.start({ dist, hosts, replicas, shards, count: 1, countMax });
  const history = new History(cluster, random);
  try {
    history.use(keysOf(0));
    history.start();
    let [rounds, handovers, count] = [0, 0, 1];
    let owners = await ownersOf(cluster);
    while (faults === undefined ? handovers < options.handovers : rounds < faults.length) {
      history.use(keysOf(rounds));
      count = otherCount(count, countMax, random);
      const fault = faults?.[rounds] ?? anyFault(replicas, random);
      await cluster.setCount(count);
      await pause(random() * FAULT_AFTER_MS);
      await inflict(cluster, fault, random);
      await cluster.settled(SETTLE_MS_MAX);
      await cluster.replicated(SETTLE_MS_MAX);
      const after = await ownersOf(cluster);
      const moved = [...after].filter(([shard, owner]) => owners.get(shard) !== owner).length;
      owners = after;
      rounds += 1;
      handovers += moved;
      said(`round ${rounds}: count ${count}, ${moved} state shards moved, killed: ${fault}`);
    }
    await history.stop();
    await history.readAll();
    const broken = history.broken();
    for (const key of broken) said(`calls on ${key}:\n${history.of(key)}`);
    if (broken.length > 0) throw new Error(`no single copy could have answered so: ${broken.join(', ')}`);
    const lost = (await cluster.events()).filter(({ kind }) => kind === 'state-lost');
    if (lost.length > 0) throw new Error(`state was lost: ${JSON.stringify(lost)}`);
    const { answered, failed, longestMs } = history;
    return { rounds, handovers, answered, failed, longestMs };
  } finally {
    // Else its clients would go on asking whom nobody answers any more.
    await history.stop();
    await cluster.close();
  }
}

function keysOf(round: number): string[] {
  return Array.from({ length: KEYS_PER_ROUND }, (_, i) => `r${round}k${i}`);
}

/** Without a replica no host may burn. */
function anyFault(replicas: number, random: Random): Fault {
  const faults = FAULTS.filter((each) => (each !== 'host' && each !== 'behind') || replicas > 0);
  return faults[Math.floor(random() * faults.length)] as Fault;
}

function otherCount(count: number, countMax: number, random: Random): number {
  const next = 1 + Math.floor(random() * (countMax - 1));
  return next >= count ? next + 1 : next;
}

async function ownersOf(cluster: StateCluster): Promise<Map<number, string>> {
  const instances = await cluster.instances();
  return new Map(instances.flatMap(({ id, shards }) => shards.map((shard): [number, string] => [shard, id])));
}

async function inflict(cluster: StateCluster, fault: Fault, random: Random): Promise<void> {
  const host = cluster.hosts[Math.floor(random() * cluster.hosts.length)] as string;
  if (fault === 'cut off') {
    await cluster.stop(host);
    await pause(CUT_MS.min + random() * CUT_MS.more);
    await cluster.resume(host);
    return;
  }
  if (fault === 'host' || fault === 'behind') {
    const instances = await cluster.instances();
    const burnt = busiest(instances);
    if (fault === 'host') await cluster.lose(burnt, instances);
    else await loseBehind(cluster, burnt);
    await pause(BURNT_MS);
    cluster.startAgent(burnt);
    return;
  }
  if (fault.includes('instance')) {
    const instances = await cluster.instances();
    const here = fault === 'instance' ? instances : instances.filter((each) => each.host === host);
    const victims = fault === 'instance' ? [here[Math.floor(random() * here.length)]] : here;
    if (fault.includes('agent')) await cluster.kill(host);
    for (const victim of victims) if (victim !== undefined) cluster.killInstance(victim);
  } else if (fault === 'agent') await cluster.kill(host);
  if (fault === 'coordinator') await cluster.kill('coordinator');
  await pause(random() * AWAY_MS_MAX);
  if (fault.includes('agent')) cluster.startAgent(host);
  if (fault === 'coordinator') cluster.startCoordinator();
}

/**
 * The host burns while the agents that would copy its writes stand still, and these are killed: what has been sent to them meanwhile
 * goes with their sockets, so that nothing of what the host wrote is anywhere else. The coordinator stands still as well, so that
 * it does not have the writes go on without copies.
 */
async function loseBehind(cluster: StateCluster, burnt: string): Promise<void> {
  const others = cluster.hosts.filter((each) => each !== burnt);
  for (let tries = 0; tries < BEHIND_TRIES; tries += 1) {
    await cluster.settled(SETTLE_MS_MAX);
    await cluster.replicated(SETTLE_MS_MAX);
    const instances = await cluster.instances();
    const beganMs = performance.now();
    for (const each of ['coordinator', ...others]) await cluster.stop(each);
    await pause(BEHIND_MS);
    await cluster.kill(burnt);
    const isInTime = performance.now() - beganMs < BEHIND_MS_MAX;
    if (isInTime) await cluster.lose(burnt, instances);
    for (const each of others) {
      await cluster.kill(each);
      cluster.startAgent(each);
    }
    await cluster.resume('coordinator');
    if (isInTime) return;
    cluster.startAgent(burnt);
  }
  throw new Error(`in ${BEHIND_TRIES} tries ${burnt} could not be killed within ${BEHIND_MS_MAX} ms`);
}

/** The host that owns the most state shards. */
function busiest(instances: readonly InstanceView[]): string {
  const counts = new Map<string, number>();
  for (const { host, shards } of instances) counts.set(host, (counts.get(host) ?? 0) + shards.length);
  const [first] = [...counts].sort(([, a], [, b]) => b - a);
  if (first === undefined) throw new Error('no host owns a state shard');
  return first[0];
}
