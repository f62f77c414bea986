import fc from 'fast-check';
import t from 'tap';
import { shardOfKey } from '../../protocol/shard.js';
import { ShardStore } from '../../sdk/shard-store.js';
import { stateName } from '../../sdk/state/key-bytes.js';
import { ShardLog } from '../../sdk/state/shard-log.js';
import { OwnedState } from '../../sdk/state.js';
import { STATE } from './rig.js';
import { TestSegment } from './state/memory.js';

const SHARD = shardOfKey('k', STATE.shards);

/** A store, and the segment of one shard that its owners share. */
function make(freezeMsMax?: number, segment = TestSegment.make(STATE.shardBytesMax / 16)) {
  const store = new ShardStore(STATE, freezeMsMax);
  const offer = (epoch: number) => store.offer(SHARD, epoch, () => segment.share());
  const own = async (epoch: number) => {
    offer(epoch);
    await store.own(SHARD, epoch);
  };
  return { store, segment, offer, own, state: new OwnedState<unknown>(store, 's') };
}

t.test('handing over twice what was handed over once changes nothing', async (t) => {
  const step = fc.constantFrom('own', 'freeze', 'drop');
  const steps = fc.array(fc.tuple(step, fc.boolean()), { maxLength: 20 });
  const run = async (todo: [string, boolean][], repeat: boolean) => {
    const { store, state, offer } = make();
    const seen: unknown[] = [];
    let epoch = 0;
    const take = async (what: string): Promise<string> => {
      try {
        if (what === 'own') await store.own(SHARD, epoch);
        else if (what === 'drop') store.drop(SHARD);
        else await store.freeze(SHARD);
        return 'done';
      } catch (error) {
        return (error as Error).message;
      }
    };
    for (const [what, twice] of todo) {
      if (what === 'own') offer(++epoch);
      const first = await take(what);
      if (repeat && twice) t.same(await take(what), first, what);
      if (store.serves(SHARD)) await state.update('k', (count) => Number(count ?? 0) + 1);
      seen.push(first, store.held, store.frozen, store.serves(SHARD) ? await state.get('k') : null);
    }
    return seen;
  };
  await fc.assert(
    fc.asyncProperty(steps, async (todo) => {
      t.same(await run(todo, true), await run(todo, false));
    }),
  );
});

t.test('what one owner wrote the next one reads, and the one before cannot write any more', async (t) => {
  const one = make();
  const two = make(undefined, one.segment);
  await one.own(1);
  await one.state.set('k', 1);
  two.offer(2);
  await two.store.prepare(SHARD, 2);
  await one.state.set('k', 'the last word');
  await one.store.freeze(SHARD);
  await t.rejects(one.state.get('k'), { code: 'SHOAL_E_SHARD_MOVED' });
  await t.rejects(one.state.set('k', 2), { code: 'SHOAL_E_SHARD_MOVED' });
  await two.store.own(SHARD, 2);
  t.equal(await two.state.get('k'), 'the last word');
  // One that was never told, since nobody could reach it, is stopped by the epoch.
  const three = make(undefined, one.segment);
  await three.own(3);
  await t.rejects(two.state.set('k', 3), { code: 'SHOAL_E_SHARD_MOVED' });
  t.notOk(two.store.serves(SHARD));
  t.throws(() => two.store.enter([SHARD]), { code: 'SHOAL_E_SHARD_MOVED', message: new RegExp(`not here: ${SHARD}`) });
});

t.test('a frozen shard waits for calls at work and begins none', async (t) => {
  const { store, own, state } = make();
  await own(1);
  const leave = store.enter([SHARD]);
  const frozen = store.freeze(SHARD);
  t.throws(() => store.enter([SHARD]), { code: 'SHOAL_E_SHARD_MOVED' });
  await state.set('k', 'written by a call at work');
  leave();
  await frozen;
  await own(2);
  t.equal(await state.get('k'), 'written by a call at work', 'given back, it serves with all of it');
});

t.test('a call without an end does not take the shard from everybody', async (t) => {
  const { store, own } = make(1);
  await own(1);
  const leave = store.enter([SHARD]);
  await t.rejects(store.freeze(SHARD), { code: 'SHOAL_E_DEADLINE' });
  t.same([store.held, store.frozen], [[SHARD], []]);
  leave();
  await store.freeze(SHARD);
  t.same(store.frozen, [SHARD]);
});

