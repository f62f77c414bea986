import { lstat, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { AgentRig, component, instance } from './rig.js';

const size = { cpu: 0.5, memory: 128 * 2 ** 20 };
const pool = (count: number, name = 'store') => ({ warm: [{ app: 't', component: name, count, size }] });

t.test('a process that waits becomes an instance at once, and another takes its place', async (t) => {
  const rig = await AgentRig.make();
  const apps = { t: { store: component('store') } };
  rig.desire(() => ({ apps, ...pool(2) }));
  const waiting = () => rig.warm[0]?.waiting ?? 0;
  await rig.until('two wait', () => waiting() === 2);
  t.ok((rig.warm[0]?.memoryBytes ?? 0) > 2 ** 21, 'what they cost is told');
  t.same(rig.statuses, [], 'none of them is an instance');
  const bodies = await readdir(join(rig.run, 'instances'));
  const sockets = await readdir(join(rig.run, 'instances', bodies[0] ?? '', 'socket'));
  t.same(sockets.sort(), ['agent.sock', 'channels', 'fabric.sock'], 'its rehearsal has left nothing');

  rig.desire(() => ({ instances: [instance('store', 0), instance('store', 1)], ...pool(0) }));
  const ready = (id: string) => rig.status(id)?.phase === 'ready';
  await rig.until('both are ready', () => ready('t-store-0') && ready('t-store-1'));
  const pids = ['t-store-0', 't-store-1'].map((id) => rig.status(id)?.pid);
  t.equal(new Set(pids).size, 2);
  const folders = [...bodies, 't-store-0', 't-store-1'].sort().join(' ');
  await rig.until('their folders are found by their ids, and no others are there', async () => {
    return (await readdir(join(rig.run, 'instances'))).sort().join(' ') === folders;
  });
  t.ok((await lstat(join(rig.run, 'instances/t-store-0/record.json'))).isFile(), 'its folder is found by its id');

  rig.desire(() => pool(1));
  await rig.until('one waits again', () => waiting() === 1);
  await rig.killAgent('SIGKILL');
  rig.statuses = [];
  rig.startAgent();
  await rig.until('both were adopted', () => ready('t-store-0') && ready('t-store-1'));
  t.same(
    ['t-store-0', 't-store-1'].map((id) => rig.status(id)?.pid),
    pids,
  );
  await rig.until('the new agent has one of its own that waits', () => waiting() === 1);

  // The same process, started again, is the same instance.
  process.kill(rig.status('t-store-0')?.pid as number, 'SIGKILL');
  await rig.until('it was restarted', () => ready('t-store-0') && rig.status('t-store-0')?.restarts === 1);

  // Another description: those that wait are of no use any more.
  const warmed = (await readdir(join(rig.run, 'instances'))).filter((name) => /-w[0-9a-f]{8}$/.test(name));
  rig.desire(() => ({ apps: { t: { store: component('store', { env: { CHANGED: 'yes' } }) } } }));
  await rig.until('another waits', () => waiting() === 1);
  rig.desire(() => ({ instances: [instance('store', 2)], ...pool(0) }));
  await rig.until('it is the only one', () => ready('t-store-2') && rig.statuses.length === 1);
  const [record = '{}'] = await Promise.all([readFile(join(rig.run, 'instances/t-store-2/record.json'), 'utf8')]);
  t.equal(warmed.includes((JSON.parse(record) as { body: string }).body), false);
  t.same(await rig.close(), [], 'nothing is left behind');
});

t.test('a component that does not wait gets no pool, and says why', async (t) => {
  const rig = await AgentRig.make();
  const command = ['node', '-e', 'delete process.env.SHOAL_WARM; import("/app/store.mjs")'];
  const deaf = component('x', { command });
  rig.desire(() => ({ apps: { t: { deaf } }, ...pool(2, 'deaf') }));
  await rig.until('it is told', () => rig.events.some(({ kind }) => kind === 'not-warm'));
  rig.desire(() => ({ instances: [instance('deaf', 0)] }));
  await rig.until('an instance starts as ever', () => rig.status('t-deaf-0')?.phase === 'ready');
  t.equal(rig.events.filter(({ kind }) => kind === 'not-warm').length, 1);
  t.same(rig.warm, []);
  t.same(await rig.close(), []);
});

t.test('what ends again and again, or never gets ready, holds up the pool of no other component', async (t) => {
  const rig = await AgentRig.make();
  const broken = component('x', { command: ['node', '-e', 'process.exit(1)'] });
  const locked = component('store', { secrets: ['never-set'] });
  const ports = [{ name: 'http', host: 18_472 }];
  const mute = component('x', { command: ['sleep', '1000'], ports });
  const apps = { t: { broken, locked, mute, store: component('store') } };
  const names = ['broken', 'locked', 'store'];
  rig.desire(() => ({
    apps,
    instances: [instance('mute', 0)],
    warm: names.map((name) => ({ app: 't', component: name, count: 2, size })),
  }));
  await rig.until('two wait', () => rig.warm.find((each) => each.component === 'store')?.waiting === 2);
  t.match(rig.status('t-mute-0'), { phase: 'starting', restarts: 0 }, 'while an instance is not ready yet');
  const ended = () => rig.events.filter(({ kind, instance }) => kind === 'exited' && /-broken-w/.test(instance));
  await rig.until('the other pool has tried again', () => ended().length > 2);
  rig.desire(() => ({ warm: [] }));
  await rig.until('the pools are gone', async () => {
    return (await readdir(join(rig.run, 'instances'))).join(' ') === 't-mute-0';
  });
  t.same(await rig.close(), []);
});
