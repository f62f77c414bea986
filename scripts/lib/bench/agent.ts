import { spawn } from 'node:child_process';
import { cp, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { findCrun } from '../../../agent/host.js';
import type { ComponentView } from '../../../protocol/http.js';
import { SoakHost } from '../soak/host.js';
import { retry } from '../until.js';
import { alone, compare, type Row } from './rows.js';

const INSTANCES = 100;
const WATCH_MS = 10_000;
const START_MS_MAX = 120_000;
const TICKS_PER_SECOND = 100;
const MIB = 2 ** 20;

/** What the agent takes while idle and with 100 instances, and what supervises each instance against a waiting crun. */
export async function benchAgent(dist: string): Promise<Row[]> {
  const host = await SoakHost.start(dist);
  try {
    await retry('the coordinator answers', START_MS_MAX, () => host.ask('GET', '/healthz'));
    await new Promise((resolve) => setTimeout(resolve, 3_000));
    const idle = await watchProcess((await host.pidOf('agent')) ?? 0);
    const component = {
      rootfs: 'host',
      command: ['sleep', '1000000'],
      count: INSTANCES,
      size: { cpu: 0.01, memory: '16Mi' },
    };
    await host.ask(
      'PUT',
      '/v1/apps/bench',
      'application/json',
      JSON.stringify({ app: 'bench', components: { one: component } }),
    );
    await retry('all are ready', START_MS_MAX, async () => {
      const { count } = await host.ask<ComponentView>('GET', '/v1/apps/bench/components/one');
      if (count.ready !== INSTANCES) throw new Error(`${count.ready} are ready`);
    });
    const busy = await watchProcess((await host.pidOf('agent')) ?? 0);
    const shims = await Promise.all(
      (await readdir(join(host.run, 'instances'))).map(async (id) =>
        memoryOf(Number(await readFile(join(host.run, 'instances', id, 'shim.pid'), 'utf8'))),
      ),
    );
    return [
      alone('agent idle, memory (PSS)', 'MiB', idle.bytes / MIB),
      alone('agent idle, CPU', '% of a core', idle.cpuShare * 100),
      alone(`agent with ${INSTANCES} instances, memory (PSS)`, 'MiB', busy.bytes / MIB),
      alone(`agent with ${INSTANCES} instances, CPU`, '% of a core', busy.cpuShare * 100),
      compare(
        'supervisor of one instance, memory (PSS)',
        'MiB',
        0.5,
        shims.map((bytes) => bytes / MIB),
        'crun run, waiting',
        await waitingCrun(host),
      ),
    ];
  } finally {
    await host.close();
  }
}

/** Memory in MiB of ten crun processes that each wait for a container, as a supervisor without shim would keep them. */
async function waitingCrun(host: SoakHost): Promise<number[]> {
  const [id = ''] = await readdir(join(host.run, 'instances'));
  const bundle = join(host.folder, 'peer-bundle');
  await cp(join(host.run, 'instances', id, 'bundle'), bundle, { recursive: true });
  const base = ['--root', join(host.folder, 'peer-crun'), '--cgroup-manager=disabled'];
  const names = Array.from({ length: 10 }, (_, i) => `peer-${i}`);
  const children = names.map((name) =>
    spawn(findCrun(), [...base, 'run', '--bundle', bundle, name], { stdio: 'ignore' }),
  );
  try {
    await retry('crun has started its containers', START_MS_MAX, async () => {
      const started = await readdir(join(host.folder, 'peer-crun'));
      if (started.length < names.length) throw new Error(`${started.length} started`);
    });
    await new Promise((resolve) => setTimeout(resolve, 1_000));
    return (await Promise.all(children.map((child) => memoryOf(child.pid ?? 0)))).map((bytes) => bytes / MIB);
  } finally {
    for (const [i, name] of names.entries()) {
      const exited = new Promise((resolve) => children[i]?.once('exit', resolve));
      const kill = spawn(findCrun(), [...base, 'delete', '--force', name], { stdio: 'ignore' });
      await new Promise((resolve) => kill.once('exit', resolve));
      await exited;
    }
  }
}

async function watchProcess(pid: number): Promise<{ bytes: number; cpuShare: number }> {
  const before = await cpuSecondsOf(pid);
  await new Promise((resolve) => setTimeout(resolve, WATCH_MS));
  const cpuShare = ((await cpuSecondsOf(pid)) - before) / (WATCH_MS / 1000);
  return { bytes: await memoryOf(pid), cpuShare };
}

/** utime and stime of proc(5). */
async function cpuSecondsOf(pid: number): Promise<number> {
  const fields = (await readFile(`/proc/${pid}/stat`, 'utf8')).split(') ')[1]?.split(' ') ?? [];
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
}

async function memoryOf(pid: number): Promise<number> {
  const rollup = await readFile(`/proc/${pid}/smaps_rollup`, 'utf8');
  return Number(/^Pss:\s+(\d+) kB$/m.exec(rollup)?.[1] ?? 0) * 1024;
}
