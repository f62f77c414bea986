import fs, { closeSync, existsSync, mkdtempSync, openSync, readdirSync, rmSync } from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { COPY_TIMING } from '../../../agent/state/copy-timing.js';
import { OutgoingFill } from '../../../agent/state/outgoing-fill.js';
import { makeSegment, SegmentStore } from '../../../agent/state/segment-store.js';
import { randomFrom } from '../../../coordinator/brain/forecast/random.js';
import { native } from '../../../native/index.js';
import { stateName } from '../../../sdk/state/key-bytes.js';
import { ShardLog } from '../../../sdk/state/shard-log.js';

const NAME = stateName('values');
const LIMITS = { shardBytesMax: 1024 * 1024, valueBytesMax: 64 * 1024 };

/** Two hosts' folders: an owner writes on the one, and its agent sends what it has to the other. */
class Pair {
  readonly folder = mkdtempSync('/dev/shm/shoal-test-');
  readonly source = join(this.folder, 'source');
  readonly target = join(this.folder, 'target');
  readonly owner: ShardLog;
  readonly reader: SegmentStore;
  copy: SegmentStore;
  readonly wanted = new Map<string, string>();

  constructor(t: Test) {
    t.teardown(() => rmSync(this.folder, { recursive: true }));
    makeSegment(this.source);
    this.owner = open(this.source);
    this.owner.own(1);
    this.reader = new SegmentStore(this.source);
    this.copy = new SegmentStore(this.target);
  }

  set(key: string, value: string): void {
    this.owner.put(NAME, key, Buffer.from(value));
    this.wanted.set(key, value);
  }

  delete(key: string): void {
    this.owner.delete(NAME, key);
    this.wanted.delete(key);
  }

  /** All that the copy lacks; false when it has to begin anew. */
  follow(): boolean {
    this.reader.refresh();
    for (;;) {
      const records = this.reader.recordsAfter(this.copy.last, COPY_TIMING.recordsMax);
      if (records === null) return false;
      if (records.length === 0) return true;
      for (const record of records) this.copy.apply(record);
      this.copy.flush();
    }
  }

  /** A fill, with `between` after each part. */
  fill(between: () => void): void {
    this.reader.refresh();
    const fill = new OutgoingFill(1, 1, 1, this.reader);
    for (let isFirst = true, done = false; !done; isFirst = false) {
      this.reader.refresh();
      const part = fill.next(this.reader, 1, 0, { ...COPY_TIMING, partBytesMax: 2_000, recordsMax: 64 });
      if (part === null) throw new Error('a fill lacks writes');
      if (isFirst) this.copy.begin(part.last);
      for (const record of part.records) if (record.index === this.copy.last + 1) this.copy.apply(record);
      this.copy.put(part.entries);
      this.copy.flush();
      if (this.copy.last !== part.last) throw new Error(`the copy is at ${this.copy.last} and not at ${part.last}`);
      done = fill.answered(1, 1, part.part);
      if (!done) between();
    }
  }

  /** What an owner finds that maps the copy. */
  found(): Map<string, string> {
    const log = open(this.target);
    const found = new Map<string, string>();
    for (const { key, value } of log.scan(NAME)) found.set(key, Buffer.from(value).toString());
    log.close();
    return found;
  }
}

function open(path: string): ShardLog {
  return new ShardLog(native.openSharedFile(openSync(path, 'r+')), path, LIMITS);
}

t.test('a copy that is filled while its source is written to has what the source has', async (t) => {
  for (let seed = 1; seed <= 3; seed += 1) {
    const random = randomFrom(seed);
    const pair = new Pair(t);
    const write = (count: number) => {
      for (let i = 0; i < count; i += 1) {
        const key = `k${Math.floor(random() * 60)}`;
        if (random() < 0.2) pair.delete(key);
        else pair.set(key, `${seed} ${i} `.padEnd(Math.floor(random() * 1_500), 'x'));
      }
    };
    write(300);
    pair.reader.watch(true);
    pair.fill(() => write(Math.floor(random() * 40)));
    t.ok(pair.follow());
    t.same(pair.found(), pair.wanted, `seed ${seed}: filled`);
    for (let round = 0; round < 20; round += 1) {
      write(100);
      // As after a kill of the copy's agent.
      if (random() < 0.3) {
        pair.copy.close();
        pair.copy = new SegmentStore(pair.target);
        pair.copy.refresh();
      }
      t.ok(pair.follow(), 'while it is followed no half becomes active too early');
      t.equal(pair.copy.last, pair.owner.index);
    }
    t.same(pair.found(), pair.wanted, `seed ${seed}: followed`);
    t.ok(pair.owner.usedBytes < 1_000_000, 'garbage is taken out all the same');
    pair.copy.close();
    pair.reader.close();
    pair.owner.close();
  }
});

t.test('who follows too slowly is told so, and not given something else', async (t) => {
  const pair = new Pair(t);
  for (let i = 0; i < 10; i += 1) pair.set(`k${i}`, 'x');
  pair.reader.refresh();
  pair.copy.begin(pair.reader.last);
  for (let i = 0; i < 3_000; i += 1) pair.set(`k${i % 10}`, 'y'.repeat(1_000));
  t.equal(pair.follow(), false);
  pair.fill(() => undefined);
  t.same(pair.found(), pair.wanted);
});

t.test('what is written after an instance may write no more is in a file of its own', async (t) => {
  const pair = new Pair(t);
  pair.set('a', '1');
  pair.reader.depose(false);
  t.throws(() => pair.set('a', 'too late'), { code: 'SHOAL_E_SHARD_MOVED' });
  const other = new Pair(t);
  other.set('b', '2');
  other.reader.refresh();
  const [record] = other.reader.recordsAfter(0, 1) ?? [];
  pair.reader.apply({ ...(record as NonNullable<typeof record>), index: pair.reader.last + 1 });
  pair.reader.flush();
  t.equal(pair.owner.index, 1, 'who has mapped the segment sees nothing of it');
  const log = open(pair.source);
  t.equal(log.index, 2);
  t.same(
    [...log.scan(NAME)].map(({ key }) => key),
    ['a', 'b'],
  );
});

t.test('a copy that is begun anew shows nothing of what was there', async (t) => {
  const pair = new Pair(t);
  pair.set('old', '1');
  pair.fill(() => undefined);
  t.same([...pair.found().keys()], ['old']);
  pair.copy.begin(0);
  pair.copy.flush();
  t.same(readdirSync(pair.folder), ['source'], 'no file is left of it');
  t.notOk(pair.copy.exists);
});

t.test('a segment has its name once its header is written: whatever is killed before leaves none', async (t) => {
  const folder = t.testdir({ '7.begun': 'of one that was killed' });
  const path = join(folder, '7');
  const { writeSync } = fs;
  const before: boolean[] = [];
  t.teardown(() => {
    fs.writeSync = writeSync;
    syncBuiltinESMExports();
  });
  fs.writeSync = ((...args: Parameters<typeof writeSync>) => {
    before.push(existsSync(path));
    return writeSync(...args);
  }) as typeof writeSync;
  syncBuiltinESMExports();
  closeSync(makeSegment(path));
  t.same(before, [false]);
  t.same(readdirSync(folder), ['7']);
  t.equal(new SegmentStore(path).exists, true);
});
