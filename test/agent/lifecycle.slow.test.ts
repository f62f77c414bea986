import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { AgentRig, component, instance, runs } from './rig.js';

t.test('an instance starts, serves, is resized in place, survives the agent and is terminated', async (t) => {
  const rig = await AgentRig.make();
  rig.desire(() => ({ apps: { t: { store: component('store') } }, instances: [instance('store', 0)] }));
  await rig.until('it is ready', () => rig.status('t-store-0')?.phase === 'ready');
  const first = rig.status('t-store-0');
  t.ok((first?.startMs ?? 0) > 0);
  await rig.until('it is sampled', () => (rig.status('t-store-0')?.sample?.cpuSeconds ?? 0) > 0);
  t.ok((rig.status('t-store-0')?.sample?.memoryBytes ?? 0) > 2 ** 20);

  rig.desire((desired) => ({
    instances: desired.instances.map((each) => ({ ...each, size: { cpu: 0.25, memory: 64 * 2 ** 20 } })),
  }));
  await rig.until('it is resized', () => rig.status('t-store-0')?.size.cpu === 0.25);
  t.equal(rig.status('t-store-0')?.pid, first?.pid, 'nothing was restarted');

  await rig.killAgent('SIGKILL');
  rig.statuses = [];
  rig.startAgent();
  await rig.until('it is adopted', () => rig.status('t-store-0')?.phase === 'ready');
  t.equal(rig.status('t-store-0')?.pid, first?.pid, 'the same process goes on');
  t.equal(rig.status('t-store-0')?.restarts, 0);
  t.same(await rig.close(), [], 'nothing is left behind');
});

t.test('a process that ends is started again, later each time, and its output is kept', async (t) => {
  const rig = await AgentRig.make();
  const command = ['sh', '-c', 'echo to-stdout; echo to-stderr >&2; exit 7'];
  rig.desire(() => ({ apps: { t: { ends: component('ends', { command }) } }, instances: [instance('ends', 0)] }));
  await rig.until('it was started three times', () => (rig.status('t-ends-0')?.restarts ?? 0) >= 3);
  t.match(rig.status('t-ends-0')?.exit, { code: 7, signal: null });
  const log = await readFile(join(rig.run, 'instances/t-ends-0/log'), 'utf8');
  t.match(log, /^\d{4}-\d\d-\d\dT[\d:.]+Z stdout to-stdout$/m);
  t.match(log, / stderr to-stderr$/m);
  const exits = rig.events.filter((event) => event.kind === 'exited');
  t.match(exits[0]?.message, /code 7.*restart 1 in 250 ms/);
  t.match(exits[1]?.message, /restart 2 in 500 ms/);
  t.same(await rig.close(), []);
});

t.test('what cannot be started says why and disturbs nothing else', async (t) => {
  const rig = await AgentRig.make();
  const apps = {
    t: {
      good: component('store'),
      missing: component('x', { command: ['/no/such/program'] }),
      nofolder: component('x', { source: { kind: 'rootfs', rootfs: 'host', directory: '/no/such/folder' } }),
      closed: component('x', { source: { kind: 'rootfs', rootfs: 'host', directory: '/root' } }),
      image: component('x', { source: { kind: 'image', image: 'oci:/no/such/image:latest' } }),
    },
  };
  rig.desire(() => ({ apps, instances: Object.keys(apps.t).map((name) => instance(name, 0)) }));
  await rig.until('the good one is ready', () => rig.status('t-good-0')?.phase === 'ready');
  const reason = (name: string) => rig.status(`t-${name}-0`)?.exit?.reason ?? '';
  await rig.until('all others have failed', () =>
    ['missing', 'nofolder', 'closed', 'image'].every((name) => reason(name) !== ''),
  );
  t.match(reason('missing'), /no such program|No such file/i);
  t.match(reason('nofolder'), /there is no \/no\/such\/folder on this host/);
  t.match(reason('closed'), /may not read \/root: chmod/);
  t.match(reason('image'), /skopeo|no such/i);
  t.equal(rig.status('t-good-0')?.restarts, 0);
  t.same(await rig.close(), []);
});

t.test('a killed shim or container is noticed and started anew', async (t) => {
  const rig = await AgentRig.make();
  rig.desire(() => ({ apps: { t: { store: component('store') } }, instances: [instance('store', 0)] }));
  const ready = () => rig.status('t-store-0')?.phase === 'ready';
  await rig.until('it is ready', ready);
  process.kill(rig.status('t-store-0')?.pid as number, 'SIGKILL');
  await rig.until('it was restarted', () => ready() && rig.status('t-store-0')?.restarts === 1);
  t.match(rig.status('t-store-0')?.exit, { signal: 9 });

  const shim = Number(await readFile(join(rig.run, 'instances/t-store-0/shim.pid'), 'utf8'));
  const orphan = rig.status('t-store-0')?.pid as number;
  process.kill(shim, 'SIGKILL');
  await rig.until('it was restarted again', () => ready() && rig.status('t-store-0')?.restarts === 2);
  t.equal(await runs(orphan), false, 'the container of the dead shim is gone');
  t.same(await rig.close(), []);
});
