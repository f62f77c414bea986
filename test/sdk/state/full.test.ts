import t from 'tap';
import { shardOfKey } from '../../../protocol/shard.js';
import { ShardStore } from '../../../sdk/shard-store.js';
import { OwnedState } from '../../../sdk/state.js';
import { TestSegment } from './memory.js';

const SHARDS = 8;
const SHARD_BYTES_MAX = 256 * 1024;
const VALUE_BYTES_MAX = 32 * 1024;

/** An instance that owns all state shards, and their segments. */
async function begin(t: {
  teardown(ends: () => void): void;
}): Promise<{ state: OwnedState<Uint8Array>; segments: TestSegment[] }> {
  const limits = { shardBytesMax: SHARD_BYTES_MAX, valueBytesMax: VALUE_BYTES_MAX };
  const store = new ShardStore({ mode: 'partitioned', shards: SHARDS, ...limits });
  t.teardown(() => store.close());
  const segments = Array.from({ length: SHARDS }, () => TestSegment.make(SHARD_BYTES_MAX));
  for (const [shard, segment] of segments.entries()) {
    store.offer(shard, 1, () => segment);
    await store.own(shard, 1);
  }
  return { state: new OwnedState<Uint8Array>(store, 's', { raw: true }), segments };
}

/** Keys of one state shard, without an end. */
function* keysIn(shard: number, name = 'k'): Generator<string, never> {
  for (let i = 0; ; i += 1) if (shardOfKey(`${name}-${i}`, SHARDS) === shard) yield `${name}-${i}`;
}

async function fill(state: OwnedState<Uint8Array>, shard: number, value: Uint8Array): Promise<string[]> {
  const filled: string[] = [];
  for (const key of keysIn(shard)) {
    await state.set(key, value);
    filled.push(key);
    if (filled.length > 10_000) throw new Error('it takes more than it may');
  }
  return filled;
}

t.test('a state shard that is full refuses, in words that help, and the others go on', async (t) => {
  const { state } = await begin(t);
  const value = Buffer.alloc(1_000, 'v');
  for (const skewed of [3, 5]) {
    await t.rejects(fill(state, skewed, value), {
      code: 'SHOAL_E_STATE_FULL',
      message: new RegExp(`state shard ${skewed} holds \\d+ of at most ${SHARD_BYTES_MAX} bytes.*shardMemory`),
    });
  }
  for (let shard = 0; shard < SHARDS; shard += 1) {
    const [key = ''] = keysIn(shard, 'other');
    if (shard === 3 || shard === 5) await t.rejects(state.set(key, value), { code: 'SHOAL_E_STATE_FULL' });
    else await state.set(key, value);
    t.equal((await state.get(key))?.length, shard === 3 || shard === 5 ? undefined : 1_000);
  }
  const [first = ''] = keysIn(3);
  await state.set(first, Buffer.alloc(1_000, 'w'));
  t.equal((await state.get(first))?.[0], 'w'.charCodeAt(0), 'what is in it can be overwritten');
  t.ok(await state.delete(first));
  const [another = ''] = keysIn(3, 'another');
  await state.set(another, value);
  t.equal((await state.get(another))?.length, 1_000, 'and makes room when it is deleted');
});

t.test('what is refused as too large changes nothing, in any state shard', async (t) => {
  const { state } = await begin(t);
  await state.set('k', Buffer.from('before'));
  await t.rejects(state.set('k', Buffer.alloc(VALUE_BYTES_MAX + 1)), { code: 'SHOAL_E_STATE_SIZE' });
  await t.rejects(
    state.update('k', () => Buffer.alloc(VALUE_BYTES_MAX + 1)),
    { code: 'SHOAL_E_STATE_SIZE' },
  );
  await t.rejects(state.set('x'.repeat(2_000), Buffer.from('v')), { code: 'SHOAL_E_STATE_SIZE' });
  t.equal(Buffer.from((await state.get('k')) ?? []).toString(), 'before');
});

t.test('a hot key takes no more memory however often it is written', async (t) => {
  const { state, segments } = await begin(t);
  const value = Buffer.alloc(2_000, 'v');
  let most = 0;
  for (let i = 0; i < 5_000; i += 1) {
    await state.set('hot', value);
    if (i % 100 === 0) most = Math.max(most, segments[shardOfKey('hot', SHARDS)]?.heldBytes ?? 0);
  }
  // Twice its entries and 64 KiB, three times while garbage is taken out; memory is taken in steps of 64 KiB.
  t.ok(most > 0 && most <= 6 * 64 * 1024, `${most} bytes at most`);
});

t.test('where the host has no memory left for one state shard, the others are read and written', async (t) => {
  const { state, segments } = await begin(t);
  const segment = segments[2] as TestSegment;
  const [kept = ''] = keysIn(2);
  await state.set(kept, Buffer.from('kept'));
  segment.bytesLeft = 0;
  await t.rejects(fill(state, 2, Buffer.alloc(5_000)), { code: 'SHOAL_E_STATE_FULL', message: /gets no memory/ });
  t.equal((await state.get(kept))?.length, 5_000);
  const [elsewhere = ''] = keysIn(6);
  await state.set(elsewhere, Buffer.alloc(5_000));
  t.equal((await state.get(elsewhere))?.length, 5_000);
});
