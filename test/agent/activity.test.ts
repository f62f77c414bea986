import t from 'tap';
import { BlockLatencies, detailStacks } from '../../agent/profiles/activity.js';
import type { ActivityDetail } from '../../native/index.js';

const peer = (cgroup: string, name: string, change: Partial<ActivityDetail> = {}): ActivityDetail =>
  ({ cgroup, kind: 'peer', name, count: 2, seconds: 0.1, retransmits: 0, failed: 0, ...change }) as ActivityDetail;

const namesOf = (details: readonly ActivityDetail[]) =>
  detailStacks(details, (cgroup) => (cgroup === '/ours' ? 'shop/web' : undefined)).functions.map(({ name }) => name);

t.test('peers on the loopback of an instance are its own component, all others are addresses', async (t) => {
  for (const own of ['127.0.0.1:5432', '127.9.9.9:1', '[::1]:80', '[::ffff:127.0.0.1]:80']) {
    t.same(namesOf([peer('/ours', own)]), [`shop/web ${own}`]);
    t.same(namesOf([peer('/of nobody', own)]), [own]);
  }
  for (const other of ['10.0.0.1:5432', '[::11]:80', '[fe80::127.0.0.1]:80', '1.127.0.0:1', '[unknown]']) {
    t.same(namesOf([peer('/ours', other)]), [other]);
  }
});

t.test('what failed and what was sent again is told by peer beside what came about', async (t) => {
  const { functions, stacks } = detailStacks(
    [peer('/ours', '127.0.0.1:1', { failed: 3, retransmits: 4 })],
    () => 'a/b',
  );
  t.same(
    stacks.map(({ count, frames }) => [count, functions[frames[0] ?? -1]]),
    [
      [2, { name: 'a/b 127.0.0.1:1', file: '[connect]' }],
      [3, { name: 'a/b 127.0.0.1:1', file: '[connect failed]' }],
      [4, { name: 'a/b 127.0.0.1:1', file: '[sent again]' }],
    ],
  );
});

t.test('block I/O is told by how long it took, each operation once', async (t) => {
  const buckets = (counts: Record<number, number>) => Array.from({ length: 24 }, (_, bucket) => counts[bucket] ?? 0);
  const latencies = new BlockLatencies();
  const take = (cgroups: Record<string, number[]>) => {
    const blocks = Object.entries(cgroups).map(([cgroup, counts]) => ({ cgroup, buckets: counts }));
    const { functions, stacks } = latencies.take(blocks);
    return stacks.map(({ cgroup, kind, count, frames }) => [cgroup, kind, count, functions[frames[0] ?? -1]?.name]);
  };
  t.same(take({ '/a': buckets({ 0: 1, 8: 5, 23: 2 }) }), [
    ['/a', 'block-io', 1, 'under 1 µs'],
    ['/a', 'block-io', 5, 'under 256 µs'],
    ['/a', 'block-io', 2, '4.19 s or more'],
  ]);
  t.same(take({ '/a': buckets({ 0: 1, 8: 6, 12: 1, 23: 2 }) }), [
    ['/a', 'block-io', 1, 'under 256 µs'],
    ['/a', 'block-io', 1, 'under 4.1 ms'],
  ]);
  t.same(take({}), []);
  t.same(take({ '/a': buckets({ 8: 1 }) }), [['/a', 'block-io', 1, 'under 256 µs']], 'another one at the same path');
});
