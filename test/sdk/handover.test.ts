import { shardOfKey } from '../../protocol/shard.js';
import type { App } from '../../sdk/app.js';
import { ALL_SHARDS as ALL, overBoth } from './rig.js';

/** A counter for each key, and a sum over all keys of the shards asked for. */
function counters(app: App): void {
  const counts = app.state<number>('counts');
  app.handle('add', async (_body, { key = '' }) => {
    const before = (await counts.get(key)) ?? 0;
    await new Promise(setImmediate);
    await counts.update(key, (count = before) => count + 1);
    return true;
  });
  app.handle('get', (_body, { key = '' }) => counts.get(key));
  app.handle('sum', async (_body, { shards }) => {
    let sum = 0;
    for (const shard of shards) for await (const [, value] of counts.scan(shard)) sum += value;
    return sum;
  });
}

overBoth('no increment is lost or counted twice while shards change hands under load', async (t, rig) => {
  const one = await rig.start('index', 'a-index-0', counters);
  const two = await rig.start('index', 'a-index-1', counters);
  const { app } = await rig.start('front', 'a-front-0');
  await rig.own(one, ALL);
  rig.publish();

  const keys = Array.from({ length: 200 }, (_, i) => `key-${i}`);
  const expected = new Map(keys.map((key) => [key, 0]));
  let moving = true;
  const writer = async (seed: number) => {
    for (let i = seed; moving; i += 7) {
      const key = keys[i % keys.length] as string;
      await app.call('index', 'add', null, { key });
      expected.set(key, (expected.get(key) ?? 0) + 1);
    }
  };
  const sums: number[] = [];
  const reader = async () => {
    while (moving) {
      const parts = (await app.callShards('index', 'sum', null)) as number[];
      sums.push(parts.reduce((sum, part) => sum + part, 0));
    }
  };
  const load = [writer(0), writer(1), writer(2), writer(3), reader()];
  for (const shard of ALL) await rig.move(shard, one, two);
  for (const shard of ALL.filter((each) => each % 2 === 0)) await rig.move(shard, two, one);
  moving = false;
  await Promise.all(load);

  for (const [key, count] of expected) {
    if (count > 0) t.equal(await app.call('index', 'get', null, { key }), count, key);
  }
  const total = [...expected.values()].reduce((sum, count) => sum + count, 0);
  const parts = (await app.callShards('index', 'sum', null)) as number[];
  t.equal(parts.length, 2, 'both owners were asked');
  t.equal(
    parts.reduce((sum, part) => sum + part, 0),
    total,
  );
  t.ok(sums.length > 0);
  t.same(
    sums,
    sums.toSorted((a, b) => a - b),
    'a sum over all shards never falls: none is missed or counted twice',
  );
  t.same([one.app.shards.length, two.app.shards.length], [32, 32]);
});

overBoth('callers are sent on to who has the shard next, and wait there until it has come', async (t, rig) => {
  const one = await rig.start('index', 'a-index-0', counters);
  const two = await rig.start('index', 'a-index-1', counters);
  const { app } = await rig.start('front', 'a-front-0');
  await rig.own(one, ALL);
  rig.publish();
  await app.call('index', 'add', null, { key: 'k' });
  const shard = shardOfKey('k', ALL.length);
  const epoch = await rig.send(two, shard);
  await one.control.command({ type: 'shard-freeze', shard, to: two.id });
  const calls = Promise.all([1, 2, 3].map(() => app.call('index', 'add', null, { key: 'k', deadlineMs: 20_000 })));
  const cancelled = new AbortController();
  const { signal } = cancelled;
  const never = app.call('index', 'add', null, { key: 'k', signal });
  cancelled.abort();
  await t.rejects(never, { code: 'SHOAL_E_CANCELLED' });
  await two.control.command({ type: 'shard-own', shard, epoch });
  // The routes say still that the first has it.
  t.same(await calls, [true, true, true]);
  await one.control.command({ type: 'shard-drop', shard });
  t.equal(await app.call('index', 'get', null, { key: 'k' }), 4, 'also once the first has let go of it');
});

overBoth('callers that are sent on in vain ask again where their shard is', async (t, rig) => {
  const one = await rig.start('index', 'a-index-0', counters);
  const two = await rig.start('index', 'a-index-1', counters);
  const { app } = await rig.start('front', 'a-front-0');
  await rig.own(one, ALL);
  rig.publish();
  const shard = shardOfKey('k', ALL.length);
  await one.control.command({ type: 'shard-freeze', shard, to: two.id });
  const added = app.call('index', 'add', null, { key: 'k', deadlineMs: 20_000 });
  // It is not passed on after all: the first serves on.
  await one.control.command({ type: 'shard-own', shard, epoch: await rig.send(one, shard) });
  t.equal(await added, true);
  t.equal(await app.call('index', 'get', null, { key: 'k' }), 1, 'and the call is done once');
});

overBoth('a frozen shard refuses calls and serves again when it is owned anew', async (t, rig) => {
  const one = await rig.start('index', 'a-index-0', counters);
  const { app } = await rig.start('front', 'a-front-0');
  await rig.own(one, ALL);
  rig.publish();
  await app.call('index', 'add', null, { key: 'k' });
  for (const shard of ALL) await one.control.command({ type: 'shard-freeze', shard });
  // Which of the two depends on whether the last try still had time to be refused.
  const refused = { code: /SHOAL_E_(SHARD_MOVED|DEADLINE)/ };
  await t.rejects(app.call('index', 'add', null, { key: 'k', deadlineMs: 50 }), refused);
  await t.rejects(app.callShards('index', 'sum', null, { deadlineMs: 50 }), refused);
  for (const shard of ALL) await one.control.command({ type: 'shard-own', shard, epoch: await rig.send(one, shard) });
  t.equal(await app.call('index', 'get', null, { key: 'k' }), 1);
});

overBoth('an unknown shard cannot be frozen, and the agent learns why', async (t, rig) => {
  const one = await rig.start('index', 'a-index-0', counters);
  await t.rejects(one.control.command({ type: 'shard-freeze', shard: 3 }), { message: /state shard 3 is not here/ });
});

overBoth('callShards is refused for a component without state shards', async (t, rig) => {
  await rig.start('back', 'a-back-0', counters);
  const { app } = await rig.start('front', 'a-front-0');
  rig.publish();
  await t.rejects(app.callShards('back', 'sum', null), { code: 'SHOAL_E_USAGE' });
});
