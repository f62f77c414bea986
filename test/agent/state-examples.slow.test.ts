import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import type { DesiredInstance } from '../../protocol/link.js';
import { parseManifest } from '../../protocol/manifest-parse.js';
import { RedisServer } from '../../scripts/lib/state/redis-server.js';
import { AgentRig } from './rig.js';

const MANIFEST = new URL('../../../examples/state/shoal.yaml', import.meta.url);
const BUILT = fileURLToPath(new URL('../../examples/state', import.meta.url));
const PORT = 17_093;
const IN_A_CACHE = '{ mode: cache, server: "redis://127.0.0.1:PORT" }';

/** The example's app, of which two components keep their state in a cache when it is given one. */
async function start(cachePort: number | null): Promise<AgentRig> {
  let text = await readFile(MANIFEST, 'utf8');
  if (cachePort !== null) {
    const [before, after] = text.split('  sessions:');
    const cached = after?.replaceAll(
      '{ mode: partitioned, shards: 64 }',
      IN_A_CACHE.replace('PORT', String(cachePort)),
    );
    text = `${before}  sessions:${cached}`;
  }
  const parsed = parseManifest(text, 'shoal.yaml');
  if (!parsed.ok) throw new Error(JSON.stringify(parsed.errors));
  const components = Object.entries(parsed.manifest.components).map(([name, each]) => {
    const ports = each.ports.map((port) => ({ ...port, host: PORT }));
    return [name, { ...each, ports, source: { kind: 'rootfs' as const, rootfs: 'host', directory: BUILT } }] as const;
  });
  const instances = components.flatMap(([component]) =>
    (component === 'front' ? [0] : [0, 1]).map((n): DesiredInstance => {
      const size = { cpu: 0.5, memory: 192 * 2 ** 20 };
      return { id: `state-${component}-${n}`, app: 'state', component, size, draining: false };
    }),
  );
  const shards = components
    .filter(([, { state }]) => state === 'partitioned')
    .map(([name]) => {
      const owners = Array.from({ length: 64 }, (_, shard) => `state-${name}-${shard % 2}`);
      return [`state/${name}`, { epoch: 1, owners }] as const;
    });
  const rig = await AgentRig.make();
  rig.desire(() => ({
    apps: { state: Object.fromEntries(components) },
    instances,
    shards: Object.fromEntries(shards),
  }));
  await rig.until('all are ready', () => rig.statuses.filter(({ phase }) => phase === 'ready').length === 7, 60_000);
  return rig;
}

async function ask(method: string, path: string): Promise<{ status: number; body: unknown }> {
  const response = await fetch(`http://127.0.0.1:${PORT}${path}`, { method, signal: AbortSignal.timeout(20_000) });
  return { status: response.status, body: await response.json() };
}

for (const mode of ['partitioned', 'cache'] as const) {
  t.test(`the counter, the session store and the rate limiter of the examples (${mode})`, async (t) => {
    const redis = mode === 'cache' ? await RedisServer.start() : null;
    t.teardown(() => redis?.close());
    const rig = await start(redis?.port ?? null);
    await rig.until('it answers', async () => (await ask('GET', '/count/').catch(() => null))?.status === 200, 40_000);
    const names = ['apples', 'pears', 'plums'];
    await Promise.all(names.flatMap((name) => Array.from({ length: 20 }, () => ask('POST', `/count/${name}`))));
    for (const name of names) t.same(await ask('GET', `/count/${name}`), { status: 200, body: 20 });
    t.same(await ask('GET', '/count/'), { status: 200, body: 60 });

    const { body: id } = await ask('POST', '/session/ann');
    t.same(await ask('GET', `/session/${id}`), { status: 200, body: { user: 'ann', seen: 1 } });
    t.same(await ask('GET', `/session/${id}`), { status: 200, body: { user: 'ann', seen: 2 } });
    const pids = rig.statuses.filter(({ component }) => component !== 'front').map(({ pid }) => pid as number);
    for (const pid of pids) process.kill(pid, 'SIGKILL');
    const restarted = () =>
      rig.statuses.every(({ component, phase, restarts }) => {
        return phase === 'ready' && (component === 'front' || restarts >= 1);
      });
    await rig.until('all are there again', restarted, 60_000);
    await rig.until('the session is there still', async () => {
      const { status, body } = await ask('GET', `/session/${id}`);
      return status === 200 && (body as { user: string }).user === 'ann';
    });
    // A call may still meet the connection of a process that was killed.
    await rig.until('and all counts', async () => (await ask('GET', '/count/')).body === 60);
    await rig.until('it is ended', async () => (await ask('DELETE', `/session/${id}`)).status === 200);
    t.equal((await ask('GET', `/session/${id}`)).status, 401);

    // Of both of its instances.
    for (const client of ['a', 'b', 'c', 'd', 'e', 'me']) {
      await rig.until('the limiter answers', async () => (await ask('GET', `/limited/${client}`)).status !== 503);
    }
    const answers = await Promise.all(Array.from({ length: 30 }, () => ask('GET', '/limited/me')));
    const welcome = answers.filter(({ status }) => status === 200).length;
    t.ok(welcome >= 4 && welcome < 30, `${welcome} of 30 at once were let through`);
    t.ok(answers.every(({ status }) => status === 200 || status === 429));
    t.equal((await ask('GET', '/limited/other')).status, 200, 'each client for itself');
    t.same(await rig.close(), []);
  });
}
