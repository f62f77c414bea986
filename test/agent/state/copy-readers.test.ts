import t from 'tap';
import { CopyReaders, type Reader } from '../../../agent/state/copy-readers.js';
import type { KnownCopy } from '../../../protocol/control.js';
import type { Known } from '../../../protocol/state-copies.js';
import { until } from '../../../scripts/lib/until.js';

const WAIT_MS = 10_000;

t.test(
  'while a copy is read its owner is asked, and each answer goes to who reads, with the file that it is of',
  async (t) => {
    let nowMs = 1_000;
    let file = 1;
    const known = new Map<string, Known>();
    const asked: string[] = [];
    const offered: number[][] = [];
    const told: KnownCopy[][] = [];
    const readers = new CopyReaders({
      now: () => nowMs,
      ask: (name) => asked.push(name),
      known: (name) => known.get(name) ?? null,
      fileOf: () => file,
      open: () => ({ fd: 3, number: 100 + file }),
    });
    t.teardown(() => readers.close());
    let takes = true;
    const reader: Reader = {
      id: 'a-b-0 0',
      offer: (shard, number, fd) => {
        offered.push([shard, number, fd]);
        return takes;
      },
      tell: (copies) => told.push(copies),
    };
    const know = (index: number) => {
      known.set('a/b/2', { index, atMs: nowMs });
      readers.changed('a/b/2');
    };

    know(1);
    readers.want('a/b', reader, [2], 100);
    t.same(asked, ['a/b/2'], 'at once');
    know(5);
    await until(() => told.length === 1, WAIT_MS);
    t.same([offered, told], [[[2, 101, 3]], [[[2, 101, 5, nowMs]]]], 'nothing before it wanted to read');
    nowMs += 30;
    await until(() => asked.length === 2, WAIT_MS);
    know(6);
    await until(() => told.length === 2, WAIT_MS);
    t.equal(offered.length, 1, 'it has the file');
    file = 2;
    takes = false;
    know(7);
    await until(() => offered.length === 2, WAIT_MS);
    t.equal(told.length, 2, 'what is known of a file that it does not have is of no use');
    takes = true;
    know(8);
    await until(() => told.length === 3, WAIT_MS);
    t.same(told[2], [[2, 102, 8, nowMs]]);
    nowMs += 3_001;
    const before = asked.length;
    readers.want('a/c', { ...reader, id: 'a-c-0 0' }, [], 100);
    know(9);
    await new Promise((resolve) => setImmediate(resolve));
    t.same([asked.length, told.length], [before, 3], 'who has not said for 3 s that it reads does so no more');
  },
);
