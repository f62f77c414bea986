import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { SLOTS_MAX } from '../../../agent/record.js';
import type { ComponentView } from '../../../protocol/http.js';
import { LIMITS } from '../../../protocol/limits.js';
import { processesByInstance, SoakHost } from '../soak/host.js';
import { retry } from '../until.js';
import { cpuSeconds } from './process-use.js';
import { alone, type Row } from './rows.js';

/** Whatever is up by then is measured, and how many that is is said. */
const FILL_MS_MAX = 600_000;
/** No more instances are waited for when none came for so long. */
const STILL_MS_MAX = 60_000;
const LOOK_MS = 1_000;
const WATCH_MS = 10_000;
/** Of a thousand processes it would take a while. */
const MEASURED_MAX = 100;
const MIB = 2 ** 20;
/** Of the host, for all else: what would go beyond is not started. */
const SPARE_SHARE = 0.25;

/**
 * Idle instances of a small Node component, and of a static binary, as many as were asked for, as fit in memory and in time:
 * memory of one, and what the agent takes for all. `count` of the first, five times as many of the second.
 */
export async function benchFactoryIdle(dist: string, count: number): Promise<Row[]> {
  const node = { rootfs: 'host', directory: join(dist, 'examples/search'), command: ['node', 'tokenizer.mjs'] };
  const still = { rootfs: 'host', command: ['sleep', '1000000'] };
  return [
    ...(await fill(dist, 'small Node component', node, { count, memory: '64Mi', bytesEach: 24 * MIB })),
    ...(await fill(dist, 'one process that sleeps', still, { count: 5 * count, memory: '4Mi', bytesEach: MIB })),
  ];
}

interface Asked {
  count: number;
  memory: string;
  /** What one is thought to take, its supervisor and the kernel's part with it. */
  bytesEach: number;
}

async function fill(dist: string, name: string, what: object, asked: Asked): Promise<Row[]> {
  const room = Math.floor(((await availableBytes()) * (1 - SPARE_SHARE)) / asked.bytesEach);
  const wanted = Math.min(asked.count, room, SLOTS_MAX);
  const host = await SoakHost.start(dist);
  try {
    const most = LIMITS.instancesPerComponentMax;
    const names = Array.from({ length: Math.ceil(wanted / most) }, (_, i) => `part-${String.fromCharCode(97 + i)}`);
    const size = { cpu: 0.01, memory: asked.memory };
    const components = Object.fromEntries(
      names.map((each, i) => [each, { ...what, size, count: Math.min(most, wanted - i * most) }]),
    );
    await retry('the coordinator answers', STILL_MS_MAX, () => host.ask('GET', '/healthz'));
    const start = performance.now();
    await host.ask('PUT', '/v1/apps/bench', 'application/json', JSON.stringify({ app: 'bench', components }));
    const up = await untilNoMoreCome(host, wanted);
    const seconds = (performance.now() - start) / 1_000;
    const agent = (await host.pidOf('agent')) ?? 0;
    const before = await cpuSeconds(agent);
    await new Promise((resolve) => setTimeout(resolve, WATCH_MS));
    const share = ((await cpuSeconds(agent)) - before) / (WATCH_MS / 1_000);
    const pids = [...(await processesByInstance(host.run)).values()].flat().slice(0, MEASURED_MAX);
    const bytes = await Promise.all(pids.map(pssBytes));
    const mean = bytes.reduce((sum, each) => sum + each, 0) / Math.max(1, bytes.length);
    return [
      alone(`${name}: instances asked for`, '', asked.count),
      alone(`${name}: instances up`, '', up),
      alone(`${name}: time until so many were up`, 's', seconds),
      alone(`${name}: memory of a process (PSS)`, 'MiB', mean / MIB),
      alone(`${name}: agent, memory (PSS)`, 'MiB', (await pssBytes(agent)) / MIB),
      alone(`${name}: agent, CPU`, '% of a core', share * 100),
    ];
  } finally {
    await host.close();
  }
}

/** How many were up when all were, when none came for a while, or when the time was over. */
async function untilNoMoreCome(host: SoakHost, wanted: number): Promise<number> {
  const start = performance.now();
  let up = 0;
  let cameAt = start;
  for (let now = start; now - start < FILL_MS_MAX && now - cameAt < STILL_MS_MAX; now = performance.now()) {
    // A coordinator that is late with an answer is asked again.
    const views = await host.ask<ComponentView[]>('GET', '/v1/apps/bench/components').catch((): ComponentView[] => []);
    const ready = views.reduce((sum, { count }) => sum + count.ready, 0);
    if (ready > up) {
      up = ready;
      cameAt = performance.now();
    }
    if (up >= wanted) break;
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  }
  return up;
}

async function availableBytes(): Promise<number> {
  return Number(/^MemAvailable:\s+(\d+)/m.exec(await readFile('/proc/meminfo', 'utf8'))?.[1] ?? 0) * 1024;
}

/** Shared pages counted by their share; of a process that has just ended nothing. */
async function pssBytes(pid: number): Promise<number> {
  const text = await readFile(`/proc/${pid}/smaps_rollup`, 'utf8').catch(() => '');
  return Number(/^Pss:\s+(\d+)/m.exec(text)?.[1] ?? 0) * 1024;
}
