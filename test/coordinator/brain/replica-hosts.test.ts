import fc from 'fast-check';
import t from 'tap';
import { type CopyPlaces, replicaHosts } from '../../../coordinator/brain/replica-hosts.js';

const SHARDS = 32;
const nameOf = (n: number) => `h-${n}`;

const places: fc.Arbitrary<CopyPlaces> = fc
  .record({ count: fc.integer({ min: 1, max: 7 }), gone: fc.nat(2), replicas: fc.nat(3) })
  .chain(({ count, gone, replicas }) => {
    const hosts = Array.from({ length: count }, (_, i) => ({ name: nameOf(i) }));
    const known = Array.from({ length: count + gone }, (_, i) => nameOf(i));
    const copies = fc.uniqueArray(fc.constantFrom(...known), { maxLength: 3 });
    return fc.record({
      owners: fc.array(fc.constantFrom(...hosts.map(({ name }) => name)), { minLength: SHARDS, maxLength: SHARDS }),
      copies: fc.array(copies, { minLength: SHARDS, maxLength: SHARDS }),
      hosts: fc.constant(hosts),
      replicas: fc.constant(replicas),
    });
  });

const keptBefore = ({ owners, copies, hosts, replicas }: CopyPlaces, shard: number) => {
  const there = (copies[shard] ?? []).filter(
    (name) => name !== owners[shard] && hosts.some((each) => each.name === name),
  );
  return { there, most: Math.min(replicas, there.length) };
};
const countsOf = ({ owners, hosts }: CopyPlaces, replicas: readonly (readonly string[])[]) => {
  const all = [...owners, ...replicas.flat()];
  return hosts.map(({ name }) => all.filter((each) => each === name).length);
};

t.test(
  'each shard has R replicas on hosts that are there, or as many as there are, never beside the owner',
  async () => {
    fc.assert(
      fc.property(places, (given) => {
        const enough = Math.min(given.replicas, given.hosts.length - 1);
        return replicaHosts(given).every((replicas, shard) => {
          const there = replicas.every((name) => given.hosts.some((each) => each.name === name));
          const alone = !replicas.includes(given.owners[shard] ?? '');
          return there && alone && new Set(replicas).size === replicas.length && replicas.length === enough;
        });
      }),
    );
  },
);

t.test('without a budget to even out nothing that may stay moves: as few transfers as can be', async () => {
  fc.assert(
    fc.property(places, (given) => {
      return replicaHosts(given, 0).every((replicas, shard) => {
        const { there, most } = keptBefore(given, shard);
        return replicas.filter((name) => there.includes(name)).length === most;
      });
    }),
  );
});

t.test('with a budget at most so many more move, and each move takes a copy from where there are more', async () => {
  fc.assert(
    fc.property(places, fc.integer({ min: 1, max: 8 }), (given, movesMax) => {
      const least = replicaHosts(given, 0);
      const some = replicaHosts(given, movesMax);
      const moved = some.flatMap((replicas, shard) => replicas.filter((name) => !least[shard]?.includes(name))).length;
      const squares = (replicas: string[][]) => countsOf(given, replicas).reduce((sum, each) => sum + each * each, 0);
      return moved <= movesMax && squares(some) <= squares(least) - (moved > 0 ? 2 * moved : 0);
    }),
  );
});

t.test('the order of hosts does not matter, and what was answered is at rest', async () => {
  fc.assert(
    fc.property(places, (given) => {
      const replicas = replicaHosts(given);
      const turned = replicaHosts({ ...given, hosts: given.hosts.toReversed() });
      const again = replicaHosts({ ...given, copies: replicas });
      return JSON.stringify(replicas) === JSON.stringify(turned) && JSON.stringify(replicas) === JSON.stringify(again);
    }),
  );
});

t.test('owners that are spread evenly: copies are, too, and a new host takes no more than its share', async (t) => {
  const hosts = [0, 1, 2, 3].map((n) => ({ name: nameOf(n) }));
  const owners = Array.from({ length: SHARDS }, (_, shard) => nameOf(shard % 4));
  const given = { owners, copies: owners.map(() => []), hosts, replicas: 1 };
  const replicas = replicaHosts(given);
  t.same(countsOf(given, replicas), [16, 16, 16, 16]);
  const more = { ...given, copies: replicas, hosts: [...hosts, { name: nameOf(4) }] };
  const after = replicaHosts(more);
  const moved = after.filter((each, shard) => each[0] !== replicas[shard]?.[0]);
  t.equal(moved.length, Math.floor((2 * SHARDS) / 5));
});

t.test('copies are in another zone where there is one, also when that is less even', async (t) => {
  const hosts = [0, 1, 2, 3].map((n) => ({ name: nameOf(n), zone: n === 3 ? 'b' : 'a' }));
  const owners = Array.from({ length: 12 }, (_, shard) => nameOf(shard % 3));
  const replicas = replicaHosts({ owners, copies: owners.map(() => []), hosts, replicas: 1 });
  t.ok(replicas.every(([only]) => only === nameOf(3)));
});

t.test('the former owner keeps its copy as a replica', async (t) => {
  const hosts = [0, 1, 2].map((n) => ({ name: nameOf(n) }));
  const replicas = replicaHosts({ owners: [nameOf(1)], copies: [[nameOf(0), nameOf(1)]], hosts, replicas: 1 });
  t.same(replicas, [[nameOf(0)]]);
});
