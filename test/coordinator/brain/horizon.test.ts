import fc from 'fast-check';
import t from 'tap';
import { PlanBench } from './bench.js';

/** What a path of counts costs: a start for each instance made, and holding each that is not needed for a second. */
interface Prices {
  startCost: number;
  holdCost: number;
}

/** The least that any path of counts could have cost that knew the needs beforehand: dynamic programme over the counts. */
function leastCost(needs: readonly number[], { startCost, holdCost }: Prices): number {
  const most = Math.max(...needs);
  let costs = Array.from({ length: most + 1 }, (_, count) => (count === needs[0] ? 0 : Number.POSITIVE_INFINITY));
  for (const need of needs.slice(1)) {
    costs = costs.map((_, count) => {
      if (count < need) return Number.POSITIVE_INFINITY;
      const arrive = costs.map((cost, before) => cost + startCost * Math.max(0, count - before));
      return Math.min(...arrive) + holdCost * (count - need);
    });
  }
  return Math.min(...costs);
}

t.test('counts over a whole day of jumps cost at most twice what a programme costs that knew the day', async (t) => {
  const span = fc.record({ seconds: fc.integer({ min: 5, max: 300 }), cpu: fc.constantFrom(0.4, 1.4, 2.4, 3.4) });
  const worst = { ratio: 0, sum: 0, best: 0 };
  fc.assert(
    fc.property(fc.array(span, { minLength: 4, maxLength: 20 }), fc.constantFrom(2, 5, 10), (spans, startSeconds) => {
      const bench = new PlanBench({ count: { min: 1, max: 20 } }, { count: 1, cpu: 1 });
      const loads = spans.flatMap(({ seconds, cpu }) => Array.from({ length: seconds }, () => cpu));
      const plans = bench.run(loads.length, (second) => ({ usedCpu: loads[second] ?? 0, startSeconds }));
      const startCost = startSeconds * bench.component.size.cpu.max;
      // The plan holds an instance until that has cost a start.
      const holdCost = startCost / Math.max(...plans.map(({ explanation }) => explanation.need.calmSeconds));
      const needs = plans.map(({ explanation }) => Math.max(1, explanation.need.count));
      let cost = 0;
      for (const [i, { count }] of plans.entries()) {
        if (i === 0) continue;
        cost += startCost * Math.max(0, count - (plans[i - 1]?.count ?? count));
        cost += holdCost * Math.max(0, count - (needs[i] ?? count));
      }
      const least = leastCost(needs, { startCost, holdCost });
      // What is held at the end is not sold back.
      const bound = 2 * least + startCost * Math.max(...needs);
      worst.ratio = Math.max(worst.ratio, cost / Math.max(least, startCost));
      worst.sum += cost;
      worst.best += least;
      return cost <= bound + 1e-6;
    }),
    { numRuns: 40 },
  );
  t.ok(worst.ratio > 0, JSON.stringify(worst));
});
