import fc from 'fast-check';
import t from 'tap';
import { until } from '../../../scripts/lib/until.js';
import { ShardStore } from '../../../sdk/shard-store.js';
import { SharedState } from '../../../sdk/shared-state.js';
import { stateName } from '../../../sdk/state/key-bytes.js';
import { NearCopies } from '../../../sdk/state/near-copies.js';
import { type LogLimits, ShardLog } from '../../../sdk/state/shard-log.js';
import { OwnedState } from '../../../sdk/state.js';
import { TestSegment } from './memory.js';

const LIMITS: LogLimits = { shardBytesMax: 64 * 1024, valueBytesMax: 32 * 1024 };
const NAME = stateName('values');
const clock = () => 1_000;
const reading = (memory: TestSegment) => new ShardLog(memory.share(), 'a copy', LIMITS, clock, -1);

function writing(memory: TestSegment): ShardLog {
  const log = new ShardLog(memory, 'state shard 0', LIMITS, clock);
  log.own(1);
  return log;
}

const step = fc.record({
  key: fc.constantFrom('a', 'b', 'c', 'd'),
  /** 0: it is deleted. Large ones make garbage, which is taken out. */
  bytes: fc.oneof(fc.constant(0), fc.integer({ min: 1, max: 9_000 })),
  /** After it the log is read up to so many writes before its end; null: not at all. */
  behind: fc.option(fc.nat(6)),
});

t.test('a log that others write is read as it was at the index that is asked for, or not at all', async (t) => {
  fc.assert(
    fc.property(fc.array(step, { minLength: 1, maxLength: 60 }), (steps) => {
      const memory = TestSegment.make(LIMITS.shardBytesMax);
      const log = writing(memory);
      const copy = reading(memory);
      const states: Map<string, number>[] = [new Map()];
      let at = 0;
      for (const { key, bytes, behind } of steps) {
        if (bytes > 0) log.put(NAME, key, Buffer.alloc(bytes, 'x'));
        else log.delete(NAME, key);
        while (states.length <= log.index) {
          const next = new Map(states.at(-1));
          if (bytes > 0) next.set(key, bytes);
          else next.delete(key);
          states.push(next);
        }
        if (behind === null) continue;
        at = Math.max(at, log.index - behind);
        for (const each of ['a', 'b', 'c', 'd']) {
          const found = copy.readAt(at, NAME, each);
          if (found === undefined) continue;
          t.equal(found?.value.length, states[at]?.get(each), `${each} at ${at} of ${log.index}`);
        }
        const entries = copy.scanAt(at, NAME);
        if (entries !== undefined) t.same([...entries].length, states[at]?.size);
        if (behind === 0) t.ok(entries !== undefined, 'all of it can always be had');
      }
      copy.close();
      log.close();
    }),
    { numRuns: 60 },
  );
});

t.test('a copy is read as long as it is known to be good enough, and the agent hears that it is', async (t) => {
  const memory = TestSegment.make(LIMITS.shardBytesMax);
  const log = writing(memory);
  log.put(NAME, 'k', Buffer.from('one'));
  let nowMs = 10_000;
  const open = (part: ConstructorParameters<typeof ShardLog>[0]) => new ShardLog(part, 'a copy', LIMITS, clock, -1);
  const copies = new NearCopies({ ...LIMITS, stalenessMs: 500 }, open, () => nowMs);
  t.teardown(() => copies.close());
  const wanted: number[][] = [];
  copies.onWant((shards) => wanted.push(shards));
  const read = () => {
    const found = copies.read(0, NAME, 'k');
    return found?.value === undefined ? found : Buffer.from(found.value).toString();
  };

  t.equal(read(), undefined, 'there is none yet');
  copies.read(3, NAME, 'k');
  await until(() => wanted.length > 0, 10_000);
  t.same(wanted, [[0, 3]], 'of all that are read, at once');
  copies.take(0, 7, () => memory.share());
  t.equal(read(), undefined, 'nothing is known of it');
  copies.know([[0, 6, 1, nowMs]]);
  t.equal(read(), undefined, 'what is known is of another file');
  copies.know([[0, 7, 1, nowMs - 100]]);
  t.equal(read(), 'one');
  log.put(NAME, 'k', Buffer.from('two'));
  t.equal(read(), 'one', 'a write that may be taken back is not read');
  nowMs += 400;
  t.equal(read(), 'one');
  nowMs += 1;
  t.equal(read(), undefined, 'it may be older than is allowed');
  copies.know([[0, 7, 2, nowMs]]);
  t.equal(read(), 'two');
  t.same([...(await copies.scan(0, NAME))].length, 1);
  nowMs += 501;
  const late = copies.scan(0, NAME);
  nowMs += 10_000;
  copies.know([]);
  await t.rejects(late, { code: 'SHOAL_E_SHARD_MOVED' });
  copies.take(0, 8, () => {
    throw new Error('no such file');
  });
  t.equal(read(), undefined, 'what cannot be mapped is read at the owner');
});

t.test('code that needs copies is refused at the start where the manifest does not give them', async (t) => {
  const store = new ShardStore({ mode: 'partitioned', shards: 1, ...LIMITS });
  t.throws(() => new OwnedState(store, 'values', { needs: ['copies'] }), { code: 'SHOAL_E_STATE_MODE' });
  const entries = { read: async () => null, write: async () => ({ did: true, value: null }) };
  const shared = new SharedState(entries, LIMITS, 'values', { needs: ['copies'] });
  t.equal(await shared.get('k'), undefined, 'where all instances share the entries it is given');
});
