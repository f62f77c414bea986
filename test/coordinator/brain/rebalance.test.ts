import fc from 'fast-check';
import t from 'tap';
import {
  GAIN_MIN,
  imbalanceOf,
  rebalance,
  type ShardLoads,
  spreadByHeat,
} from '../../../coordinator/brain/rebalance.js';

const SHARDS = 64;
const nameOf = (n: number) => `app-c-${n}`;

const loads: fc.Arbitrary<ShardLoads> = fc.integer({ min: 1, max: 9 }).chain((count) => {
  const instances = Array.from({ length: count }, (_, i) => nameOf(i));
  return fc.record({
    instances: fc.constant(instances),
    owners: fc.array(fc.constantFrom(...instances), { minLength: SHARDS, maxLength: SHARDS }),
    // Few hot ones among many cold ones, as it is with keys.
    heat: fc.array(fc.oneof(fc.double({ min: 0, max: 0.1, noNaN: true }), fc.double({ min: 0, max: 5, noNaN: true })), {
      minLength: SHARDS,
      maxLength: SHARDS,
    }),
    resting: fc.uniqueArray(fc.integer({ min: 0, max: SHARDS - 1 }), { maxLength: 10 }).map((list) => new Set(list)),
  });
});
const bounds = fc.record({
  imbalanceMax: fc.double({ min: 1, max: 2, noNaN: true }),
  movesMax: fc.integer({ min: 0, max: 12 }),
});

function loadsOf({ owners, heat, instances }: ShardLoads): Map<string, number> {
  const sums = new Map(instances.map((id) => [id, 0]));
  for (const [shard, owner] of owners.entries()) {
    if (owner !== null && sums.has(owner)) sums.set(owner, (sums.get(owner) ?? 0) + (heat[shard] ?? 0));
  }
  return sums;
}
const totalOf = (given: ShardLoads) => Array.from(given.heat).reduce((sum, each) => sum + each, 0);
const peakOf = (given: ShardLoads) => Math.max(...loadsOf(given).values());

t.test('never more moves than the budget, none of a shard that rests, none twice, each from its owner', async () => {
  fc.assert(
    fc.property(loads, bounds, (given, limits) => {
      const moves = rebalance(given, limits);
      const shards = new Set(moves.map(({ shard }) => shard));
      return (
        moves.length <= limits.movesMax &&
        shards.size === moves.length &&
        moves.every(({ shard, from, to }) => {
          return from !== to && given.owners[shard] === from && given.resting?.has(shard) === false;
        })
      );
    }),
    { numRuns: 1_000 },
  );
});

t.test(
  'with each move the load of a hot one falls, nobody gets as hot as it was, and the highest never rises',
  async () => {
    fc.assert(
      fc.property(loads, bounds, (given, limits) => {
        let owners = [...given.owners];
        for (const { shard, from, to } of rebalance(given, limits)) {
          const before = peakOf({ ...given, owners });
          const hot = loadsOf({ ...given, owners }).get(from) ?? 0;
          owners = owners.map((owner, each) => (each === shard ? to : owner));
          const after = loadsOf({ ...given, owners });
          if (Math.max(...after.values()) > before + 1e-9) return false;
          if (owners.length === 0 || hot <= (limits.imbalanceMax * totalOf(given)) / given.instances.length - 1e-9)
            return false;
          if ((after.get(from) ?? 0) >= hot || (after.get(to) ?? 0) >= hot) return false;
        }
        return true;
      }),
      { numRuns: 1_000 },
    );
  },
);

t.test('it stops within the bound, and above it only when the budget is spent or no move is worth it', async () => {
  fc.assert(
    fc.property(loads, bounds, (given, limits) => {
      const moves = rebalance(given, limits);
      if (imbalanceOf(given) <= limits.imbalanceMax) return moves.length === 0;
      const owners = given.owners.map((owner, shard) => moves.find((each) => each.shard === shard)?.to ?? owner);
      const after = { ...given, owners };
      if (imbalanceOf(after) <= limits.imbalanceMax + 1e-9 || moves.length === limits.movesMax) return true;
      const sums = loadsOf(after);
      const cold = Math.min(...sums.values());
      const mean = [...sums.values()].reduce((sum, each) => sum + each, 0) / sums.size;
      const gainMin = (GAIN_MIN * [...sums.values()].reduce((sum, each) => sum + each, 0)) / SHARDS;
      const moved = new Set(moves.map(({ shard }) => shard));
      return owners.every((owner, shard) => {
        const hot = owner === null ? 0 : (sums.get(owner) ?? 0);
        if (hot <= limits.imbalanceMax * mean + 1e-9) return true;
        if (moved.has(shard) || given.resting?.has(shard) === true) return true;
        const heat = given.heat[shard] ?? 0;
        return Math.max(hot - heat, cold + heat) > hot - gainMin - 1e-9;
      });
    }),
    { numRuns: 1_000 },
  );
});