t.test('a shard that is given back or dropped while it waits is not handed over', async (t) => {
  for (const undo of ['own', 'drop'] as const) {
    const { store, own } = make();
    await own(1);
    const leave = store.enter([SHARD]);
    const frozen = store.freeze(SHARD);
    if (undo === 'own') await store.own(SHARD, 1);
    else store.drop(SHARD);
    leave();
    await t.rejects(frozen, { code: 'SHOAL_E_CONFLICT' });
  }
});

t.test('a shard that was taken without a word counts as frozen, so that it is owned anew', async (t) => {
  const { store, own, segment } = make();
  await own(1);
  new ShardLog(segment.share(), 'as the agent', STATE).own(2);
  t.same([store.held, store.frozen, store.serves(SHARD)], [[SHARD], [SHARD], false]);
  await own(3);
  t.same([store.held, store.frozen, store.serves(SHARD)], [[SHARD], [], true]);
});

t.test('hooks see a shard before its first call and after its last', async (t) => {
  const { store, own, state } = make();
  const seen: unknown[] = [];
  store.onArrive(async (shard) => {
    for await (const [key, value] of state.scan(shard)) seen.push(['arrives with', key, value]);
    seen.push(store.serves(shard));
  });
  store.onLeave((shard) => seen.push(['leaves', shard]));
  await own(1);
  await state.set('k', 1);
  await store.freeze(SHARD);
  await own(2);
  t.same(seen, [false, ['leaves', SHARD], ['arrives with', 'k', 1], false]);
  store.onArrive(() => {
    throw new Error('cannot build its index');
  });
  await store.freeze(SHARD);
  await t.rejects(own(3), { message: 'cannot build its index' });
  t.same(store.held, [], 'a shard whose hook fails does not serve here');
});

t.test('a segment that cannot be read leads to an error that says so', async (t) => {
  const { store, own, segment } = make();
  segment.write(Buffer.alloc(4), 0);
  await t.rejects(own(1), { code: 'SHOAL_E_STATE_DAMAGED', message: /state shard \d+ is no segment of this version/ });
  t.same(store.held, []);
});

t.test('values are plain data or bytes, copied, and what is neither is refused', async (t) => {
  const { own, state, store } = make();
  await own(1);
  const value = { list: [1, 'two', null, true], bytes: Buffer.from('abc'), nested: { a: 0.5 } };
  await state.set('k', value);
  value.list.push('changed');
  t.same(await state.get('k'), { ...value, list: [1, 'two', null, true] });
  await t.rejects(state.set('k', undefined), { code: 'SHOAL_E_USAGE' });
  await t.rejects(state.set('k', 1, { ttlMs: 0 }), { code: 'SHOAL_E_USAGE' });
  const raw = new OwnedState<Uint8Array>(store, 'bytes', { raw: true });
  await raw.set('k', Buffer.from([1, 2, 3]));
  t.same(await raw.get('k'), new Uint8Array([1, 2, 3]));
  await t.rejects(raw.set('k', 'text' as unknown as Uint8Array), { code: 'SHOAL_E_USAGE' });
  await t.rejects(new OwnedState(store, 'bytes').get('k'), { code: 'SHOAL_E_USAGE', message: /not raw/ });
  t.throws(() => new OwnedState(new ShardStore(), 's'), { code: 'SHOAL_E_STATE_MODE', message: /state: partitioned/ });
});

t.test('an update happens as a whole, keeps the expiry, and deletes by undefined', async (t) => {
  let nowMs = 1_000;
  const { own, store } = make();
  await own(1);
  const state = new OwnedState<number>(store, 'n', {}, () => nowMs);
  await Promise.all(Array.from({ length: 50 }, () => state.update('k', (count = 0) => count + 1)));
  t.equal(await state.get('k'), 50);
  t.equal(await state.update('k', () => undefined), undefined);
  t.notOk(await state.has('k'));
  nowMs = Date.now();
  await state.set('k', 1, { ttlMs: 60_000 });
  await state.update('k', () => 2);
  const log = store.log(SHARD);
  t.equal(log.expiresAtMs(log.find(stateName('n'), 'k')), nowMs + 60_000);
  await t.rejects(state.update('k', (async () => 1) as unknown as () => number), { code: 'SHOAL_E_USAGE' });
  t.equal(await state.get('k'), 2);
});
