import t from 'tap';
import { Rig } from './rig.js';

t.test('calls go by the weights of the routes', async (t) => {
  const rig = await Rig.make();
  t.teardown(() => rig.close());
  const served = [0, 0];
  for (const [i] of served.entries()) {
    await rig.start('back', `a-back-${i}`, (app) => {
      app.handle('run', () => {
        served[i] = (served[i] as number) + 1;
      });
    });
  }
  const { app, control } = await rig.start('front', 'a-front-0');
  control.sendRoutes(1, { back: { instances: ['a-back-0', 'a-back-1'], weights: [1, 0.25] } });
  for (let i = 0; i < 1_000; i += 1) await app.call('back', 'run', null);
  const [all = 0, few = 0] = served;
  t.equal(all + few, 1_000);
  t.ok(few > 130 && few < 270, `${few} of 1000 went to the one with a fifth of the weight`);
  t.same(app.stats.called, { back: 1_000 }, 'the calls are counted by who was called');
});

t.test('calls and their time are counted by the state shards that they work on', async (t) => {
  const rig = await Rig.make();
  t.teardown(() => rig.close());
  const store = await rig.start('store', 'a-store-0', (app) => {
    app.handle('slow', () => new Promise((resolve) => setTimeout(resolve, 20)));
    app.handle('all', () => undefined);
  });
  for (let shard = 0; shard < 64; shard += 1) await store.control.command('shard-own', shard);
  store.control.shards = Array.from({ length: 64 }, (_, shard) => shard);
  const { app } = await rig.start('front', 'a-front-0');
  rig.publish();
  for (let i = 0; i < 3; i += 1) await app.call('store', 'slow', null, { key: 'one' });
  const { heat = [], busyMs = 0 } = store.app.stats;
  t.equal(heat.length, 1);
  const [[, calls = 0, ms = 0] = []] = heat;
  t.equal(calls, 3);
  t.ok(ms >= 55 && Math.abs(ms - busyMs) < 1e-6, `${ms} of ${busyMs} ms`);

  await app.callShards('store', 'all', null);
  const counted = (store.app.stats.heat ?? []).map(([, calls]) => calls);
  t.equal(counted.length, 64);
  t.equal(
    counted.reduce((sum, each) => sum + each, 0),
    67,
  );
});
