import fc from 'fast-check';
import t from 'tap';
import { randomFrom } from '../../coordinator/brain/forecast/random.js';
import { pickLessLoaded } from '../../protocol/balancer.js';

const candidates = fc
  .array(fc.double({ min: 0.25, max: 1, noNaN: true }), { minLength: 2, maxLength: 8 })
  .map((weights) => weights.map((weight, id) => ({ id, weight })));

t.test('of two candidates the other one is never chosen when it has more to do for its weight', async () => {
  const draw = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });
  fc.assert(
    fc.property(candidates, draw, draw, fc.integer({ min: 1, max: 9 }), (list, first, second, load) => {
      const draws = [first, second];
      // All but one have the same to do for their weight, that one has more.
      const outstanding = ({ id, weight }: { id: number; weight: number }) => weight * load * (id === 0 ? 2 : 1);
      const chosen = pickLessLoaded(list, outstanding, () => draws.shift() as number);
      return chosen !== undefined && list.includes(chosen) && chosen.id !== 0;
    }),
  );
});

t.test('without calls under way, one of half the weight gets half as many calls', async (t) => {
  const list = [1, 1, 0.5, 1].map((weight, id) => ({ id, weight }));
  const counts = [0, 0, 0, 0];
  const random = randomFrom(5);
  for (let i = 0; i < 35_000; i += 1) {
    const { id } = pickLessLoaded(list, () => 0, random) ?? { id: 0 };
    counts[id] = (counts[id] ?? 0) + 1;
  }
  t.ok(
    counts.every((each, id) => Math.abs(each - (id === 2 ? 5_000 : 10_000)) < 400),
    counts.join(' '),
  );
});

t.test('with calls under way, each has as many outstanding as its weight says', async (t) => {
  const list = [1, 0.25, 1].map((weight, id) => ({ id, weight }));
  const outstanding = [0, 0, 0];
  const random = randomFrom(9);
  for (let i = 0; i < 900; i += 1) {
    const { id } = pickLessLoaded(list, (each) => outstanding[each.id] as number, random) ?? { id: 0 };
    outstanding[id] = (outstanding[id] as number) + 1;
  }
  const [a = 0, b = 0, c = 0] = outstanding;
  t.ok(Math.abs(a - 400) < 20 && Math.abs(b - 100) < 20 && Math.abs(c - 400) < 20, outstanding.join(' '));
});

t.test('of two candidates the less loaded is chosen, and never one that is not there', async (t) => {
  const loads = fc.array(fc.integer({ min: 0, max: 9 }), { minLength: 2, maxLength: 12 });
  const draw = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });
  fc.assert(
    fc.property(loads, draw, draw, (load, first, second) => {
      const draws = [first, second];
      const ids = load.map((_, id) => ({ id, weight: 1 }));
      const chosen = pickLessLoaded(
        ids,
        ({ id }) => load[id] as number,
        () => draws.shift() as number,
      );
      const most = Math.max(...load);
      const alone = load.filter((each) => each === most).length === 1;
      if (chosen === undefined) return false;
      t.ok(ids.includes(chosen));
      t.notOk(alone && load[chosen.id] === most, 'the most loaded loses against any other');
      return true;
    }),
  );
  t.equal(
    pickLessLoaded(
      [],
      () => 0,
      () => 0,
    ),
    undefined,
  );
});
