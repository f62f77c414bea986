import { setTimeout as pause } from 'node:timers/promises';
import type { HostView, ShardView } from '../../../protocol/http.js';
import { monotonicMs } from '../../../protocol/monotonic.js';
import { quantile } from '../demo/recorder.js';
import { StateCluster } from '../state/state-cluster.js';
import { labelOf, peer, QUANTILES } from './handover-rows.js';
import { STEADY_MS, startLoad } from './handovers.js';
import { LinkBytes } from './link-bytes.js';
import { alone, type Row } from './rows.js';
import { inTimeOfCaller, type LoadMeasured } from './shard-changes.js';
import { type Loss, lossOf, RecoveryWatch, servedAfter } from './shard-recovery.js';

const isQuick = process.env.SHOAL_BENCH_QUICK === '1';
const HOSTS = 4;
const COUNT = 4;
const REPLICAS = 1;
const SHARDS = isQuick ? 64 : 256;
const VALUE_BYTES = 1_024;
const KEYS = (isQuick ? 8 : 64) * 1_024;
/** Calls each second. */
const RATE = 500;
const STEP_MS_MAX = 120_000;

/**
 * A host is lost with its memory, its agent and its instances, under a steady load on state of which another host has a copy: how
 * long until each state shard that it owned is served again, and until each of which it had a copy has as many as before.
 */
export async function benchStateLoss(dist: string): Promise<Row[]> {
  const size = { shards: SHARDS, replicas: REPLICAS, hosts: HOSTS, count: COUNT, countMax: COUNT };
  const cluster = await StateCluster.start({ dist, ...size, load: true });
  const traffic = new LinkBytes(cluster);
  try {
    said('filling');
    await startLoad(cluster, { keys: KEYS, valueBytes: VALUE_BYTES, rate: RATE }, STEP_MS_MAX);
    const beganMs = monotonicMs();
    await pause(STEADY_MS);
    const shardsOf = async () => (await cluster.component()).shards ?? [];
    const [instances, before] = [await cluster.instances(), await shardsOf()];
    const loss = lossOf(busiestHost(before), before);
    await traffic.start();
    said(`${loss.host} is lost, which owned ${loss.owned.length} state shards and had copies of ${loss.held.length}`);
    const lostAtMs = monotonicMs();
    await cluster.lose(loss.host, instances);
    const watch = new RecoveryWatch(loss, REPLICAS);
    const look = async () => {
      if (watch.goneAtMs === null && (await countsAsLost(cluster, loss.host))) watch.goneAtMs = monotonicMs();
      return watch.look(await shardsOf(), monotonicMs());
    };
    await cluster.until('all shards have as many copies as before and are served', look, STEP_MS_MAX);
    const bytes = await traffic.stop();
    said('all copies are there');
    const measured = await cluster.askCaller<LoadMeasured>('/stop', STEP_MS_MAX);
    const lost = (await cluster.events()).filter(({ kind }) => kind === 'state-lost');
    if (lost.length > 0) throw new Error(`state was lost: ${JSON.stringify(lost)}`);
    for (const [why, count] of Object.entries(measured.failures)) said(`${count} calls failed: ${why}`);
    return rowsOf({ loss, watch, beganMs, lostAtMs, bytes, measured });
  } finally {
    traffic.end();
    await cluster.close();
  }
}

interface Recovered {
  loss: Loss;
  watch: RecoveryWatch;
  beganMs: number;
  lostAtMs: number;
  /** Between hosts, from the loss until all copies were there again. */
  bytes: number;
  measured: LoadMeasured;
}

function rowsOf({ loss, watch, beganMs, lostAtMs, bytes, measured }: Recovered): Row[] {
  const name = `${Math.round((KEYS * VALUE_BYTES) / 2 ** 20)} MiB in ${SHARDS} state shards on ${HOSTS} hosts, R = ${REPLICAS}`;
  const served = servedAfter(loss, inTimeOfCaller(measured), lostAtMs);
  if (served.length < loss.owned.length)
    throw new Error(`of ${loss.owned.length} shards of ${loss.host} ${served.length} are served again`);
  const whole = [...watch.wholeAtMs.values()].map((atMs) => atMs - lostAtMs);
  const calls = measured.calls.filter(([startMs]) => startMs >= beganMs);
  const before = calls.filter(([startMs, ms]) => startMs + ms < lostAtMs).map(([, ms]) => ms);
  const during = calls.filter(([startMs, ms]) => startMs + ms >= lostAtMs);
  const entries = (loss.held.length * KEYS * VALUE_BYTES) / SHARDS;
  const mebibytes = bytes / 2 ** 20;
  const times = (metric: string, ms: readonly number[]) =>
    QUANTILES.map((q) => alone(`${metric}, ${labelOf(q)}`, 'ms', quantile(ms, q)));
  return [
    ...times(`${name}, one is lost: a state shard that it owned is served again after`, served),
    ...times('a state shard of which it had a copy has R + 1 again after', whole),
    alone('state shards that it owned', 'state shards', loss.owned.length),
    alone('state shards of which it had a copy', 'state shards', loss.held.length),
    {
      ...alone('bytes between hosts meanwhile', 'MiB', mebibytes),
      ...peer('entries of lost copies', entries / 2 ** 20, mebibytes),
    },
    ...(watch.goneAtMs === null ? [] : goneRows(watch, watch.goneAtMs, lostAtMs)),
    ...times('calls before', before),
    ...times(
      'calls from then on',
      during.map(([, ms]) => ms),
    ),
    alone('calls that failed', 'calls', during.filter(([, , , failed]) => failed > 0).length),
    alone('calls from then on', 'calls', during.length),
  ];
}

/** What was still to be done when the host had not come back for so long that it counts as lost. */
function goneRows({ wholeAtMs }: RecoveryWatch, goneAtMs: number, lostAtMs: number): Row[] {
  const later = [...wholeAtMs.values()].filter((atMs) => atMs > goneAtMs);
  const mebibytes = (later.length * KEYS * VALUE_BYTES) / SHARDS / 2 ** 20;
  const seconds = (Math.max(goneAtMs, ...later) - goneAtMs) / 1_000;
  return [
    alone('the host counts as lost after', 'ms', goneAtMs - lostAtMs),
    alone('state shards whose copies are made anew from then on', 'state shards', later.length),
    ...(later.length === 0 ? [] : [alone('entries of these each second', 'MiB/s', mebibytes / seconds)]),
  ];
}

async function countsAsLost(cluster: StateCluster, name: string): Promise<boolean> {
  const host = (await cluster.get<HostView[]>('/v1/hosts')).find((each) => each.name === name);
  return host === undefined || host.standing.state === 'lost' || host.standing.state === 'flapping';
}

/** The host that owns the most state shards. */
function busiestHost(shards: readonly ShardView[]): string {
  const counts = new Map<string, number>();
  for (const { copies } of shards) {
    if (copies !== null && copies.owner !== null) counts.set(copies.owner, (counts.get(copies.owner) ?? 0) + 1);
  }
  const [first] = [...counts].toSorted(([, a], [, b]) => b - a);
  if (first === undefined) throw new Error('no host owns a state shard');
  return first[0];
}

/** How far it is, for whoever waits. */
function said(step: string): void {
  console.error(`state-loss: ${step}`);
}
