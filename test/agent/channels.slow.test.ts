import { readdir, readFile, readlink } from 'node:fs/promises';
import t, { type Test } from 'tap';
import { native } from '../../native/index.js';
import type { InstanceStatus } from '../../protocol/link.js';
import { freePort } from '../../scripts/lib/demo/cluster.js';
import { AgentRig, component, instance, shardMap } from './rig.js';

interface Reply {
  answer?: unknown;
  code?: string;
  atMs?: number;
}

interface Peer {
  instances: { id: string; carrier?: string; why?: string }[];
}

/** What a call in flight may take to fail once its callee is killed. */
const NOTICED_MS_MAX = 10;

async function json<T>(port: number, path: string): Promise<T> {
  return (await (await fetch(`http://127.0.0.1:${port}${path}`)).json()) as T;
}

interface Running {
  rig: AgentRig;
  port: number;
  forgerPort: number;
  ask(path: string): Promise<Reply>;
}

/** A front end and a forger that may call a store, beside a component that they may not call. */
async function withApp(t: Test, test: (running: Running) => Promise<void>): Promise<void> {
  const rig = await AgentRig.make();
  try {
    const [port, forgerPort] = [await freePort(), await freePort()];
    const calls = ['store'];
    const apps = {
      t: {
        store: component('store', { state: 'partitioned' }),
        secret: component('store'),
        front: component('front', { calls, ports: [{ name: 'http', host: port }] }),
        // Only one process of an instance is talked to: its SDK stays away.
        forger: component('forger', {
          calls,
          env: { SHOAL_CARRIER: 'unix' },
          ports: [{ name: 'http', host: forgerPort }],
        }),
      },
    };
    const names = Object.keys(apps.t);
    rig.desire(() => ({
      apps,
      instances: names.map((name) => instance(name, 0)),
      shards: { 't/store': shardMap(1, ['t-store-0']) },
    }));
    await rig.until('all are ready', () => names.every((name) => rig.status(`t-${name}-0`)?.phase === 'ready'));
    await rig.until('the host ports listen', () => rig.ports.length === 2);
    await rig.until('the shards are owned', () => rig.status('t-store-0')?.shards.length === 64);
    await test({ rig, port, forgerPort, ask: (path) => json<Reply>(port, path) });
  } finally {
    t.same(await rig.close(), []);
  }
}

async function waysOf(port: number): Promise<string[]> {
  const peers = await json<Peer[]>(port, '/');
  return peers.flatMap(({ instances }) => instances.map(({ id, carrier, why }) => `${id} ${why ?? carrier}`));
}

/** Mappings and descriptors of channels in a process. */
async function channelsOf(pid: number): Promise<{ mappings: number; descriptors: number }> {
  const maps = await readFile(`/proc/${pid}/maps`, 'utf8');
  const links = await Promise.all(
    (await readdir(`/proc/${pid}/fd`)).map((fd) => readlink(`/proc/${pid}/fd/${fd}`).catch(() => '')),
  );
  return {
    mappings: maps.match(/memfd:shoal-channel/g)?.length ?? 0,
    descriptors: links.filter((link) => link.includes('shoal-channel') || link.startsWith('pipe:')).length,
  };
}

/**
 * Kills the process of an instance while a call is at work there; answers how long that call took to fail, in ms from
 * where the kernel says that the process is dead.
 */
async function killAtWork({ rig, ask }: Running, id: string): Promise<{ code: string | undefined; tookMs: number }> {
  const { pid, restarts } = rig.status(id) as InstanceStatus;
  const begun = ask('/store/never?key=k');
  await ask('/store/get?key=k'); // answered after the other one has begun
  const dead = new Promise<number>((resolve) => {
    native.watchPid(pid as number, () => resolve(performance.timeOrigin + performance.now()));
  });
  process.kill(pid as number, 'SIGKILL');
  const deadMs = await dead;
  const { code, atMs = Number.POSITIVE_INFINITY } = await begun;
  await rig.until('another process has taken its place', () => rig.status(id)?.restarts === restarts + 1);
  await rig.until('it owns the shards', () => rig.status(id)?.shards.length === 64);
  return { code, tookMs: atMs - deadMs };
}

