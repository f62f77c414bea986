import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { chmod, chown, cp, mkdir, readFile, rm, watch, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { findCrun } from '../../../agent/host.js';
import { FABRIC_SOCKET } from '../../../protocol/control.js';
import type { ComponentView, EventView, InstanceView } from '../../../protocol/http.js';
import { decisionToServing } from '../demo/recorder.js';
import { SoakHost } from '../soak/host.js';
import { retry } from '../until.js';
import { compare, type Row } from './rows.js';

const STARTS = 40;
export const START_MS_MAX = 20_000;
/** Times are those of events: who asks much more often takes a core from what is measured, and `crun run` has both. */
const LOOK_MS = 50;

/**
 * From the plan's decision to an instance that serves, against plain `crun run` of the very same bundle until its
 * process listens. The two take turns.
 */
export async function benchStart(dist: string): Promise<Row[]> {
  const host = await SoakHost.start(dist);
  try {
    const component = { rootfs: 'host', directory: join(dist, 'examples/search'), command: ['node', 'tokenizer.mjs'] };
    const manifest = { app: 'bench', components: { one: { ...component, count: { min: 1, max: 2 } } } };
    await retry('the coordinator answers', START_MS_MAX, () => host.ask('GET', '/healthz'));
    await host.ask('PUT', '/v1/apps/bench', 'application/json', JSON.stringify(manifest));
    await scaleTo(host, 1);
    const { ours, theirs } = await startsInTurns(host, STARTS);
    const peer = 'plain crun run, until it listens';
    return [
      compare('plan to serving, p50', 'ms', 0.5, ours, peer, theirs),
      compare('plan to serving, p99', 'ms', 0.99, ours, peer, theirs),
    ];
  } finally {
    await host.close();
  }
}

/** Starts a second instance so many times, in turns with its bundle by crun alone; ms each. */
export async function startsInTurns(
  host: SoakHost,
  starts: number,
  untilItMay: () => Promise<void> = async () => undefined,
): Promise<{ ours: number[]; theirs: number[] }> {
  const ours: number[] = [];
  const theirs: number[] = [];
  for (let i = 0; i < starts; i += 1) {
    await untilItMay();
    const last = await lastEvent(host);
    await scaleTo(host, 2);
    const events = await host.ask<EventView[]>('GET', `/v1/events?after=${last}`);
    ours.push(...decisionToServing(events).slice(0, 1));
    await scaleTo(host, 1);
    theirs.push(await plainCrun(host, i));
  }
  return { ours, theirs };
}

export async function scaleTo(host: SoakHost, count: number, msMax = START_MS_MAX): Promise<void> {
  const path = '/v1/apps/bench/components/one';
  await host.ask('PUT', `${path}/scale`, 'application/json', JSON.stringify({ count }));
  const areThere = async () => {
    const view = await host.ask<ComponentView>('GET', path);
    const there = await host.ask<unknown[]>('GET', '/v1/instances');
    if (view.count.ready !== count || there.length !== count) throw new Error(`${view.count.ready} of ${there.length}`);
  };
  await retry(`${count} are ready and no more are there`, msMax, areThere, LOOK_MS);
}

/** The last event that there is; 0 before the first. */
export async function lastEvent(host: SoakHost): Promise<number> {
  const [last] = (await host.ask<EventView[]>('GET', '/v1/events')).slice(-1);
  return last?.id ?? 0;
}

/** Starts the bundle of a running instance once more by crun alone; ms until its socket is there. */
async function plainCrun(host: SoakHost, round: number): Promise<number> {
  const [{ id } = { id: '' }] = await host.ask<InstanceView[]>('GET', '/v1/instances');
  const bundle = join(host.folder, 'peer', 'bundle');
  const sockets = join(host.folder, 'peer', 'socket');
  await rm(join(host.folder, 'peer'), { recursive: true, force: true });
  await cp(join(host.run, 'instances', id, 'bundle'), bundle, { recursive: true });
  const config = JSON.parse(await readFile(join(bundle, 'config.json'), 'utf8')) as {
    process: { env: string[] };
    linux: { uidMappings: { hostID: number }[] };
    mounts: { destination: string; source: string }[];
  };
  for (const mount of config.mounts) if (mount.destination === '/run/shoal') mount.source = sockets;
  // Of one that was warm: here it shall not wait.
  config.process.env = config.process.env.filter((each) => !each.startsWith('SHOAL_WARM='));
  await writeFile(join(bundle, 'config.json'), JSON.stringify(config));
  await mkdir(sockets);
  await chmod(join(host.folder, 'peer'), 0o711);
  const owner = config.linux.uidMappings[0]?.hostID ?? 0;
  await chown(sockets, owner, owner);

  const socket = join(sockets, basename(FABRIC_SOCKET));
  const stop = new AbortController();
  const changes = watch(sockets, { signal: stop.signal });
  const name = `peer-${round}`;
  const base = ['--root', join(host.folder, 'peer', 'crun'), '--cgroup-manager=disabled'];
  const start = performance.now();
  const child = spawn(findCrun(), [...base, 'run', '--bundle', bundle, name], { stdio: 'ignore' });
  const exited = new Promise((resolve) => child.once('exit', resolve));
  try {
    for await (const _ of changes) if (existsSync(socket)) break;
    return performance.now() - start;
  } finally {
    stop.abort();
    const kill = spawn(findCrun(), [...base, 'delete', '--force', name], { stdio: 'ignore' });
    await new Promise((resolve) => kill.once('exit', resolve));
    await exited;
  }
}
