import fc from 'fast-check';
import t from 'tap';
import { shardOfKey } from '../../../protocol/shard.js';
import type { WriteMode } from '../../../protocol/state-transfer.js';
import { ShardStore } from '../../../sdk/shard-store.js';
import { OwnedState } from '../../../sdk/state.js';
import { recordOf } from '../../protocol/state-records.js';
import { STATE } from '../rig.js';
import { TestSegment } from './memory.js';

const SHARD = shardOfKey('k', STATE.shards);
const KEYS = Array.from({ length: 4_000 }, (_, i) => `k${i}`)
  .filter((key) => shardOfKey(key, STATE.shards) === SHARD)
  .slice(0, 8);
const FOREVER = Number.POSITIVE_INFINITY;

async function make(freezeMsMax?: number) {
  const store = new ShardStore(STATE, freezeMsMax);
  const segment = TestSegment.make(STATE.shardBytesMax / 16);
  store.offer(SHARD, 1, () => segment.share());
  const state = new OwnedState<Uint8Array>(store, 's', { raw: true });
  const entries = async () => {
    const found: [string, string][] = [];
    for await (const [key, value] of state.scan(SHARD)) found.push([key, Buffer.from(value).toString()]);
    return Object.fromEntries(found.sort());
  };
  return { store, state, entries };
}

function record(key: string, value: string, expiresAtMs = FOREVER): Buffer {
  return recordOf({ name: 's', key, value: Buffer.from(value), raw: true, expiresAtMs });
}

function takeIn(store: ShardStore, part: number, mode: WriteMode, records: Buffer[], last = true): Promise<number> {
  return store.takeIn({ shard: SHARD, part, mode, records: Buffer.concat(records), last });
}

t.test(
  'merged or replaced, in however many parts, once or twice: it comes to what the file and the mode say',
  async (t) => {
    const contents = fc.dictionary(fc.constantFrom(...KEYS), fc.string({ unit: 'grapheme-ascii', maxLength: 9 }));
    const modes = fc.constantFrom<WriteMode>('merge', 'replace');
    const run = async (before: object, file: Record<string, string>, mode: WriteMode, twice: boolean) => {
      const { store, state, entries } = await make();
      await store.own(SHARD, 1);
      for (const [key, value] of Object.entries(before)) await state.set(key, Buffer.from(value));
      const all = Object.entries(file);
      let removed = 0;
      for (let times = 0; times < (twice ? 2 : 1); times += 1) {
        const cut = Math.floor(all.length / 2);
        const records = all.map(([key, value]) => record(key, value));
        await takeIn(store, 0, mode, records.slice(0, cut), false);
        removed += await takeIn(store, 1, mode, records.slice(cut));
      }
      const lost = Object.keys(before).filter((key) => !Object.hasOwn(file, key));
      t.same(await entries(), mode === 'merge' ? { ...before, ...file } : { ...file });
      t.equal(removed, mode === 'merge' ? 0 : lost.length);
      store.close();
    };
    await fc.assert(fc.asyncProperty(contents, contents, modes, fc.boolean(), run), { numRuns: 40 });
  },
);

t.test(
  'what is derived from a shard is derived anew; parts out of order, other shards and what has expired',
  async (t) => {
    const { store, entries } = await make();
    const told: string[] = [];
    store.onArrive(async () => told.push(`arrives with ${Object.keys(await entries())}`));
    store.onLeave(() => told.push('leaves'));
    await t.rejects(takeIn(store, 0, 'merge', []), { code: 'SHOAL_E_SHARD_MOVED' }, 'it is not here');
    await store.own(SHARD, 1);
    const [one = '', two = ''] = KEYS;
    await takeIn(store, 0, 'merge', [record(one, '1'), record(two, '2', 1_000)]);
    t.same(told, ['arrives with ', 'leaves', `arrives with ${one}`], 'what has expired is not written');
    await t.rejects(takeIn(store, 1, 'merge', []), { code: 'SHOAL_E_CONFLICT' }, 'it has not begun');
    await takeIn(store, 0, 'merge', [], false);
    await t.rejects(takeIn(store, 2, 'merge', []), { code: 'SHOAL_E_CONFLICT' }, 'a part is missing');
    await t.rejects(takeIn(store, 1, 'merge', []), { code: 'SHOAL_E_CONFLICT' }, 'and then it begins anew');
    const other = ['a', 'b', 'c'].find((key) => shardOfKey(key, STATE.shards) !== SHARD) ?? '';
    await t.rejects(takeIn(store, 0, 'merge', [record(other, '1')]), { code: 'SHOAL_E_USAGE' });
    await t.rejects(takeIn(store, 0, 'merge', [Buffer.alloc(8)]), { code: 'SHOAL_E_STATE_DAMAGED' });
    t.same(await entries(), { [one]: '1' });
  },
);

t.test(
  'calls are refused while a shard is derived anew, and one that hangs does not hold it up for ever',
  async (t) => {
    const { store } = await make(20);
    let go: () => void = () => undefined;
    let waits = false;
    store.onArrive(async () => {
      if (waits) await new Promise<void>((resolve) => (go = resolve));
    });
    await store.own(SHARD, 1);
    waits = true;
    const importing = takeIn(store, 0, 'replace', [record(KEYS[0] ?? '', '1')]);
    while (store.serves(SHARD)) await new Promise((resolve) => setImmediate(resolve));
    t.throws(() => store.enter([SHARD]), { code: 'SHOAL_E_SHARD_MOVED' });
    go();
    await importing;
    const leave = store.enter([SHARD]);
    await t.rejects(takeIn(store, 0, 'merge', []), { code: 'SHOAL_E_DEADLINE' });
    t.ok(store.serves(SHARD), 'it serves on');
    leave();
  },
);
