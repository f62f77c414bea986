import { mkdtempSync, openSync, rmSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import t from 'tap';
import { makeSegment } from '../../../agent/state/segment-store.js';
import { readShard, type ShardImage } from '../../../agent/state/shard-image.js';
import { native } from '../../../native/index.js';
import { readEntry, recordsIn } from '../../../protocol/state-record.js';
import { stateName } from '../../../sdk/state/key-bytes.js';
import { ShardLog } from '../../../sdk/state/shard-log.js';

const NAME = stateName('values');
const LIMITS = { shardBytesMax: 1024 * 1024, valueBytesMax: 512 * 1024 };

const folder = mkdtempSync('/dev/shm/shoal-test-');
t.teardown(() => rmSync(folder, { recursive: true }));

function entriesOf(image: ShardImage): Map<string, string> {
  const parts = [...image.parts()];
  const entries = parts.flatMap((part) => [...recordsIn(part)].map(({ bytes }) => readEntry(bytes)));
  t.equal(entries.length, image.entries);
  return new Map(entries.map(({ key, value }) => [key, value.toString()]));
}

t.test('a shard is read as it was at one moment, whatever is written and taken out meanwhile', async (t) => {
  const path = join(folder, 'busy');
  makeSegment(path);
  const owner = new ShardLog(native.openSharedFile(openSync(path, 'r+')), 'busy', LIMITS);
  t.teardown(() => owner.close());
  owner.own(1);
  // What was there after each write: its index counts them.
  const history: (readonly [key: string, value: string | null])[] = [];
  let isOver = false;
  const writer = (async () => {
    for (let i = 0; !isOver; i += 1) {
      const key = `k${(i * 7) % 50}`;
      const isGone = i % 11 === 10;
      const value = `${i} ${'x'.repeat(i % 3000)}`;
      if (isGone && owner.delete(NAME, key)) history.push([key, null]);
      else if (!isGone) {
        owner.put(NAME, key, Buffer.from(value));
        history.push([key, value]);
      }
      if (i % 20 === 0) await setImmediate();
    }
  })();
  for (let round = 0; round < 30; round += 1) {
    const image = await readShard(path);
    const wanted = new Map<string, string>();
    for (const [key, value] of history.slice(0, image.last)) {
      if (value === null) wanted.delete(key);
      else wanted.set(key, value);
    }
    t.same([...entriesOf(image)].sort(), [...wanted].sort(), `as after write ${image.last}`);
  }
  isOver = true;
  await writer;
  t.ok(history.length > 1_000, `${history.length} writes went on`);
});

t.test('large values, what has expired, a shard without a segment, and one that was shortened', async (t) => {
  const path = join(folder, 'large');
  makeSegment(path);
  const owner = new ShardLog(native.openSharedFile(openSync(path, 'r+')), 'large', LIMITS);
  owner.own(1);
  owner.put(NAME, 'large', Buffer.alloc(500_000, 'l'));
  owner.put(NAME, 'short', Buffer.from('s'), true, 2_000_000_000_000);
  owner.put(NAME, 'over', Buffer.from('o'), true, 3_000_000_000_000);
  const image = await readShard(path, () => 2_500_000_000_000);
  t.same([...entriesOf(image).keys()].sort(), ['large', 'over']);
  t.equal((await readShard(join(folder, 'none'))).entries, 0);
  owner.close();
  truncateSync(path, 8_192);
  await t.rejects(readShard(path), { code: 'SHOAL_E_STATE_DAMAGED' });
});
