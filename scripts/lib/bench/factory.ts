import { chmod, mkdtemp, rm } from 'node:fs/promises';
import type { ComponentView, EventView } from '../../../protocol/http.js';
import { LIMITS } from '../../../protocol/limits.js';
import { SoakHost } from '../soak/host.js';
import { retry } from '../until.js';
import { makeNodeImage, type NodeImage } from './node-image.js';
import { passedOn } from './passed-on.js';
import { benchResizeUnderLoad } from './resize-load.js';
import { alone, type Row } from './rows.js';
import { lastEvent, START_MS_MAX, scaleTo, startRows, startsInTurns } from './start.js';
import { imagePeers, type StartPeer } from './start-peers.js';

const QUICK = process.env.SHOAL_BENCH_QUICK === '1';
/** Of each kind, unless said. */
export const STARTS = QUICK ? 10 : 40;
/** As many as one component may have that wait. */
const TOGETHER = QUICK ? 10 : LIMITS.warmPerComponentMax;
/** Of each, so that two cores have room for all. */
const TOGETHER_CPU = 0.02;
const MIB = 2 ** 20;
const LOOK_MS = 50;
/** Between messages through bare processes: as long as there is nothing to do between two starts. */
const PAUSE_MS = 500;
/** The first instance has the image fetched and unpacked. */
const IMAGE_MS_MAX = 60_000;

/**
 * From the plan's decision to an instance that serves, of a local image, by where it comes from: a process that waits, and
 * nothing yet. Beside the same process by bare runtimes and by podman, in turn with ours.
 */
export async function benchFactory(dist: string, starts: number): Promise<Row[]> {
  const folder = await mkdtemp('/run/shoal-bench-');
  try {
    await chmod(folder, 0o711);
    const image = await makeNodeImage(dist, folder);
    const rows = await benchOrigins(dist, folder, image, starts);
    return [...rows, ...(await benchTogether(dist, image)), ...(await benchResizeUnderLoad(dist))];
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function benchOrigins(dist: string, folder: string, image: NodeImage, starts: number): Promise<Row[]> {
  const peers = await imagePeers(folder, image);
  try {
    const of = { image, peers, starts };
    const warm = await benchOrigin(dist, of, 'from a warm process', 2);
    return [...warm, ...(await benchOrigin(dist, of, 'cold', 0))];
  } finally {
    for (const peer of peers) await peer.close();
  }
}

async function benchOrigin(
  dist: string,
  { image, peers, starts }: { image: NodeImage; peers: readonly StartPeer[]; starts: number },
  name: string,
  warm: number,
): Promise<Row[]> {
  const host = await startHost(dist, image, warm, 3);
  try {
    await scaleTo(host, 1, IMAGE_MS_MAX);
    const untilItMay = () => untilWaiting(host, warm);
    const took = await startsInTurns(host, starts, peers, { root: image.root, untilItMay });
    const rows = startRows(`decision to serving, ${name}`, took);
    if (warm === 0) return rows;
    const bare = { name: 'a message through three bare Node.js processes', theirs: await passedOn(starts, PAUSE_MS) };
    return [...rows, ...startRows(`decision to serving, ${name}`, { ...took, peers: [bare] }), await memoryRow(host)];
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
async function benchTogether(dist: string, image: NodeImage): Promise<Row[]> {
  const host = await startHost(dist, image, TOGETHER, TOGETHER + 1, TOGETHER_CPU);
  try {
    await scaleTo(host, 1, IMAGE_MS_MAX);
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

async function startHost(
  dist: string,
  { reference }: NodeImage,
  warm: number,
  max: number,
  cpu = 0.1,
): Promise<SoakHost> {
  const host = await SoakHost.start(dist);
  const size = { cpu: { min: cpu, max: 1 }, memory: { min: '64Mi', max: '64Mi' } };
  const manifest = { app: 'bench', components: { one: { image: reference, warm, size, count: { min: 1, max } } } };
  try {
    await retry('the coordinator answers', START_MS_MAX, () => host.ask('GET', '/healthz'));
    await host.ask('PUT', '/v1/apps/bench', 'application/json', JSON.stringify(manifest));
    return host;
  } catch (error) {
    await host.close();
    throw error;
  }
}

function untilWaiting(host: SoakHost, count: number): Promise<void> {
  const areWaiting = async () => {
    const { warm } = await host.ask<ComponentView>('GET', '/v1/apps/bench/components/one');
    if (warm.waiting < count) throw new Error(`${warm.waiting} wait`);
  };
  return retry(`${count} processes wait`, 180_000, areWaiting, LOOK_MS);
}
