import { mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import t from 'tap';
import { freePort } from '../../scripts/lib/demo/cluster.js';
import { AgentRig, component, instance, shardMap } from './rig.js';

interface Reply {
  answer?: unknown;
  code?: string;
}

t.test('components call what their manifest grants, through a host port, and nothing else', async (t) => {
  const rig = await AgentRig.make();
  const port = await freePort();
  const ask = async (path: string) => (await (await fetch(`http://127.0.0.1:${port}${path}`)).json()) as Reply;
  const apps = {
    t: {
      store: component('store', { state: 'partitioned' }),
      secret: component('store'),
      front: component('front', { calls: ['store'], ports: [{ name: 'http', host: port }] }),
    },
  };
  const names = ['store', 'secret', 'front'];
  rig.desire(() => ({
    apps,
    instances: names.map((name) => instance(name, 0)),
    shards: { 't/store': shardMap(1, ['t-store-0']) },
  }));
  await rig.until('all are ready', () => names.every((name) => rig.status(`t-${name}-0`)?.phase === 'ready'));
  await rig.until('the host port listens', () => rig.ports.some(({ host }) => host === port));
  await rig.until('the shards are owned', () => rig.status('t-store-0')?.shards.length === 64);

  for (let i = 0; i < 100; i += 1) await ask(`/store/set?key=k${i}&value=v${i}`);
  t.same(await ask('/store/get?key=k7'), { answer: 'v7' });
  t.match(await ask('/secret/who'), { code: 'SHOAL_E_NOT_GRANTED' });
  t.same(await readdir(join(rig.run, 'apps/t/peers/front')), ['store'], 'it has no name to dial the other one by');

  // More owners, while reads go on: every key is there all the time.
  let reading = true;
  const wrong: string[] = [];
  const reader = (async () => {
    for (let i = 0; reading; i = (i + 1) % 100) {
      const { answer } = await ask(`/store/get?key=k${i}`);
      if (answer !== `v${i}`) wrong.push(`k${i}: ${JSON.stringify(answer)}`);
    }
  })();
  rig.desire((desired) => ({
    instances: [...desired.instances, instance('store', 1), instance('store', 2)],
    shards: { 't/store': shardMap(2, ['t-store-0', 't-store-1', 't-store-2']) },
  }));
  const held = (id: string) => rig.status(id)?.shards.length ?? 0;
  await rig.until('the shards are spread', () => held('t-store-1') === 21 && held('t-store-0') === 22);
  rig.desire(() => ({ shards: { 't/store': shardMap(3, ['t-store-2']) } }));
  await rig.until('one owns all', () => held('t-store-2') === 64 && held('t-store-0') + held('t-store-1') === 0);
  rig.desire((desired) => ({
    instances: desired.instances.filter(({ id }) => id !== 't-store-0' && id !== 't-store-1'),
  }));
  await rig.until(
    'the others are gone',
    () => rig.status('t-store-0') === undefined && rig.status('t-store-1') === undefined,
  );
  for (let i = 0; i < 100; i += 1) t.same(await ask(`/store/get?key=k${i}`), { answer: `v${i}` }, `k${i}`);
  reading = false;
  await reader;
  t.same(wrong, [], 'no read failed or was wrong meanwhile');
  t.same(await rig.close(), []);
});

t.test('what could not be done is done once it is possible, though nothing else changes', async (t) => {
  const rig = await AgentRig.make();
  const port = await freePort();
  await rig.until('the agent is there', () => rig.hello !== undefined);
  const inTheWay = join(rig.run, 'apps/t/peers/front/store');
  await mkdir(dirname(inTheWay), { recursive: true });
  await writeFile(inTheWay, '');
  const apps = {
    t: {
      store: component('store'),
      front: component('front', { calls: ['store'], ports: [{ name: 'http', host: port }] }),
    },
  };
  rig.desire(() => ({ apps, instances: [instance('store', 0), instance('front', 0)] }));
  await rig.until('both are ready', () => ['t-store-0', 't-front-0'].every((id) => rig.status(id)?.phase === 'ready'));
  await rig.until('it cannot be done', () => rig.output.includes('cannot bring the host to the desired state'));
  const ask = async () => {
    const response = await fetch(`http://127.0.0.1:${port}/store/who`).catch(() => null);
    return ((await response?.json()) as Reply | undefined)?.answer;
  };
  t.equal(await ask(), undefined);
  await rm(inTheWay);
  await rig.until('the callee is found', async () => (await ask()) === 't-store-0');
  t.same(await rig.close(), []);
});

t.test('an instance is confined', async (t) => {
  const rig = await AgentRig.make();
  const script = [
    'id -u; cat /proc/self/uid_map',
    'grep -E "^(CapEff|NoNewPrivs|Seccomp):" /proc/self/status',
    'touch /usr/x 2>&1; touch /app/x 2>&1; touch /tmp/x && echo tmp is writable',
    'unshare -U true 2>&1; mount -t tmpfs x /tmp 2>&1',
    'ls /root 2>&1; ls /sys/fs/cgroup 2>&1; cat /etc/shadow 2>&1; ls /run',
    'sleep 1000',
  ].join('\n');
  const apps = { t: { shut: component('x', { command: ['sh', '-c', script] }) } };
  rig.desire(() => ({ apps, instances: [instance('shut', 0)] }));
  await rig.until('it runs', () => rig.status('t-shut-0')?.phase === 'ready');
  const { readFile } = await import('node:fs/promises');
  const log = await readFile(join(rig.run, 'instances/t-shut-0/log'), 'utf8');
  // With a user namespace root of its own range, without one a user of that range.
  t.match(log, /stdout\s+0\s+\d{6,} +65536|stdout \d{6,}$/m, 'whoever it is inside is nobody outside');
  t.match(log, /CapEff:\s+0{16}/);
  t.match(log, /NoNewPrivs:\s+1/);
  t.match(log, /Seccomp:\s+2/);
  t.match(log, /touch: cannot touch '\/usr\/x'/);
  t.match(log, /touch: cannot touch '\/app\/x'/);
  t.match(log, /tmp is writable/);
  t.match(log, /unshare: unshare failed: Operation not permitted/);
  t.match(log, /mount: .*permission denied|mount: .*must be superuser|Operation not permitted/i);
  t.match(log, /cannot access '\/root'/);
  t.match(log, /\/etc\/shadow: No such file/);
  t.same(await rig.close(), []);
});