t.test('calls between containers go over rings; a killed callee fails them at once and leaves nothing', async (t) => {
  await withApp(t, async (running) => {
    const { rig, port, ask } = running;
    const front = rig.status('t-front-0')?.pid as number;
    const before = await channelsOf(front);
    await ask('/store/set?key=k&value=v');
    t.same(await ask('/store/get?key=k'), { answer: 'v' });
    t.same(await waysOf(port), ['t-store-0 ring']);
    t.same(await channelsOf(front), { mappings: 1, descriptors: before.descriptors + 2 });

    await rig.until('the agent tells of it', () => rig.status('t-front-0')?.channels !== undefined);
    t.same(rig.status('t-front-0')?.channels, { store: { ring: 1, unix: 0 } });

    const took: number[] = [];
    for (let i = 0; i < 3; i += 1) {
      const { code, tookMs } = await killAtWork(running, 't-store-0');
      t.equal(code, 'SHOAL_E_PEER_DIED');
      took.push(tookMs);
      t.same(await channelsOf(front), before, 'nothing of the channel is left');
      await ask('/store/set?key=k&value=w');
      t.same(await waysOf(port), ['t-store-0 ring']);
    }
    const best = Math.min(...took);
    t.ok(
      best < NOTICED_MS_MAX,
      `from the end of the process to the failed call: ${took.map((ms) => ms.toFixed(1)).join(', ')} ms`,
    );
  });
});

t.test('channels outlive the agent, and the next one makes new ones', async (t) => {
  await withApp(t, async (running) => {
    const { rig, port, ask } = running;
    await ask('/store/set?key=k&value=v');
    const callerPid = rig.status('t-front-0')?.pid as number;
    t.equal((await channelsOf(callerPid)).mappings, 1);
    await ask('/store/slow?key=k&keep');
    await rig.killAgent('SIGKILL');
    rig.ports = [];
    rig.startAgent();
    await rig.until('the agent is back', () => rig.ports.length === 2);
    while ((await json<Reply[]>(port, '/kept')).length === 0) await ask('/store/get?key=k');
    t.same(await json(port, '/kept'), [{ answer: 'v' }], 'a call that was at work while the agent died');
    t.equal((await channelsOf(callerPid)).mappings, 1, 'by the same channel');
    const { code } = await killAtWork(running, 't-store-0');
    t.equal(code, 'SHOAL_E_PEER_DIED');
    await ask('/store/get?key=k');
    t.same(await waysOf(port), ['t-store-0 ring']);
    for (const pid of await rig.agentPids()) {
      const maps = await readFile(`/proc/${pid}/maps`, 'utf8');
      t.notMatch(maps, /shoal-channel/, 'the agent keeps no memory of channels');
    }
  });
});

t.test('an instance that forges requests gets no channel that the manifest does not grant', async (t) => {
  await withApp(t, async ({ forgerPort, ask }) => {
    const forge = (component: string, instance: string) =>
      json<Record<string, unknown>>(forgerPort, `/?component=${component}&instance=${instance}`);
    t.match(await forge('store', 't-store-0'), { type: 'opened', fds: 3 });
    t.match(await forge('secret', 't-secret-0'), { type: 'refused', code: 'SHOAL_E_NOT_GRANTED', fds: 0 });
    t.match(await forge('store', 't-secret-0'), { type: 'refused', code: 'SHOAL_E_NOT_GRANTED', fds: 0 });
    t.match(await forge('front', 't-front-0'), { type: 'refused', code: 'SHOAL_E_NOT_GRANTED', fds: 0 });
    t.match(await forge('store', 'other-store-0'), { type: 'refused', code: 'SHOAL_E_NO_INSTANCE', fds: 0 });
    t.match(await forge('..', 't-store-0'), { type: 'hung up' }, 'no name at all');
    await ask('/store/set?key=k&value=v');
    t.same(await ask('/store/get?key=k'), { answer: 'v' }, 'others are served');
  });
});
