import fc from 'fast-check';
import t from 'tap';
import { ShoalError } from '../../protocol/errors.js';
import { shardOfKey } from '../../protocol/shard.js';
import {
  type ReadAt,
  readStateFile,
  type StateBlock,
  type StateFileHead,
  StateFileWriter,
} from '../../protocol/state-file.js';
import { readEntry, recordsIn } from '../../protocol/state-record.js';
import { type Given, recordOf } from './state-records.js';

const SHARDS = 4;
const HEAD: StateFileHead = {
  app: 'shop',
  component: 'carts',
  mode: 'partitioned',
  shards: SHARDS,
  atMs: 1_700_000_000_000,
};

/** With each entry in a block of its own. */
function fileOf(entries: readonly Given[]): Buffer {
  const writer = new StateFileWriter();
  const parts = [writer.begin(HEAD)];
  for (let shard = 0; shard < SHARDS; shard += 1) {
    const here = entries.filter(({ key }) => shardOfKey(key, SHARDS) === shard);
    for (const each of here) parts.push(writer.entries(shard, recordOf(each)));
    parts.push(writer.shardEnd({ shard, entries: here.length, epoch: 7, last: 9 }));
  }
  parts.push(writer.end());
  return Buffer.concat(parts);
}

function readerOf(file: Buffer): ReadAt {
  return async (at, length) => Buffer.from(file.subarray(at, at + length));
}

async function blocksOf(file: Buffer): Promise<StateBlock[]> {
  const blocks: StateBlock[] = [];
  for await (const each of readStateFile(readerOf(file))) blocks.push(each);
  return blocks;
}

async function refusal(file: Buffer): Promise<ShoalError | null> {
  try {
    await blocksOf(file);
    return null;
  } catch (error) {
    if (error instanceof ShoalError) return error;
    throw error;
  }
}

const entry: fc.Arbitrary<Given> = fc.record({
  name: fc.constantFrom('words', 'a', 'carts-2'),
  key: fc.string({ unit: 'grapheme', maxLength: 20 }),
  value: fc.uint8Array({ maxLength: 60 }),
  raw: fc.boolean(),
  expiresAtMs: fc.oneof(fc.constant(Number.POSITIVE_INFINITY), fc.integer({ min: 1, max: 2 ** 45 })),
});
const given = fc.array(entry, { maxLength: 12 });

t.test('what is written is read', async (t) => {
  await fc.assert(
    fc.asyncProperty(given, async (entries) => {
      const blocks = await blocksOf(fileOf(entries));
      const read = blocks.flatMap((each) =>
        each.type === 'entries' ? [...recordsIn(each.records)].map(({ bytes }) => readEntry(bytes)) : [],
      );
      const sorted = (all: readonly Given[]) =>
        all
          .map((each) => JSON.stringify([each.name, each.key, [...each.value], each.raw, String(each.expiresAtMs)]))
          .sort();
      t.same(sorted(read), sorted(entries));
      t.match(blocks[0], { type: 'head', head: HEAD });
      t.match(blocks.at(-1), { type: 'end', shards: SHARDS, entries: entries.length });
    }),
    { numRuns: 50 },
  );
});

t.test('a file that is cut off, changed in one byte or goes on is refused, with the place', async (t) => {
  await fc.assert(
    fc.asyncProperty(given, fc.nat(), fc.integer({ min: 1, max: 255 }), async (entries, place, change) => {
      const file = fileOf(entries);
      const at = place % file.length;
      const changed = Buffer.from(file);
      changed[at] = (changed[at] as number) ^ change;
      for (const wrong of [file.subarray(0, at), changed, Buffer.concat([file, Buffer.of(change)])]) {
        const error = await refusal(wrong);
        t.equal(error?.code, 'SHOAL_E_STATE_DAMAGED');
        const found = Number(/^at byte (\d+): /.exec(error?.message ?? '')?.[1]);
        t.ok(found >= 0 && found <= file.length, String(error));
      }
    }),
    { numRuns: 100 },
  );
});

t.test('bytes that nobody has written as a file lead to nothing worse than a refusal', async (t) => {
  const magic = fileOf([]).subarray(0, 8);
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ maxLength: 300 }), fc.boolean(), async (bytes, begins) => {
      const error = await refusal(begins ? Buffer.concat([magic, bytes]) : Buffer.from(bytes));
      t.equal(error?.code, 'SHOAL_E_STATE_DAMAGED');
    }),
    { numRuns: 200 },
  );
});

t.test('blocks with right checksums in a wrong order, or with wrong counts, are refused', async (t) => {
  const record = recordOf({
    name: 'a',
    key: 'k',
    value: Buffer.of(1),
    raw: true,
    expiresAtMs: Number.POSITIVE_INFINITY,
  });
  const shard = shardOfKey('k', SHARDS);
  const other = (shard + 1) % SHARDS;
  const whole = { shard, entries: 1, epoch: 0, last: 0 };
  const made: Record<string, (writer: StateFileWriter) => Buffer[]> = {
    'no head': (w) => [w.shardEnd(whole)],
    'two heads': (w) => [w.begin(HEAD), w.begin(HEAD).subarray(8)],
    'an entry of another shard': (w) => [w.begin(HEAD), w.entries(other, record)],
    'a shard without its end': (w) => [w.begin(HEAD), w.entries(shard, record), w.end()],
    'a shard twice': (w) => [
      w.begin(HEAD),
      ...[1, 2].flatMap(() => [w.entries(shard, record), w.shardEnd(whole)]),
      w.end(),
    ],
    'an entry too few': (w) => [w.begin(HEAD), w.shardEnd(whole), w.end()],
    'a shard that is none': (w) => [w.begin(HEAD), w.shardEnd({ ...whole, shard: SHARDS, entries: 0 }), w.end()],
    'half a record': (w) => [w.begin(HEAD), w.entries(shard, record.subarray(0, 8))],
  };
  for (const [what, make] of Object.entries(made)) {
    const error = await refusal(Buffer.concat(make(new StateFileWriter())));
    t.equal(error?.code, 'SHOAL_E_STATE_DAMAGED', `${what}: ${error?.message}`);
  }
});

t.test('what was made since a mark is no part of the file', async (t) => {
  const writer = new StateFileWriter();
  const parts = [writer.begin(HEAD)];
  const mark = writer.mark();
  writer.entries(0, Buffer.alloc(0));
  writer.rewind(mark);
  t.equal(writer.bytes, parts[0]?.length);
  parts.push(writer.shardEnd({ shard: 0, entries: 0, epoch: 0, last: 0 }), writer.end());
  t.match((await blocksOf(Buffer.concat(parts))).at(-1), { type: 'end', shards: 1, entries: 0 });
});
