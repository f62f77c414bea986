import assert from 'node:assert/strict';
import fc from 'fast-check';
import t from 'tap';
import type { ShoalError } from '../../../protocol/errors.js';
import { LIMITS } from '../../../protocol/limits.js';
import { halfBytesFor, SEGMENT_HEADER_BYTES, SEGMENT_WORD, UNIT_BYTES } from '../../../protocol/state-segment.js';
import { stateName } from '../../../sdk/state/key-bytes.js';
import { type LogLimits, ShardLog } from '../../../sdk/state/shard-log.js';
import { TestSegment } from './memory.js';

const LIMIT: LogLimits = { shardBytesMax: 64 * 1024, valueBytesMax: 32 * 1024 };
const NAMES = [stateName('counts'), stateName('sessions')] as const;
const LABEL = 'state shard 7';

function open(memory: TestSegment, epoch = 1, clock: () => number = () => 1_000, limits = LIMIT): ShardLog {
  const log = new ShardLog(memory, LABEL, limits, clock);
  log.own(epoch);
  return log;
}

function text(log: ShardLog, key: string, name = NAMES[0]): string | undefined {
  const position = log.find(name, key);
  return position < 0 ? undefined : Buffer.from(log.value(position)).toString();
}

/** What a log holds, as a model would say it. */
function contents(log: ShardLog): Record<string, string> {
  const all: Record<string, string> = {};
  for (const name of NAMES) {
    for (const { key, value } of log.scan(name)) all[`${name.text}/${key}`] = Buffer.from(value).toString();
  }
  return all;
}

const name = fc.nat({ max: 1 });
const key = fc.oneof(fc.constantFrom('a', 'b', 'c', 'k-1', 'k-2', ''), fc.string({ maxLength: 9, unit: 'grapheme' }));
const step = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({ kind: fc.constant('put' as const), name, key, bytes: fc.integer({ min: 1, max: 9_000 }) }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant('ttl' as const), name, key, ms: fc.integer({ min: 1, max: 90_000 }) }),
  },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('delete' as const), name, key }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('wait' as const), ms: fc.nat({ max: 40_000 }) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('crash' as const), scribble: fc.nat({ max: 5_000 }) }) },
);
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

interface ModelEntry {
  value: string;
  expiresAtMs: number;
}

/** Plays the steps against a log and a Map; after a crash the log is opened anew from what is in the memory. */
function play(steps: readonly Step[]): { generations: number } {
  let memory = TestSegment.make(LIMIT.shardBytesMax);
  let nowMs = 1_000;
  let epoch = 1;
  const clock = () => nowMs;
  let log = open(memory, epoch, clock);
  const model = new Map<string, ModelEntry>();
  const alive = () =>
    Object.fromEntries([...model].filter(([, e]) => e.expiresAtMs > nowMs).map(([k, { value }]) => [k, value]));
  for (const [i, each] of steps.entries()) {
    if (each.kind === 'wait') {
      nowMs += each.ms;
    } else if (each.kind === 'crash') {
      const dead = memory;
      memory = dead.copy();
      dead.close();
      scribble(memory, each.scribble);
      epoch += 1;
      log = open(memory, epoch, clock);
      assert.deepEqual(contents(log), alive(), 'after a crash all is there that was acknowledged, and nothing else');
    } else {
      const id = `${NAMES[each.name]?.text}/${each.key}`;
      const where = NAMES[each.name] ?? NAMES[0];
      if (each.kind === 'delete') {
        const there = (model.get(id)?.expiresAtMs ?? 0) > nowMs;
        assert.equal(log.delete(where, each.key), there);
        model.delete(id);
      } else {
        const value = each.kind === 'put' ? `${i}`.padEnd(each.bytes, '.') : `${i}`;
        const expiresAtMs = each.kind === 'put' ? Number.POSITIVE_INFINITY : nowMs + each.ms;
        try {
          log.put(where, each.key, Buffer.from(value), false, expiresAtMs);
          model.set(id, { value, expiresAtMs });
        } catch (error) {
          assert.equal((error as ShoalError).code, 'SHOAL_E_STATE_FULL');
        }
        assert.equal(text(log, each.key, where), alive()[id]);
      }
    }
  }
  assert.deepEqual(contents(log), alive());
  const generations = memory.words[SEGMENT_WORD.generation] ?? 0;
  log.close();
  return { generations };
}

/** What a process that was killed in the middle of a write or a compaction may leave where nothing counts yet. */
function scribble(memory: TestSegment, bytes: number): void {
  const active = memory.words[SEGMENT_WORD.active] ?? 0;
  const halfBytes = halfBytesFor(LIMIT.shardBytesMax);
  for (const half of [0, 1]) {
    const used = half === active ? (memory.words[SEGMENT_WORD.committed + half] ?? 0) * UNIT_BYTES : 0;
    const length = Math.min(bytes, halfBytes - used);
    memory.write(Buffer.alloc(length, 0xa5), SEGMENT_HEADER_BYTES + half * halfBytes + used);
  }
}

