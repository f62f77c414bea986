import { join } from 'node:path';
import type { ComponentView, EventView } from '../../../protocol/http.js';
import { LIMITS } from '../../../protocol/limits.js';
import { SoakHost } from '../soak/host.js';
import { retry } from '../until.js';
import { benchResizeUnderLoad } from './resize-load.js';
import { alone, compare, type Row } from './rows.js';
import { lastEvent, START_MS_MAX, scaleTo, startsInTurns } from './start.js';

const QUICK = process.env.SHOAL_BENCH_QUICK === '1';
const STARTS = QUICK ? 10 : 40;
/** As many as one component may have that wait. */
const TOGETHER = QUICK ? 10 : LIMITS.warmPerComponentMax;
/** Of each, so that two cores have room for all. */
const TOGETHER_CPU = 0.02;
const MIB = 2 ** 20;
const LOOK_MS = 50;

/**
 * From the plan's decision to an instance that serves, by where it comes from: a process that waits, and a local image of
 * the host. Each beside plain `crun run` of the very same bundle until its process listens, in turn with ours.
 */
export async function benchFactory(dist: string): Promise<Row[]> {
  const rows = [...(await benchOrigin(dist, 'from a warm process', 2)), ...(await benchOrigin(dist, 'cold', 0))];
  return [...rows, ...(await benchTogether(dist)), ...(await benchResizeUnderLoad(dist))];
}

async function benchOrigin(dist: string, name: string, warm: number): Promise<Row[]> {
  const host = await startHost(dist, warm, 3);
  try {
    await scaleTo(host, 1);
    const { ours, theirs } = await startsInTurns(host, STARTS, () => untilWaiting(host, warm));
    const peer = 'crun run, until it listens';
    return [
      compare(`decision to serving, ${name}, p50`, 'ms', 0.5, ours, peer, theirs),
      compare(`decision to serving, ${name}, p99`, 'ms', 0.99, ours, peer, theirs),
      ...(warm === 0 ? [] : [await memoryRow(host)]),
    ];
  } finally {
    await host.close();
  }
}

/** What one that waits costs. */
async function memoryRow(host: SoakHost): Promise<Row> {
  await untilWaiting(host, 2);
  const { warm } = await host.ask<ComponentView>('GET', '/v1/apps/bench/components/one');
  return alone('a warm process, memory', 'MiB', warm.memoryBytes / warm.waiting / MIB);
}

/** So many warm processes become instances at once: from the first decision until the last one serves. */
async function benchTogether(dist: string): Promise<Row[]> {
  const host = await startHost(dist, TOGETHER, TOGETHER + 1, TOGETHER_CPU);
  try {
    await scaleTo(host, 1);
    await untilWaiting(host, TOGETHER);
    const last = await lastEvent(host);
    await scaleTo(host, TOGETHER + 1, 120_000);
    const events = await host.ask<EventView[]>('GET', `/v1/events?after=${last}`);
    const timesOf = (of: string) => events.filter(({ kind }) => kind === of).map(({ atMs }) => atMs);
    const took = Math.max(...timesOf('ready')) - Math.min(...timesOf('created'));
    return [alone(`${TOGETHER} at once from warm processes, all serving`, 'ms', took)];
  } finally {
    await host.close();
  }
}

async function startHost(dist: string, warm: number, max: number, cpu = 0.1): Promise<SoakHost> {
  const host = await SoakHost.start(dist);
  const component = { rootfs: 'host', directory: join(dist, 'examples/search'), command: ['node', 'tokenizer.mjs'] };
  const size = { cpu: { min: cpu, max: 1 }, memory: { min: '64Mi', max: '64Mi' } };
  const manifest = { app: 'bench', components: { one: { ...component, warm, size, count: { min: 1, max } } } };
  await retry('the coordinator answers', START_MS_MAX, () => host.ask('GET', '/healthz'));
  await host.ask('PUT', '/v1/apps/bench', 'application/json', JSON.stringify(manifest));
  return host;
}

function untilWaiting(host: SoakHost, count: number): Promise<void> {
  const areWaiting = async () => {
    const { warm } = await host.ask<ComponentView>('GET', '/v1/apps/bench/components/one');
    if (warm.waiting < count) throw new Error(`${warm.waiting} wait`);
  };
  return retry(`${count} processes wait`, 180_000, areWaiting, LOOK_MS);
}
