import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { ComponentView, HostView, InstanceView } from '../../../protocol/http.js';
import { LIMITS } from '../../../protocol/limits.js';
import { retry } from '../until.js';
import { crunPids, leftovers, processesByInstance, SoakHost } from './host.js';

export type Victim = 'agent' | 'coordinator' | 'instance' | 'crun' | 'shim';
export const VICTIMS: readonly Victim[] = ['agent', 'coordinator', 'instance', 'crun', 'shim'];

export interface Kill {
  victim: Victim;
  /** Until the cluster was again exactly what was asked for, in ms. */
  convergedMs: number;
}

export interface SoakOptions {
  /** Folder of compiled code. */
  dist: string;
  kills: number;
  random: () => number;
  /** How long it may take until the host is as wanted, ms; 10 s unless said. */
  convergeMs?: number;
  said?: (line: string) => void;
}

const CONVERGE_MS_MAX = 10_000;
const SETTLE_MS_MAX = 30_000;
const COUNT_MAX = 4;
/** A crun that is to be killed may have ended before. */
const ATTEMPTS_PER_KILL = 5;

/** An app of a stateless and a partitioned component, scaled by hand, so that every kill hits a reshaping. */
function manifest(dist: string): string {
  const component = (name: string, more: object) => ({
    rootfs: 'host',
    directory: join(dist, 'examples/search'),
    command: ['node', `${name}.mjs`],
    count: { min: 1, max: COUNT_MAX },
    size: { cpu: { min: 0.05, max: 0.2 }, memory: { min: '64Mi', max: '128Mi' } },
    ...more,
  });
  const components = { tokenizer: component('tokenizer', {}), index: component('index', { state: 'partitioned' }) };
  return JSON.stringify({ app: 'soak', components });
}

/**
 * Kills parts of a running host at random moments in the middle of reshaping, and after each kill waits until it is
 * exactly what was asked for. Throws, with what is wrong, when that takes too long or anything is left over.
 */
export async function soak({
  dist,
  kills,
  random,
  convergeMs = CONVERGE_MS_MAX,
  said = () => {},
}: SoakOptions): Promise<Kill[]> {
  const host = await SoakHost.start(dist);
  try {
    await retry('the coordinator answers', SETTLE_MS_MAX, () => host.ask('GET', '/healthz'));
    await host.ask('PUT', '/v1/apps/soak', 'application/json', manifest(dist));
    const counts: Record<string, number> = { tokenizer: 1, index: 1 };
    // By hand from the first moment: on a busy machine its own start looks like demand, and the plan grows it.
    await reshape(host, counts);
    await retry('the app is up', SETTLE_MS_MAX, () => assertConverged(host, counts));
    const done: Kill[] = [];
    for (let attempt = 0; done.length < kills && attempt < kills * ATTEMPTS_PER_KILL; attempt += 1) {
      const victim = VICTIMS[Math.floor(random() * VICTIMS.length)] as Victim;
      for (const name of Object.keys(counts)) counts[name] = 1 + Math.floor(random() * COUNT_MAX);
      await reshape(host, counts);
      // crun runs for a few hundredths of a second only, right after the decision.
      await new Promise((resolve) => setTimeout(resolve, random() * (victim === 'crun' ? 20 : 300)));
      const hit = await kill(host, victim, random);
      const start = performance.now();
      const what = `kill ${done.length + 1} (${victim}) is mended`;
      await retry(what, convergeMs, () => assertConverged(host, counts));
      if (!hit) continue;
      const convergedMs = performance.now() - start;
      done.push({ victim, convergedMs });
      said(`${String(done.length).padStart(3)}  ${victim.padEnd(11)}  converged after ${convergedMs.toFixed(0)} ms`);
    }
    await host.ask('DELETE', '/v1/apps/soak');
    await retry('everything is gone', SETTLE_MS_MAX, async () => {
      assertSame('left over', await leftovers(host.run, new Set()), []);
    });
    return done;
  } finally {
    await host.close();
  }
}

async function reshape(host: SoakHost, counts: Record<string, number>): Promise<void> {
  for (const [name, count] of Object.entries(counts)) {
    const body = JSON.stringify({ count });
    // The coordinator may be on its way up again from the last kill.
    await retry('the scaling is taken', CONVERGE_MS_MAX, () =>
      host.ask('PUT', `/v1/apps/soak/components/${name}/scale`, 'application/json', body),
    );
  }
}

/** Answers whether there was something to kill. */
async function kill(host: SoakHost, victim: Victim, random: () => number): Promise<boolean> {
  let pid: number | undefined;
  if (victim === 'agent' || victim === 'coordinator') {
    pid = random() < 0.5 ? host.outerPidOf(victim) : await host.pidOf(victim);
  } else if (victim === 'crun') {
    // There is one only while an instance starts or ends: what comes first within a moment.
    const deadline = performance.now() + 500;
    while (pid === undefined && performance.now() < deadline) [pid] = await crunPids(host.run);
  } else {
    const instances = await processesByInstance(host.run);
    const [id, pids = []] = [...instances][0] ?? [];
    if (victim === 'instance') pid = pids[0];
    else if (id !== undefined)
      pid = Number(await readFile(join(host.run, 'instances', id, 'shim.pid'), 'utf8').catch(() => ''));
  }
  if (pid === undefined || !(pid > 0)) return false;
  try {
    process.kill(pid, 'SIGKILL');
    return true;
  } catch (error) {
    // It ended by itself between the look and the shot.
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
    return false;
  }
}

/** Throws unless what runs is what was asked for, no more and no less, and the state shards are all owned. */
async function assertConverged(host: SoakHost, counts: Record<string, number>): Promise<void> {
  const hosts = await host.ask<HostView[]>('GET', '/v1/hosts');
  assertSame(
    'hosts',
    hosts.map((each) => each.connected),
    [true],
  );
  const components = await host.ask<ComponentView[]>('GET', '/v1/apps/soak/components');
  const instances = await host.ask<InstanceView[]>('GET', '/v1/instances');
  for (const { component, count } of components) assertSame(`${component} wanted`, count.desired, counts[component]);
  for (const [name, count] of Object.entries(counts)) {
    const here = instances.filter((each) => each.component === name);
    assertSame(
      `phases of ${name}`,
      here.map((each) => each.phase),
      Array.from({ length: count }, () => 'ready'),
    );
  }
  const ids = new Set(instances.map((each) => each.id));
  assertSame('left over', await leftovers(host.run, ids), []);
  assertSame('running', [...(await processesByInstance(host.run)).keys()].sort(), [...ids].sort());
  const shards = instances.flatMap((each) => each.shards).sort((a, b) => a - b);
  assertSame(
    'state shards',
    shards,
    Array.from({ length: LIMITS.shardCountDefault }, (_, shard) => shard),
  );
}

function assertSame(what: string, found: unknown, expected: unknown): void {
  const [a, b] = [JSON.stringify(found), JSON.stringify(expected)];
  if (a !== b) throw new Error(`${what}: found ${a}, expected ${b}`);
}