t.test('a log is a Map, whatever kills its process, and however often garbage is taken out', async (t) => {
  let generations = 0;
  fc.assert(
    fc.property(fc.array(step, { minLength: 150, maxLength: 300, size: 'max' }), (steps) => {
      generations += play(steps).generations;
    }),
    { numRuns: 12 },
  );
  t.ok(generations > 0, `garbage was taken out ${generations} times`);
});

t.test('a successor reads ahead while the owner writes, and takes over with all of it', async (t) => {
  const memory = TestSegment.make(LIMIT.shardBytesMax);
  const owner = open(memory, 1);
  owner.put(NAMES[0], 'before', Buffer.from('1'));
  const successor = new ShardLog(memory, LABEL, LIMIT);
  t.equal(text(successor, 'before'), '1');
  for (let i = 0; i < 1_000; i += 1) owner.put(NAMES[0], `k-${i % 10}`, Buffer.alloc(900, `${i % 7}`));
  t.ok((memory.words[SEGMENT_WORD.generation] ?? 0) > 0, 'the other half is active by now');
  successor.own(2);
  t.same(contents(successor), contents(owner));
  t.throws(() => owner.put(NAMES[0], 'late', Buffer.from('x')), { code: 'SHOAL_E_SHARD_MOVED' });
  t.throws(() => owner.delete(NAMES[0], 'before'), { code: 'SHOAL_E_SHARD_MOVED' });
  t.notOk(owner.mine);
  t.throws(() => open(memory, 1), { code: 'SHOAL_E_SHARD_MOVED' }, 'an epoch from before owns nothing');
  t.equal(text(successor, 'before'), '1');
});

t.test('an iteration sees the state as it was when it began', async (t) => {
  const memory = TestSegment.make(LIMIT.shardBytesMax);
  const log = open(memory);
  for (let i = 0; i < 20; i += 1) log.put(NAMES[0], `k-${i}`, Buffer.from(`old ${i}`));
  log.put(NAMES[1], 'k-0', Buffer.from('of another state'));
  const seen = new Map<string, string>();
  const scan = log.scan(NAMES[0]);
  log.delete(NAMES[0], 'k-3');
  for (const { key, value } of scan) {
    seen.set(key, Buffer.from(value).toString());
    // Often enough for garbage to be taken out meanwhile, twice over.
    for (let i = 0; i < 30; i += 1) log.put(NAMES[0], `k-${i % 20}`, Buffer.alloc(1_000, 'n'));
  }
  t.ok((memory.words[SEGMENT_WORD.generation] ?? 0) > 1);
  t.same(seen, new Map(Array.from({ length: 20 }, (_, i) => [`k-${i}`, `old ${i}`])));
});

t.test('a full shard refuses with the limit and the remedy, and takes again what fits', async (t) => {
  const log = open(TestSegment.make(LIMIT.shardBytesMax));
  const value = Buffer.alloc(1_000);
  const fill = () => {
    for (let i = 0; i < 1_000; i += 1) log.put(NAMES[0], `k-${i}`, value);
  };
  t.throws(fill, {
    code: 'SHOAL_E_STATE_FULL',
    message: /state shard 7 holds \d+ of at most 65536 bytes.*shardMemory/,
  });
  t.equal(text(log, 'k-5')?.length, 1_000, 'what is there is read');
  log.put(NAMES[0], 'k-5', value);
  t.ok(log.delete(NAMES[0], 'k-1'), 'what is there can be deleted');
  log.put(NAMES[0], 'another', value);
  t.throws(() => log.put(NAMES[0], 'one-more', value), { code: 'SHOAL_E_STATE_FULL' });
});

t.test('what has expired makes room', async (t) => {
  let nowMs = 0;
  const log = open(TestSegment.make(LIMIT.shardBytesMax), 1, () => nowMs);
  for (let round = 0; round < 20; round += 1) {
    for (let i = 0; i < 50; i += 1) log.put(NAMES[0], `${round}-${i}`, Buffer.alloc(1_000), false, nowMs + 5_000);
    nowMs += 60_000;
    t.equal(log.find(NAMES[0], `${round}-1`), -1);
  }
  t.ok(log.entries < 200, `the index keeps ${log.entries} entries`);
});

t.test('what is too large is refused with the limit and the remedy', async (t) => {
  const log = open(TestSegment.make(LIMIT.shardBytesMax));
  const large = Buffer.alloc(LIMIT.valueBytesMax + 1);
  t.throws(() => log.put(NAMES[0], 'k', large), {
    code: 'SHOAL_E_STATE_SIZE',
    message: /above the limit of 32768: raise/,
  });
  for (const key of ['x'.repeat(LIMITS.stateKeyBytesMax + 1), 'ä'.repeat(LIMITS.stateKeyBytesMax / 2 + 1)]) {
    t.throws(() => log.find(NAMES[0], key), { code: 'SHOAL_E_STATE_SIZE', message: /key of \d+ bytes .* 1024/ });
  }
  t.throws(() => log.find(NAMES[0], 'half \ud800'), { code: 'SHOAL_E_USAGE' });
  t.throws(() => stateName('No Name'), { code: 'SHOAL_E_NAME' });
  log.put(NAMES[0], 'ä'.repeat(LIMITS.stateKeyBytesMax / 2), Buffer.from('fits'));
  t.equal(text(log, 'ä'.repeat(LIMITS.stateKeyBytesMax / 2)), 'fits');
});