t.test('the order of the instances does not matter, and heat that stays leads to rest', async () => {
  fc.assert(
    fc.property(loads, fc.integer(), (given, turn) => {
      const limits = { imbalanceMax: 1.2, movesMax: 5 };
      const by = Math.abs(turn) % given.instances.length;
      const turned = [...given.instances.slice(by), ...given.instances.slice(0, by)].reverse();
      const same =
        JSON.stringify(rebalance(given, limits)) === JSON.stringify(rebalance({ ...given, instances: turned }, limits));
      let owners = [...given.owners];
      let rounds = 0;
      for (; rounds < 100; rounds += 1) {
        const moves = rebalance({ ...given, owners }, limits);
        if (moves.length === 0) break;
        for (const { shard, to } of moves) owners = owners.with(shard, to);
      }
      return same && rounds < 100;
    }),
    { numRuns: 500 },
  );
});

t.test('one hot key: its neighbours leave, it stays', async (t) => {
  const instances = [nameOf(0), nameOf(1)];
  const owners = Array.from({ length: SHARDS }, (_, shard) => nameOf(shard < 32 ? 0 : 1));
  const heat = Array.from({ length: SHARDS }, (_, shard) => (shard === 3 ? 1 : 0.01));
  const moves = rebalance({ owners, heat, instances }, { imbalanceMax: 1.2, movesMax: SHARDS });
  t.notOk(moves.some(({ shard }) => shard === 3));
  t.ok(moves.length > 0 && moves.every(({ from }) => from === nameOf(0)));
});

t.test('heat that makes no sense counts as none', async (t) => {
  const owners = Array.from({ length: SHARDS }, () => nameOf(0));
  const heat = owners.map((_, shard) => [Number.NaN, -1, Number.POSITIVE_INFINITY][shard % 3] ?? 0);
  t.strictSame(rebalance({ owners, heat, instances: [nameOf(0), nameOf(1)] }, { imbalanceMax: 1.2, movesMax: 9 }), []);
});

t.test('a changed set: all shards have an owner that is there, as even as single moves can make it', async () => {
  fc.assert(
    fc.property(
      loads,
      fc.uniqueArray(fc.integer({ min: 0, max: 12 }), { minLength: 1, maxLength: 9 }),
      (given, ids) => {
        const instances = ids.map(nameOf);
        const owners = spreadByHeat({ ...given, instances });
        const reversed = spreadByHeat({ ...given, instances: instances.toReversed() });
        const hottestShard = Math.max(...Array.from(given.heat));
        const total = Array.from(given.heat).reduce((sum, each) => sum + each, 0);
        const mean = total / instances.length;
        const there = owners.every((owner) => owner !== null && instances.includes(owner));
        const again = spreadByHeat({ ...given, owners, instances });
        return (
          there &&
          JSON.stringify(owners) === JSON.stringify(reversed) &&
          JSON.stringify(owners) === JSON.stringify(again) &&
          peakOf({ ...given, owners, instances }) <= mean + hottestShard + 0.1 * mean + 1e-9
        );
      },
    ),
    { numRuns: 500 },
  );
});

t.test(
  'a changed set, with a budget: few move at a time, whoever goes hands over all, and it ends as even',
  async () => {
    fc.assert(
      fc.property(
        loads,
        fc.uniqueArray(fc.integer({ min: 0, max: 12 }), { minLength: 1, maxLength: 9 }),
        fc.integer({ min: 1, max: 12 }),
        (given, ids, movesMax) => {
          const instances = ids.map(nameOf);
          const stays = (owner: string | null) => owner !== null && instances.includes(owner);
          let { owners } = given;
          for (let round = 0; ; round += 1) {
            const next = spreadByHeat({ ...given, owners, instances }, movesMax);
            const moved = next.filter((owner, shard) => stays(owners[shard] ?? null) && owner !== owners[shard]).length;
            if (moved > movesMax || !next.every(stays) || round > 2 * SHARDS) return false;
            owners = next;
            if (moved === 0 && round > 0) break;
          }
          const mean = totalOf(given) / instances.length;
          const hottestShard = Math.max(...Array.from(given.heat));
          return peakOf({ ...given, owners, instances }) <= mean + hottestShard + 0.1 * mean + 1e-9;
        },
      ),
      { numRuns: 500 },
    );
  },
);

t.test('a new owner gets the hottest shards first', async (t) => {
  const owners = Array.from({ length: SHARDS }, () => nameOf(0));
  const heat = owners.map((_, shard) => (shard < 20 ? 0.2 : 0.1));
  const after = spreadByHeat({ owners, heat, instances: [nameOf(0), nameOf(1)] }, 8);
  const moved = after.flatMap((owner, shard) => (owner === nameOf(1) ? [shard] : []));
  t.equal(moved.length, 8);
  t.ok(moved.every((shard) => shard < 20));
});

t.test('without any heat shards are spread by number', async (t) => {
  const owners = Array.from({ length: SHARDS }, () => nameOf(0));
  const after = spreadByHeat({ owners, heat: owners.map(() => 0), instances: [0, 1, 2, 3].map(nameOf) });
  for (let i = 0; i < 4; i += 1) t.equal(after.filter((owner) => owner === nameOf(i)).length, 16);
});
