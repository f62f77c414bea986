import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import type { DesiredInstance } from '../../../protocol/link.js';
import { parseManifest } from '../../../protocol/manifest-parse.js';
import { processesByInstance } from '../soak/host.js';
import { AgentAlone } from './agent-alone.js';
import { cpuSeconds } from './process-use.js';
import { alone, type Row } from './rows.js';

/** Whatever is up by then is measured, and how many that is is said. A start takes up to a quarter of a second of one core. */
const FILL_MS_MAX = 900_000;
/** Until what begins with an instance, such as reading its names for profiles, is over. */
const SETTLE_MS = 10_000;
const LOOK_MS = 200;
const WATCH_MS = 10_000;
/** Of a thousand processes it would take a while. */
const MEASURED_MAX = 100;
const MIB = 2 ** 20;
/** Of the host's memory, for all else: what would go beyond is not started. */
const SPARE_SHARE = 0.25;

/**
 * Idle instances of a small Node component, and of a static binary, as many as were asked for, as fit in memory and in time:
 * memory of one, and what the agent takes for all. `count` of the first, five times as many of the second. No coordinator:
 * placement would not put so many on a small host.
 */
export async function benchFactoryIdle(dist: string, count: number): Promise<Row[]> {
  const node = { rootfs: 'host', directory: join(dist, 'examples/search'), command: ['node', 'tokenizer.mjs'] };
  const still = { rootfs: 'host', command: ['busybox', 'sleep', '1000000'] };
  return [
    ...(await fill(dist, 'small Node component', node, { count, memory: 64 * MIB, bytesEach: 24 * MIB })),
    ...(await fill(dist, 'static binary', still, { count: 5 * count, memory: 4 * MIB, bytesEach: MIB })),
  ];
}

interface Asked {
  count: number;
  memory: number;
  /** What one is thought to take, its supervisor and the kernel's part with it. */
  bytesEach: number;
}

async function fill(dist: string, name: string, what: object, asked: Asked): Promise<Row[]> {
  const room = Math.floor(((await availableBytes()) * (1 - SPARE_SHARE)) / asked.bytesEach);
  const wanted = Math.min(asked.count, room);
  const parsed = parseManifest(JSON.stringify({ app: 'bench', components: { one: what } }), 'the benchmark');
  if (!parsed.ok) throw new Error(parsed.errors.map(({ message }) => message).join('; '));
  const { components } = parsed.manifest;
  const size = { cpu: 0.01, memory: asked.memory };
  const instances: DesiredInstance[] = Array.from({ length: wanted }, (_, i) => {
    return { id: `bench-one-${i}`, app: 'bench', component: 'one', size, draining: false };
  });
  const host = await AgentAlone.start(dist);
  try {
    const agent = await host.pid();
    const [start, cpuBefore] = [performance.now(), await cpuSeconds(agent)];
    host.desire({ revision: 1, apps: { bench: components }, instances, shards: {} });
    while (host.ready.size < wanted && performance.now() - start < FILL_MS_MAX) await pause(LOOK_MS);
    const up = host.ready.size;
    const seconds = (performance.now() - start) / 1_000;
    const cpuUp = await cpuSeconds(agent);
    // What was still to come would be started while the idle ones are watched.
    const those = instances.filter(({ id }) => host.ready.has(id));
    host.desire({ revision: 2, apps: { bench: components }, instances: those, shards: {} });
    await pause(SETTLE_MS);
    const [idleFrom, cpuIdle] = [performance.now(), await cpuSeconds(agent)];
    await pause(WATCH_MS);
    const share = ((await cpuSeconds(agent)) - cpuIdle) / ((performance.now() - idleFrom) / 1_000);
    const pids = [...(await processesByInstance(host.run)).values()].flat().slice(0, MEASURED_MAX);
    const bytes = await Promise.all(pids.map(pssBytes));
    const mean = bytes.reduce((sum, each) => sum + each, 0) / Math.max(1, bytes.length);
    return [
      alone(`${name}: instances asked for`, '', asked.count),
      alone(`${name}: instances up`, '', up),
      alone(`${name}: processes that ended by themselves`, '', host.ends),
      alone(`${name}: time until so many were up`, 's', seconds),
      alone(`${name}: agent, CPU time of a start`, 'ms', ((cpuUp - cpuBefore) / Math.max(1, up)) * 1_000),
      alone(`${name}: memory of a process (PSS)`, 'MiB', mean / MIB),
      alone(`${name}: agent, memory (PSS)`, 'MiB', (await pssBytes(agent)) / MIB),
      alone(`${name}: agent, CPU`, '% of a core', share * 100),
    ];
  } finally {
    await host.close();
  }
}

async function availableBytes(): Promise<number> {
  return Number(/^MemAvailable:\s+(\d+)/m.exec(await readFile('/proc/meminfo', 'utf8'))?.[1] ?? 0) * 1024;
}

/** Shared pages counted by their share; of a process that has just ended nothing. */
async function pssBytes(pid: number): Promise<number> {
  const text = await readFile(`/proc/${pid}/smaps_rollup`, 'utf8').catch(() => '');
  return Number(/^Pss:\s+(\d+)/m.exec(text)?.[1] ?? 0) * 1024;
}