t.test('without memory of the host a write fails, and the shard goes on', async (t) => {
  const memory = TestSegment.make(LIMIT.shardBytesMax);
  const log = open(memory);
  log.put(NAMES[0], 'k', Buffer.from('1'));
  memory.bytesLeft = 0;
  const fill = () => {
    for (let i = 0; i < 1_000; i += 1) log.put(NAMES[0], 'k', Buffer.alloc(2_000, `${i}`));
  };
  t.throws(fill, { code: 'SHOAL_E_STATE_FULL', message: /gets no memory.*\/dev\/shm/ });
  t.ok(text(log, 'k'));
  memory.bytesLeft = Number.POSITIVE_INFINITY;
  fill();
  t.equal(text(log, 'k')?.length, 2_000);
});

t.test('memory that a stranger has written to leads to errors, never to more', async () => {
  const memory = TestSegment.make(LIMIT.shardBytesMax);
  const log = open(memory);
  for (let i = 0; i < 50; i += 1) log.put(NAMES[i % 2] ?? NAMES[0], `key ${i}`, Buffer.alloc(i * 20, 'v'));
  const written = SEGMENT_HEADER_BYTES + log.usedBytes;
  const at = fc.oneof(fc.nat({ max: 63 }), fc.integer({ min: SEGMENT_HEADER_BYTES, max: written }));
  fc.assert(
    fc.property(fc.array(fc.tuple(at, fc.nat({ max: 255 })), { minLength: 1, maxLength: 20 }), (changes) => {
      const hostile = memory.copy();
      for (const [offset, byte] of changes) hostile.write(Buffer.from([byte]), offset);
      try {
        const opened = open(hostile, 2);
        contents(opened);
        for (let i = 0; i < 50; i += 1) opened.put(NAMES[0], `key ${i}`, Buffer.from('new'));
      } catch (error) {
        assert.match((error as ShoalError).code, /SHOAL_E_(STATE_DAMAGED|SHARD_MOVED|STATE_FULL)/);
      } finally {
        hostile.close();
      }
    }),
    { numRuns: 100 },
  );
  // And when it changes under an owner that has read it already.
  fc.assert(
    fc.property(fc.array(fc.tuple(at, fc.nat({ max: 255 })), { minLength: 1, maxLength: 200 }), (changes) => {
      const hostile = memory.copy();
      const opened = open(hostile, 2);
      for (const [offset, byte] of changes) hostile.write(Buffer.from([byte]), offset);
      try {
        contents(opened);
        for (let i = 0; i < 500; i += 1) opened.put(NAMES[0], `key ${i % 50}`, Buffer.alloc(500));
      } catch (error) {
        assert.match((error as ShoalError).code, /SHOAL_E_(STATE_DAMAGED|SHARD_MOVED|STATE_FULL)/);
      } finally {
        hostile.close();
      }
    }),
    { numRuns: 40 },
  );
});

t.test(
  'the header counts what was looked up, written and refused, through garbage collection and hand-over',
  async (t) => {
    const memory = TestSegment.make(LIMIT.shardBytesMax);
    t.teardown(() => memory.close());
    const counts = () => {
      const doubles = new Float64Array(memory.words.buffer);
      return ['reads', 'writes', 'refused'].map(
        (what) => doubles[SEGMENT_WORD[what as 'reads' | 'writes' | 'refused'] / 2],
      );
    };
    const log = open(memory, 1);
    for (let i = 0; i < 500; i += 1) log.put(NAMES[0], `k-${i % 5}`, Buffer.alloc(900));
    t.ok((memory.words[SEGMENT_WORD.generation] ?? 0) > 0, 'garbage was taken out');
    log.delete(NAMES[0], 'k-0');
    t.notOk(log.delete(NAMES[0], 'k-0'));
    text(log, 'k-1');
    text(log, 'nothing');
    t.throws(() => log.put(NAMES[0], 'big', Buffer.alloc(LIMIT.valueBytesMax + 1)), { code: 'SHOAL_E_STATE_SIZE' });
    const fill = () => {
      for (let i = 0; i < 100; i += 1) log.put(NAMES[0], `fill-${i}`, Buffer.alloc(900));
    };
    t.throws(fill, { code: 'SHOAL_E_STATE_FULL' });
    const [reads, writes = 0, refused] = counts();
    t.same([reads, refused], [2, 2]);
    t.ok(writes > 501 && writes < 601);
    const successor = open(memory, 2);
    t.throws(() => log.put(NAMES[0], 'late', Buffer.alloc(1)), { code: 'SHOAL_E_SHARD_MOVED' });
    text(successor, 'k-1');
    t.same(counts(), [3, writes, 2], 'who is deposed counts nothing');
  },
);
