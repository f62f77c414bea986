import { shardOfKey } from '../../protocol/shard.js';
import { overBoth, STATE } from './rig.js';

overBoth('calls go by the weights of the routes', async (t, rig) => {
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

/** Works without a break. */
function work(ms: number): void {
  const end = performance.now() + ms;
  while (performance.now() < end);
}

const wait = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

overBoth(
  'calls and their work are counted by the state shards that they work on; waiting is no work',
  async (t, rig) => {
    const back = await rig.start('back', 'a-back-0', (app) => app.handle('slow', () => wait(160)));
    const store = await rig.start('store', 'a-store-0', (app) => {
      app.handle('ask', () => app.call('back', 'slow', null));
      app.handle('sleep', () => wait(160));
      app.handle('work', () => work(10));
      app.handle('late', async () => {
        await wait(1);
        work(10);
      });
      app.handle('all', () => undefined);
    });
    await rig.own(
      store,
      Array.from({ length: 64 }, (_, shard) => shard),
    );
    const { app } = await rig.start('front', 'a-front-0');
    rig.publish();
    const heatOf = (key: string) => {
      const [, calls = 0, ms = 0] =
        store.app.stats.heat?.find(([shard]) => shard === shardOfKey(key, STATE.shards)) ?? [];
      return { calls, ms };
    };
    const call = (handler: string) => app.call('store', handler, null, { key: handler });
    t.equal(new Set(['ask', 'sleep', 'work', 'late'].map((key) => shardOfKey(key, STATE.shards))).size, 4);
    for (let i = 0; i < 5; i += 1) {
      await Promise.all([call('ask'), call('sleep'), call('work')]);
      await call('late');
    }
    t.same(
      ['ask', 'sleep', 'work', 'late'].map((key) => heatOf(key).calls),
      [5, 5, 5, 5],
    );
    for (const key of ['work', 'late']) t.ok(heatOf(key).ms >= 49, `${key}: ${heatOf(key).ms} ms`);
    for (const key of ['ask', 'sleep'])
      t.ok(heatOf(key).ms < 200, `${key} waited 800 ms, and worked ${heatOf(key).ms}`);
    t.ok((store.app.stats.busyMs ?? 0) >= 1_650, 'the time that calls took is counted as it is');
    t.equal(back.app.stats.finished, 5);

    await app.callShards('store', 'all', null);
    const counted = (store.app.stats.heat ?? []).map(([, calls]) => calls);
    t.equal(counted.length, 64);
    t.equal(
      counted.reduce((sum, each) => sum + each, 0),
      84,
    );
  },
);
