import fc from 'fast-check';
import t from 'tap';
import { shardOfKey } from '../../protocol/shard.js';
import { type Entries, ShardStore } from '../../sdk/shard-store.js';

const SHARD = shardOfKey('k');

t.test('handing over twice what was handed over once changes nothing', async (t) => {
  const step = fc.constantFrom('own', 'freeze', 'install', 'drop');
  const steps = fc.array(fc.tuple(step, fc.boolean()), { maxLength: 20 });
  const run = async (todo: [string, boolean][], repeat: boolean) => {
    const store = new ShardStore();
    const seen: unknown[] = [];
    const take = async (what: string): Promise<Entries | string> => {
      try {
        if (what === 'own') store.own(SHARD);
        else if (what === 'install') store.install(SHARD, [['k', 'installed']]);
        else if (what === 'drop') store.drop(SHARD);
        else return await store.freeze(SHARD);
        return 'done';
      } catch (error) {
        return (error as Error).message;
      }
    };
    for (const [what, twice] of todo) {
      const first = await take(what);
      if (repeat && twice) t.same(await take(what), first, what);
      seen.push(first, store.held, store.frozen, store.serves(SHARD) ? [...store.entries(SHARD)] : null);
    }
    return seen;
  };
  await fc.assert(
    fc.asyncProperty(steps, async (todo) => {
      t.same(await run(todo, true), await run(todo, false));
    }),
  );
});

t.test('an install that is repeated does not undo what calls did since', async (t) => {
  const store = new ShardStore();
  store.install(SHARD, [['k', 1]]);
  store.entries(SHARD).set('k', 2);
  store.install(SHARD, [['k', 1]]);
  t.equal(store.of('k').get('k'), 2);
});

t.test('a frozen copy is neither read nor written; the copy holds all that calls at work wrote', async (t) => {
  const store = new ShardStore();
  store.own(SHARD);
  const leave = store.enter([SHARD]);
  const copy = store.freeze(SHARD);
  t.throws(() => store.enter([SHARD]), { code: 'SHOAL_E_SHARD_MOVED', message: new RegExp(`not here: ${SHARD}`) });
  store.of('k').set('k', 'the last word');
  leave();
  t.same(await copy, [['k', 'the last word']]);
  t.throws(() => store.of('k'), { code: 'SHOAL_E_SHARD_MOVED' });
  t.throws(() => store.entries(SHARD), { code: 'SHOAL_E_SHARD_MOVED' });
  store.install(SHARD, [['k', 'newer']]);
  t.equal(store.of('k').get('k'), 'newer', 'an install takes the place of a frozen copy');
});

t.test('a call without an end does not take the shard from everybody', async (t) => {
  const store = new ShardStore(1);
  store.own(SHARD);
  const leave = store.enter([SHARD]);
  await t.rejects(store.freeze(SHARD), { code: 'SHOAL_E_DEADLINE' });
  t.same([store.held, store.frozen], [[SHARD], []]);
  leave();
  t.same(await store.freeze(SHARD), []);
});

t.test('a shard that is given back or dropped while it waits is not handed over', async (t) => {
  for (const undo of ['own', 'drop'] as const) {
    const store = new ShardStore();
    store.own(SHARD);
    const leave = store.enter([SHARD]);
    const copy = store.freeze(SHARD);
    store[undo](SHARD);
    leave();
    await t.rejects(copy, { code: 'SHOAL_E_CONFLICT' });
  }
});
