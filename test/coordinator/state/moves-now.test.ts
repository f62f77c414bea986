import fc from 'fast-check';
import t from 'tap';
import { type MovesNow, movesNow, type PendingMove } from '../../../coordinator/state/moves-now.js';

const HOSTS = ['h0', 'h1', 'h2', 'h3', 'h4'];
const move = fc
  .record({
    hosts: fc.shuffledSubarray(HOSTS, { minLength: 2, maxLength: 2 }),
    why: fc.constantFrom('unserved' as const, 'missing' as const, 'elsewhere' as const),
    copies: fc.integer({ min: 1, max: 3 }),
    heat: fc.nat(3),
    begun: fc.constantFrom('no' as const, 'yes' as const, 'held-up' as const),
  })
  .map(({ hosts: [from = '', to = ''], ...rest }) => ({ from, to, ...rest }));
const pending: fc.Arbitrary<PendingMove[]> = fc
  .array(move, { maxLength: 40 })
  .map((list) => list.map((each, i) => ({ ...each, shard: `s${i % 30}` })))
  .map((list) =>
    list.filter((each, i) => !list.slice(0, i).some((one) => one.shard === each.shard && one.to === each.to)),
  );
const limits = fc
  .record({
    perHostMax: fc.integer({ min: 2, max: 5 }),
    elsewherePerHostMax: fc.integer({ min: 1, max: 4 }),
    elsewhereMax: fc.integer({ min: 1, max: 8 }),
  })
  .filter(({ perHostMax, elsewherePerHostMax }) => elsewherePerHostMax < perHostMax);

const isIn = (now: MovesNow, { shard, to }: PendingMove) => now.get(shard)?.has(to) === true;
const isElsewhere = ({ why }: PendingMove) => why === 'elsewhere';
const at = (host: string, list: readonly PendingMove[]) => list.filter(({ from, to }) => from === host || to === host);

t.test('what has begun goes on, and nothing begins beyond the limits', async () => {
  fc.assert(
    fc.property(pending, limits, (given, bounds) => {
      const now = movesNow(given, bounds);
      const begun = given.filter((each) => each.begun === 'yes');
      const under = given.filter((each) => isIn(now, each) && each.begun !== 'held-up');
      const isWithin = (pick: (list: readonly PendingMove[]) => readonly PendingMove[], most: number) => {
        return pick(under).length <= Math.max(most, pick(begun).length);
      };
      return (
        given.every((each) => each.begun === 'no' || isIn(now, each)) &&
        [...now].flatMap(([, hosts]) => [...hosts]).length === given.filter((each) => isIn(now, each)).length &&
        isWithin((list) => list.filter(isElsewhere), bounds.elsewhereMax) &&
        HOSTS.every((host) => {
          const here = (list: readonly PendingMove[]) => at(host, list);
          return (
            isWithin(here, bounds.perHostMax) &&
            isWithin((list) => here(list).filter(isElsewhere), bounds.elsewherePerHostMax) &&
            isWithin((list) => here(list).filter((each) => !isElsewhere(each)), bounds.perHostMax - 1)
          );
        })
      );
    }),
  );
});

t.test('the order in which they are given does not matter', async () => {
  const given = pending.chain((list) =>
    fc.tuple(fc.constant(list), fc.shuffledSubarray(list, { minLength: list.length })),
  );
  const plain = (now: MovesNow) => [...now].map(([shard, hosts]) => `${shard} ${[...hosts].sort()}`).sort();
  fc.assert(
    fc.property(given, limits, ([one, other], bounds) => {
      return plain(movesNow(one, bounds)).join() === plain(movesNow(other, bounds)).join();
    }),
  );
});

t.test('no place stays empty that one of those that wait could take', async () => {
  fc.assert(
    fc.property(pending, limits, (given, bounds) => {
      const now = movesNow(given, bounds);
      const begun = given.map((each) =>
        isIn(now, each) && each.begun === 'no' ? { ...each, begun: 'yes' as const } : each,
      );
      const again = movesNow(begun, bounds);
      return given.every((each) => isIn(now, each) === isIn(again, each));
    }),
  );
});

t.test('all that is pending is begun at last, also beside such as never end', async () => {
  const given = fc.tuple(pending, fc.infiniteStream(fc.boolean()), fc.infiniteStream(fc.boolean()));
  fc.assert(
    fc.property(given, limits, ([list, stuck, ends], bounds) => {
      const never = new Set(list.filter(() => stuck.next().value));
      let left = list.map((each) => ({ each, rounds: 0 }));
      for (let round = 0; round < 10 * list.length + 10; round += 1) {
        const now = movesNow(
          left.map(({ each, rounds }) => ({ ...each, begun: rounds === 0 ? 'no' : rounds > 3 ? 'held-up' : 'yes' })),
          bounds,
        );
        left = left
          .map(({ each, rounds }) => ({ each, rounds: isIn(now, each) ? rounds + 1 : rounds }))
          .filter(({ each, rounds }) => rounds === 0 || never.has(each) || (rounds < 3 && !ends.next().value));
      }
      return left.every(({ each, rounds }) => rounds > 0 && never.has(each));
    }),
  );
});

t.test('those that lack copies and the others do not wait for the end of each other', async (t) => {
  const bounds = { perHostMax: 4, elsewherePerHostMax: 2, elsewhereMax: 32 };
  const many = (why: PendingMove['why'], begun: PendingMove['begun'] = 'no') =>
    Array.from({ length: 9 }, (_, i): PendingMove => {
      return { shard: `${why} ${i}`, from: 'h0', to: 'h1', why, copies: 1, heat: 9 - i, begun };
    });
  const chosen = (list: PendingMove[]) => [...movesNow(list, bounds).keys()];
  t.same(chosen([...many('elsewhere'), ...many('missing')]), ['missing 0', 'missing 1', 'missing 2', 'elsewhere 0']);
  t.same(chosen(many('missing')), ['missing 0', 'missing 1', 'missing 2']);
  t.same(chosen(many('elsewhere')), ['elsewhere 0', 'elsewhere 1']);
  const after = (why: PendingMove['why']) =>
    many(why)
      .slice(0, 2)
      .map((each) => ({ ...each, begun: 'yes' as const }));
  t.same(
    chosen([...after('elsewhere'), ...many('missing')]).filter((name) => name.startsWith('missing')),
    ['missing 0', 'missing 1'],
  );
});

t.test('first what nobody serves, then the fewest copies, then the hottest, then by name', async (t) => {
  const of = (shard: string, why: PendingMove['why'], copies: number, heat: number, i: number): PendingMove => {
    return { shard, from: `f${i}`, to: `t${i}`, why, copies, heat, begun: 'no' };
  };
  const list = [
    of('g', 'elsewhere', 1, 9, 0),
    of('f', 'missing', 2, 9, 1),
    of('e', 'missing', 1, 1, 2),
    of('d', 'missing', 1, 1, 3),
    of('c', 'missing', 1, 5, 4),
    of('b', 'unserved', 2, 0, 5),
  ];
  const bounds = { perHostMax: 2, elsewherePerHostMax: 1, elsewhereMax: 1 };
  t.same([...movesNow(list, bounds).keys()], ['b', 'c', 'd', 'e', 'f', 'g']);
  const [first] = [
    ...movesNow(
      list.map((each) => ({ ...each, from: 'f' })),
      bounds,
    ).keys(),
  ];
  t.equal(first, 'b');
});
