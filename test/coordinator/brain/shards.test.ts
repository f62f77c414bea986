import fc from 'fast-check';
import t from 'tap';
import { assignShards } from '../../../coordinator/brain/shards.js';

const ids = fc.uniqueArray(fc.integer({ min: 1, max: 12 }), { maxLength: 7 }).map((ns) => ns.map((n) => `app-c-${n}`));
const ownersOf = (length: number, max = 12) =>
  fc.array(fc.option(fc.integer({ min: 1, max }).map((n) => `app-c-${n}`)), {
    minLength: length,
    maxLength: length,
  });
const owners = fc.integer({ min: 0, max: 64 }).chain(ownersOf);

function countBy(list: (string | null)[], id: string): number {
  return list.filter((one) => one === id).length;
}
/** The most shards that can stay, over every way to give the larger share to some of the instances. */
function mostThatCanStay(before: (string | null)[], instances: string[]): number {
  const share = Math.floor(before.length / instances.length);
  const larger = before.length % instances.length;
  let most = 0;
  for (let mask = 0; mask < 2 ** instances.length; mask++) {
    const chosen = instances.map((_, i) => (mask >> i) & 1);
    if (chosen.reduce((sum, bit) => sum + bit, 0) !== larger) continue;
    const stay = instances.map((id, i) => Math.min(countBy(before, id), share + (chosen[i] ?? 0)));
    most = Math.max(
      most,
      stay.reduce((sum, n) => sum + n, 0),
    );
  }
  return most;
}

t.test('every shard has an owner that exists, balanced to within one', async () => {
  fc.assert(
    fc.property(owners, ids, (before, instances) => {
      const after = assignShards(before, instances);
      if (instances.length === 0) return after.every((owner) => owner === null);
      const counts = instances.map((id) => countBy(after, id));
      const all = after.every((owner) => owner !== null && instances.includes(owner));
      return after.length === before.length && all && Math.max(...counts) - Math.min(...counts) <= 1;
    }),
    { numRuns: 1_000 },
  );
});

t.test('no assignment that is balanced moves fewer shards', async () => {
  fc.assert(
    fc.property(
      owners,
      ids.filter((list) => list.length > 0),
      (before, instances) => {
        const after = assignShards(before, instances);
        const stayed = after.filter((owner, shard) => owner === before[shard]).length;
        return stayed === mostThatCanStay(before, instances);
      },
    ),
    { numRuns: 1_000 },
  );
});

t.test('the order of the instances does not matter, and to do it again changes nothing', async () => {
  fc.assert(
    fc.property(owners, ids, (before, instances) => {
      const after = assignShards(before, instances);
      const turned = assignShards(before, instances.toReversed());
      const again = assignShards(after, [...instances, ...instances]);
      return JSON.stringify(after) === JSON.stringify(turned) && JSON.stringify(after) === JSON.stringify(again);
    }),
  );
});

t.test('with a budget: whoever goes hands over all, of the others few move at a time, and none in vain', async () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 64 }).chain((length) => ownersOf(length, 3)),
      ids.filter((list) => list.length > 0),
      fc.integer({ min: 1, max: 9 }),
      (before, instances, movesMax) => {
        let now: (string | null)[] = before;
        let moves = 0;
        const stays = (owner: string | null) => owner !== null && instances.includes(owner);
        for (let round = 0; round <= before.length; round += 1) {
          const next = assignShards(now, instances, movesMax);
          const moved = next.filter((owner, shard) => stays(now[shard] ?? null) && owner !== now[shard]).length;
          if (moved > movesMax || !next.every(stays)) return false;
          if (moved === 0 && round > 0) break;
          moves += next.filter((owner, shard) => owner !== before[shard] && owner !== now[shard]).length;
          now = next;
        }
        const atOnce = assignShards(before, instances);
        const least = atOnce.filter((owner, shard) => owner !== before[shard]).length;
        const counts = instances.map((id) => countBy(now, id));
        return Math.max(...counts) - Math.min(...counts) <= 1 && moves === least;
      },
    ),
    { numRuns: 500 },
  );
});

t.test('a third instance takes a third and nothing else moves', async (t) => {
  const two = assignShards(Array(6).fill(null), ['a-1', 'a-2']);
  t.strictSame(two, ['a-1', 'a-2', 'a-1', 'a-2', 'a-1', 'a-2']);
  t.strictSame(assignShards(two, ['a-1', 'a-2', 'a-10']), ['a-1', 'a-2', 'a-1', 'a-2', 'a-10', 'a-10']);
});
