import fc from 'fast-check';
import t from 'tap';
import { pickLessLoaded } from '../../sdk/balancer.js';
import { Rig } from './rig.js';

/** Numbers in [0, 1) from a seed: a linear congruential generator (Numerical Recipes, 2nd ed., p. 284). */
function randomFrom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

const candidates = fc
  .array(fc.double({ min: 0.25, max: 1, noNaN: true }), { minLength: 2, maxLength: 8 })
  .map((weights) => weights.map((weight, id) => ({ id, weight })));

t.test('of two candidates the other one is never chosen when it has more to do for its weight', async () => {
  const draw = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });
  fc.assert(
    fc.property(candidates, draw, draw, fc.integer({ min: 1, max: 9 }), (list, first, second, load) => {
      const draws = [first, second];
      // All but one have the same to do for their weight, that one has more.
      const outstanding = ({ id, weight }: { id: number; weight: number }) => weight * load * (id === 0 ? 2 : 1);
      const chosen = pickLessLoaded(list, outstanding, () => draws.shift() as number);
      return chosen !== undefined && list.includes(chosen) && chosen.id !== 0;
    }),
  );
});

t.test('without calls under way, one of half the weight gets half as many calls', async (t) => {
  const list = [1, 1, 0.5, 1].map((weight, id) => ({ id, weight }));
  const counts = [0, 0, 0, 0];
  const random = randomFrom(5);
  for (let i = 0; i < 35_000; i += 1) {
    const { id } = pickLessLoaded(list, () => 0, random) ?? { id: 0 };
    counts[id] = (counts[id] ?? 0) + 1;
  }
  t.ok(
    counts.every((each, id) => Math.abs(each - (id === 2 ? 5_000 : 10_000)) < 400),
    counts.join(' '),
  );
});

t.test('with calls under way, each has as many outstanding as its weight says', async (t) => {
  const list = [1, 0.25, 1].map((weight, id) => ({ id, weight }));
  const outstanding = [0, 0, 0];
  const random = randomFrom(9);
  for (let i = 0; i < 900; i += 1) {
    const { id } = pickLessLoaded(list, (each) => outstanding[each.id] as number, random) ?? { id: 0 };
    outstanding[id] = (outstanding[id] as number) + 1;
  }
  const [a = 0, b = 0, c = 0] = outstanding;
  t.ok(Math.abs(a - 400) < 20 && Math.abs(b - 100) < 20 && Math.abs(c - 400) < 20, outstanding.join(' '));
});

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
