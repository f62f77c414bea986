import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import type { ShardImage } from '../../../agent/state/shard-image.js';
import { Snapshots } from '../../../agent/state/snapshots.js';
import { shardOfKey } from '../../../protocol/shard.js';
import { readEntry, recordsIn } from '../../../protocol/state-record.js';
import { recordOf } from '../../protocol/state-records.js';

const SHARDS = 4;
const KEY = 'k';
const SHARD = shardOfKey(KEY, SHARDS);
const NAME = `t/store/${SHARD}`;

async function make(t: Test, bytesMax = 1024 * 1024) {
  const folder = await mkdtemp(join(tmpdir(), 'shoal-snapshots-'));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  const files = join(folder, 't', 'store', String(SHARD));
  const begin = async () => {
    const snapshots = new Snapshots({ folder, bytesMax });
    await snapshots.open();
    return { snapshots };
  };
  return { folder, files, begin };
}

function image(last: number, value: string): ShardImage {
  const record = recordOf({ name: 's', key: KEY, value: Buffer.from(value), raw: true, expiresAtMs: Infinity });
  return { entries: 1, bytes: record.length, last, parts: () => [record].values() as Generator<Buffer> };
}

async function foundIn(snapshots: Snapshots, damaged: string[] = []): Promise<string | null> {
  const newest = snapshots.newest(NAME);
  if (newest === null) return null;
  const content = await snapshots.read(NAME, newest, (why) => damaged.push(why));
  const [record] = content?.parts.flatMap((part) => [...recordsIn(part)]) ?? [];
  return record === undefined ? null : `${content?.last} ${readEntry(record.bytes).value}`;
}

t.test('the two newest stay, and the next process finds them', async (t) => {
  const { begin, files } = await make(t);
  const { snapshots } = await begin();
  t.equal(await foundIn(snapshots), null);
  for (const [epoch, last] of [
    [1, 9],
    [2, 3],
    [2, 10],
  ] as const) {
    await snapshots.write(NAME, epoch, image(last, `value ${last}`), SHARDS);
  }
  t.same((await readdir(files)).sort(), ['2-10.state', '2-3.state']);
  // Of a writer that was killed.
  await writeFile(join(files, '2-11.state.new'), 'half');
  const { snapshots: next } = await begin();
  t.same(next.newest(NAME), { epoch: 2, last: 10 });
  t.equal(await foundIn(next), '10 value 10');
  t.same((await readdir(files)).sort(), ['2-10.state', '2-3.state'], 'what was cut short is gone');
  await next.keepOnly((key) => key !== 't/store');
  t.equal(next.newest(NAME), null);
  t.same(await readdir(join(files, '..')), []);
});

t.test('one that is damaged is told, and from then on the one before it is the newest', async (t) => {
  const { begin, files } = await make(t);
  const path = join(files, '1-2.state');
  const { snapshots: first } = await begin();
  await first.write(NAME, 1, image(1, 'one'), SHARDS);
  await first.write(NAME, 1, image(2, 'two'), SHARDS);
  const whole = await readFile(path);
  for (const wrong of [whole.subarray(0, whole.length - 1), Buffer.concat([whole.subarray(1), whole.subarray(0, 1)])]) {
    await writeFile(path, whole);
    const { snapshots } = await begin();
    t.equal(await foundIn(snapshots), '2 two');
    await writeFile(path, wrong);
    const told: string[] = [];
    t.equal(await foundIn(snapshots, told), null, 'also when it was whole at first');
    t.match(told, [/1-2\.state: at byte \d+/]);
    t.same(snapshots.newest(NAME), { epoch: 1, last: 1 });
    t.equal(await foundIn(snapshots), '1 one');
    const { snapshots: next } = await begin();
    t.same(next.newest(NAME), { epoch: 1, last: 2 }, 'the next process reads none before it is asked for');
    t.equal(await foundIn(next), null);
    t.equal(await next.read(NAME, { epoch: 1, last: 3 }, t.fail), null, 'one that is not there');
  }
});

t.test('one that is damaged goes with the next that is written, and the whole one stays', async (t) => {
  const { begin, files } = await make(t);
  const { snapshots } = await begin();
  await snapshots.write(NAME, 1, image(1, 'one'), SHARDS);
  await snapshots.write(NAME, 1, image(2, 'two'), SHARDS);
  await writeFile(join(files, '1-2.state'), 'x');
  t.equal(await foundIn(snapshots), null);
  await snapshots.write(NAME, 2, image(2, 'again'), SHARDS);
  t.same((await readdir(files)).sort(), ['1-1.state', '2-2.state']);
});

t.test('they take no more of the disk than they may', async (t) => {
  const { begin, files } = await make(t, 1_000);
  const { snapshots } = await begin();
  await snapshots.write(NAME, 1, image(1, 'small'), SHARDS);
  await t.rejects(snapshots.write(NAME, 1, image(2, 'x'.repeat(2_000)), SHARDS), {
    code: 'SHOAL_E_HOST',
    message: /--snapshots-bytes/,
  });
  t.same(await readdir(files), ['1-1.state']);
});
