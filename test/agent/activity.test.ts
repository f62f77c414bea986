import t from 'tap';
import { detailStacks } from '../../agent/profiles/activity.js';
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
