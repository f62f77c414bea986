import t from 'tap';
import { KeyAccesses } from '../../agent/profiles/key-accesses.js';
import type { StateAccess } from '../../protocol/control.js';

function told(accesses: KeyAccesses) {
  const { functions, stacks } = accesses.take();
  return stacks.map(({ cgroup, count, frames }) => [cgroup, ...frames.map((each) => functions[each]?.name), count]);
}

t.test('what was read and written since the last look: by key, the others as one, sums exact', async (t) => {
  const accesses = new KeyAccesses();
  const first: StateAccess = { shards: [[1, 10, 4]], keys: [[1, 'words', 'the', 6, 3]] };
  accesses.note('/a', { shards: [], keys: [] });
  t.same(told(accesses), []);
  accesses.note('/a', first);
  t.same(told(accesses), [
    ['/a', 'the', 'state shard 1', 'reads', 6],
    ['/a', 'the', 'state shard 1', 'writes', 3],
    ['/a', '[other keys]', 'state shard 1', 'reads', 4],
    ['/a', '[other keys]', 'state shard 1', 'writes', 1],
  ]);
  t.same(told(accesses), [], 'nothing twice');
  accesses.note('/a', { shards: [[1, 13, 4]], keys: [[1, 'words', 'the', 16, 3]] });
  t.same(told(accesses), [['/a', 'the', 'state shard 1', 'reads', 3]], 'a key has no more than its shard');
  accesses.note('/a', { shards: [[1, 2, 0]], keys: [[1, 'words', 'the', 2, 0]] });
  t.same(told(accesses), [['/a', 'the', 'state shard 1', 'reads', 2]], 'another process began anew');
  accesses.forget('/a');
  t.same(told(accesses), []);
  accesses.note('/a', first);
  t.same(told(accesses), [], 'the agent before this one has told that');
});
