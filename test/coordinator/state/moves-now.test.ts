import fc from 'fast-check';
import t from 'tap';
import { movesNow, type PendingMove } from '../../../coordinator/state/moves-now.js';

const hosts = fc.constantFrom('h0', 'h1', 'h2', 'h3');
const move = fc.record({
  from: hosts,
  to: fc.uniqueArray(hosts, { maxLength: 2 }),
  heat: fc.nat(5),
  underWay: fc.boolean(),
});
const pending: fc.Arbitrary<PendingMove[]> = fc
  .array(move, { maxLength: 20 })
  .map((list) => list.map((each, i) => ({ ...each, shard: `s${i}` })));
const limits = fc.record({ movesMax: fc.integer({ min: 1, max: 8 }), movesPerHostMax: fc.integer({ min: 1, max: 3 }) });

t.test('what has begun goes on, nothing new begins beyond the limits, in whatever order they are given', async () => {
  fc.assert(
    fc.property(pending, limits, (given, bounds) => {
      const now = movesNow(given, bounds);
      const chosen = given.filter(({ shard }) => now.has(shard));
      const begun = given.filter(({ underWay }) => underWay);
      const countAt = (host: string, list: PendingMove[]) => {
        return list.filter(({ from, to }) => {
          const others = to.filter((each) => each !== from);
          return others.includes(host) || (others.length > 0 && from === host);
        }).length;
      };
      const within = ['h0', 'h1', 'h2', 'h3'].every((host) => {
        return countAt(host, chosen) <= Math.max(bounds.movesPerHostMax, countAt(host, begun));
      });
      const turned = movesNow(given.toReversed(), bounds);
      return (
        begun.every(({ shard }) => now.has(shard)) &&
        chosen.length <= Math.max(bounds.movesMax, begun.length) &&
        within &&
        [...now].sort().join() === [...turned].sort().join()
      );
    }),
  );
});

t.test('the hottest first', async (t) => {
  const given = [1, 5, 3].map((heat, i) => ({ shard: `s${i}`, from: 'h0', to: ['h1'], heat, underWay: false }));
  t.same([...movesNow(given, { movesMax: 2, movesPerHostMax: 2 })], ['s1', 's2']);
});
