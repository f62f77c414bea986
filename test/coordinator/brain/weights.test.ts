import fc from 'fast-check';
import t from 'tap';
import { nextWeights, type Pace, WEIGHT_MIN, WEIGHT_STEP } from '../../../coordinator/brain/weights.js';

const paces: fc.Arbitrary<Pace[]> = fc
  .array(
    fc.record({
      weight: fc.integer({ min: 5, max: 20 }).map((n) => n / 20),
      latencyMs: fc.option(fc.double({ min: 0, max: 1_000, noNaN: true })),
      utilisation: fc.double({ min: 0, max: 1, noNaN: true }),
    }),
    { maxLength: 9 },
  )
  .map((list) => list.map((each, i) => ({ ...each, id: `a-b-${i}` })));

function after(list: readonly Pace[]): Pace[] {
  const changes = nextWeights(list);
  return list.map((each) => ({ ...each, weight: changes.get(each.id) ?? each.weight }));
}

t.test('weights stay in their bounds, change in small steps and rest when nothing changes', async () => {
  fc.assert(
    fc.property(paces, (list) => {
      let now = list;
      for (let turn = 0; turn < 30; turn += 1) {
        const next = after(now);
        for (const [i, { weight }] of next.entries()) {
          const before = now[i]?.weight ?? 1;
          if (weight < WEIGHT_MIN || weight > 1) return false;
          if (before - weight > WEIGHT_STEP.down + 1e-9 || weight - before > WEIGHT_STEP.up + 1e-9) return false;
        }
        now = next;
      }
      return nextWeights(now).size === 0;
    }),
  );
});

t.test('the order of the instances does not matter', async () => {
  fc.assert(
    fc.property(paces, (list) => {
      const sorted = (changes: Map<string, number>) => JSON.stringify([...changes].sort());
      return sorted(nextWeights(list)) === sorted(nextWeights(list.toReversed()));
    }),
  );
});

t.test('noise moves nothing', async () => {
  const noisy = fc.array(fc.double({ min: 8, max: 11, noNaN: true }), { minLength: 1, maxLength: 9 });
  fc.assert(
    fc.property(noisy, (latencies) => {
      const list = latencies.map((latencyMs, i) => ({ id: `a-b-${i}`, weight: 1, latencyMs, utilisation: 0.5 }));
      return nextWeights(list).size === 0;
    }),
  );
});

t.test('one twice as slow comes to half the weight, and back to all of it when it has recovered', async (t) => {
  let list: Pace[] = [10, 10, 20].map((latencyMs, i) => ({ id: `a-b-${i}`, weight: 1, latencyMs, utilisation: 0.3 }));
  for (let turn = 0; turn < 20; turn += 1) list = after(list);
  t.same(
    list.map(({ weight }) => weight),
    [1, 1, 0.5],
  );
  list = list.map((each) => ({ ...each, latencyMs: 10 }));
  for (let turn = 0; turn < 20; turn += 1) list = after(list);
  t.same(
    list.map(({ weight }) => weight),
    [1, 1, 1],
  );
});

t.test('queues that shorten with the weight lead to rest, where all are about as slow', async (t) => {
  // Three servers of M/M/1, one of which works half as fast: the time of a call is 1/(rate − share of the arrivals).
  const rates = [100, 100, 50];
  let list: Pace[] = rates.map((_, i) => ({ id: `a-b-${i}`, weight: 1, latencyMs: null, utilisation: 0 }));
  const timeOf = (i: number) => {
    const all = list.reduce((sum, { weight }) => sum + weight, 0);
    const arrivals = (130 * (list[i]?.weight ?? 1)) / all;
    return 1_000 / Math.max(1, (rates[i] ?? 1) - arrivals);
  };
  const slowest = () => Math.max(...rates.map((_, i) => timeOf(i)));
  const before = slowest();
  let changes = 0;
  for (let turn = 0; turn < 60; turn += 1) {
    list = list.map((each, i) => ({ ...each, latencyMs: timeOf(i) }));
    const next = nextWeights(list);
    if (turn >= 30) changes += next.size;
    list = after(list);
  }
  t.equal(changes, 0, 'it rests');
  t.ok(slowest() < before / 3, `${before} ms became ${slowest()} ms`);
});

t.test('one alone, and one of which nothing is known, keep their weight', async (t) => {
  t.equal(nextWeights([{ id: 'a-b-0', weight: 1, latencyMs: 50, utilisation: 1 }]).size, 0);
  const unknown = { id: 'a-b-1', weight: 0.5, latencyMs: null, utilisation: 1 };
  t.equal(nextWeights([{ id: 'a-b-0', weight: 1, latencyMs: 50, utilisation: 1 }, unknown]).size, 0);
});
