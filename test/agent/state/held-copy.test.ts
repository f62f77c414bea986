import { existsSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { HeldCopy } from '../../../agent/state/held-copy.js';
import { makeSegment } from '../../../agent/state/segment-store.js';
import { native } from '../../../native/index.js';
import type { CopyRecord } from '../../../protocol/state-copies.js';
import { stateName } from '../../../sdk/state/key-bytes.js';
import { ShardLog } from '../../../sdk/state/shard-log.js';

const LIMITS = { shardBytesMax: 1024 * 1024, valueBytesMax: 64 * 1024 };

function heldAt(path: string, told: string[], now = () => 0): HeldCopy {
  return new HeldCopy({
    host: 'h1',
    boot: 'boot',
    path,
    now,
    mayFill: () => true,
    send: () => undefined,
    server: () => undefined,
    changed: () => void told.push('changed'),
    came: () => void told.push('came'),
    failed: (error) => {
      throw error;
    },
    snapshot: () => null,
    known: () => undefined,
  });
}

function recordOf(epoch: number, inSync: string[], joining: string[] = []): CopyRecord {
  const owner = { host: inSync[0] ?? '', instance: 'a-b-0' };
  return { epoch, phase: 'serving', owner, inSync, joining: joining.map((host) => ({ host, since: epoch })) };
}

t.test('a record of what is elsewhere writes nothing and is no news, but of its epoch', async (t) => {
  const path = join(t.testdir(), '7');
  const told: string[] = [];
  const copy = heldAt(path, told);
  copy.configure(recordOf(5, ['h2']));
  t.same(told, []);
  t.equal(existsSync(`${path}.note`), false);
  t.equal(copy.report().epoch, 5);
  copy.receive('h2', { type: 'append', epoch: 4, after: 0, records: [], askedAtMs: 0 });
  t.equal(copy.report().epoch, 5, 'what comes late is refused');
  copy.configure(recordOf(6, ['h2'], ['h1']));
  t.same(told, ['changed']);
  t.match(JSON.parse(readFileSync(`${path}.note`, 'utf8')), { epoch: 6, role: 'none' });
  copy.close();
});

t.test('what a killed agent has left of a copy that was dropped goes with the next record', async (t) => {
  const path = join(
    t.testdir({ '7.note': JSON.stringify({ epoch: 4, role: 'none', attempts: 0, requires: [] }) }),
    '7',
  );
  makeSegment(path);
  const copy = heldAt(path, []);
  copy.configure(recordOf(5, ['h2']));
  t.equal(existsSync(path), false);
  copy.close();
});

t.test('a first fill that was cut short has left no whole copy', async (t) => {
  const path = join(t.testdir(), '7');
  const copy = heldAt(path, []);
  copy.configure(recordOf(5, ['h2'], ['h1']));
  copy.close();
  // Killed before the epoch was written, after the segment was.
  const note = JSON.parse(readFileSync(`${path}.note`, 'utf8'));
  writeFileSync(`${path}.note`, JSON.stringify({ ...note, epoch: 0 }));
  makeSegment(path);
  const next = heldAt(path, []);
  t.equal(next.report().role, 'none');
  next.close();
  rmSync(`${path}.note`);
  const older = heldAt(path, []);
  t.equal(older.report().role, 'replica', 'from before there were notes');
  older.close();
});

t.test('a copy of an earlier life of the component is none', async (t) => {
  const born = { bornAfter: 8 };
  const create = { h1: 'boot' };
  const folder = mkdtempSync('/dev/shm/shoal-test-');
  t.teardown(() => rmSync(folder, { recursive: true }));
  const at = (name: string) => {
    makeSegment(join(folder, name));
    const copy = heldAt(join(folder, name), []);
    copy.configure({ ...recordOf(5, ['h1']), create });
    t.equal(copy.report().role, 'owner');
    const log = new ShardLog(native.openSharedFile(openSync(join(folder, name), 'r+')), name, LIMITS);
    log.own(1);
    log.put(stateName('values'), 'k', Buffer.from('of the earlier life'));
    copy.tick();
    t.equal(copy.report().last, 1);
    return copy;
  };
  for (const isRestarted of [false, true]) {
    let copy = at(`own-${isRestarted}`);
    if (isRestarted) {
      copy.close();
      copy = heldAt(join(folder, `own-${isRestarted}`), []);
    }
    copy.configure({ ...recordOf(9, ['h1']), create, ...born });
    t.match(copy.report(), { role: 'owner', epoch: 9, last: 0 }, 'it begins empty');
    copy.configure({ ...recordOf(10, ['h1']), ...born });
    t.match(copy.report(), { role: 'owner', epoch: 10, last: 0 }, 'and goes on');
    copy.close();
  }
  const joining = at('joining');
  joining.configure({ ...recordOf(9, ['h2'], ['h1']), ...born });
  t.match(joining.report(), { role: 'none', epoch: 9 }, 'it is to be filled, and is not whole before');
  joining.close();
});

t.test(
  'who cannot read the snapshot that it is to begin with begins with nothing, and says that it has no copy',
  async (t) => {
    const path = join(t.testdir(), '7');
    const told: string[] = [];
    let copy = heldAt(path, told);
    const record = { ...recordOf(9, ['h1']), create: { h1: 'boot' }, restore: { epoch: 7, last: 71 } };
    t.equal(copy.begins(record), true);
    copy.configure(record, null);
    t.same(told, ['changed'], 'at once');
    t.match(copy.report(), { role: 'none', epoch: 9 });
    t.equal(copy.begins(record), false);
    copy.close();
    copy = heldAt(path, told);
    t.equal(copy.begins(record), false, 'nor does the next agent');
    copy.configure(record);
    t.match(copy.report(), { role: 'none', epoch: 9 });
    t.equal(existsSync(path), false);
    copy.close();
  },
);

t.test('that another copy has fallen silent is told when it is so, not with the next report', async (t) => {
  const told: string[] = [];
  let nowMs = 0;
  const copy = heldAt(join(t.testdir(), '7'), told, () => nowMs);
  copy.configure({ ...recordOf(5, ['h1', 'h2']), create: { h1: 'boot', h2: 'boot' } });
  copy.tick();
  t.equal(copy.report().role, 'owner');
  told.length = 0;
  for (nowMs = 100; nowMs < 2_000; nowMs += 100) copy.tick();
  t.same([told, copy.report().failing], [[], []]);
  nowMs = 2_100;
  copy.tick();
  t.same([told, copy.report().failing], [['changed'], ['h2']]);
  copy.close();
});
