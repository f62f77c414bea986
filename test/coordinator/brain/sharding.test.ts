import fc from 'fast-check';
import t from 'tap';
import { summary } from '../../../coordinator/brain/explanation-words.js';
import { EMPTY_HISTORY, type Plan, type PlanInput, planComponent } from '../../../coordinator/brain/sharding.js';
import type { Component, Objective } from '../../../protocol/manifest.js';

const MiB = 2 ** 20;
const component: Component = {
  source: { kind: 'image', image: 'x' },
  command: [],
  env: {},
  count: { min: 1, max: 10 },
  size: { cpu: { min: 0.1, max: 1 }, memory: { min: 64 * MiB, max: 512 * MiB } },
  objective: { kind: 'utilisation', target: 0.5 },
  state: 'none',
  calls: [],
  ports: [],
};
const calm: PlanInput = {
  component,
  nowMs: 1_000_000,
  demandCpu: 0,
  forecastUpperCpu: 0,
  requestsPerSecond: 0,
  outstanding: 0,
  latencyMs: null,
  current: { count: 1, size: { cpu: 0.1, memory: 64 * MiB } },
  memoryUsedMax: 0,
  history: EMPTY_HISTORY,
};
/** Plans with what is given, on a component of one instance of 0.1 cores. */
const plan = (change: Partial<PlanInput>): Plan => planComponent({ ...calm, requestsPerSecond: 1, ...change });
const as = (objective: Objective, min = 1): Component => ({ ...component, objective, count: { min, max: 10 } });
const words = (made: Plan | undefined): string => (made === undefined ? '' : summary(made.explanation));
/** Plans once a second, each plan carried out at once. */
function run(start: PlanInput, seconds: number, at: (i: number) => Partial<PlanInput>): Plan[] {
  let input = start;
  return Array.from({ length: seconds }, (_, i) => {
    input = { ...input, ...at(i), nowMs: start.nowMs + i * 1000 };
    const next = planComponent(input);
    input = { ...input, current: { count: next.count, size: next.size }, history: next.history };
    return next;
  });
}

t.test('grows in place as far as the size goes', async (t) => {
  const { count, size, explanation } = plan({ demandCpu: 0.4 });
  t.strictSame([count, size.cpu], [1, 0.8]);
  t.match(summary(explanation), /uses 0.40 cores, needs 0.80 at 50 % utilisation.*resized in place to 1 × 0.80 cores/);
});

t.test('only then adds instances', async (t) => {
  const { count, size, explanation } = plan({ demandCpu: 1.6 });
  t.strictSame([count, size.cpu], [4, 0.8]);
  t.match(summary(explanation), /1 → 4 × 0.80 cores/);
});

t.test('stops at the maximum and says so', async (t) => {
  const { count, size, explanation } = plan({ demandCpu: 50 });
  t.strictSame([count, size.cpu], [10, 1]);
  t.match(summary(explanation), /limited to the maximum of 10; the largest size is not enough/);
});

t.test('the forecast raises, it never lowers', async (t) => {
  t.equal(plan({ demandCpu: 0.1, forecastUpperCpu: 0.4 }).size.cpu, 0.8);
  t.equal(plan({ demandCpu: 0.4, forecastUpperCpu: 0.1 }).size.cpu, 0.8);
});

t.test('an allotment used up is doubled, since demand is then unknown', async (t) => {
  const slack = as({ kind: 'utilisation', target: 1 });
  t.equal(plan({ component: slack, demandCpu: 0.1 }).size.cpu, 0.2);
});

t.test('queue: so many instances that each has its share of calls', async (t) => {
  const queue = as({ kind: 'queue', length: 2 });
  t.equal(plan({ component: queue, outstanding: 7 }).count, 4);
  t.equal(plan({ component: queue, outstanding: 0, demandCpu: 2 }).count, 3, 'CPU has to suffice too');
});

t.test('latency: grows while missed, and the more the nearer to the bound', async (t) => {
  const latency = as({ kind: 'latency', percentile: 99, targetMs: 100 });
  const at = (p99: number) => {
    const current = { count: 3, size: { cpu: 1, memory: 64 * MiB } };
    const { count, size } = plan({ component: latency, demandCpu: 1.5, latencyMs: { p50: 1, p99 }, current });
    return count * size.cpu;
  };
  t.ok(at(300) > 4, 'missed: more');
  t.ok(at(120) > 3, 'just missed: more');
  t.ok(at(5) < 2, 'far from it: less');
  const allotted = [5, 20, 50, 90, 120, 300].map(at);
  t.strictSame(
    allotted,
    allotted.toSorted((a, b) => a - b),
  );
});

t.test('latency: what more CPU does not mend does not run away, and does not shrink', async (t) => {
  const latency = as({ kind: 'latency', percentile: 99, targetMs: 100 });
  const plans = run({ ...calm, component: latency }, 120, () => ({
    demandCpu: 0.5,
    requestsPerSecond: 5,
    latencyMs: { p50: 500, p99: 900 },
  }));
  const last = plans.at(-1);
  t.ok(last && last.count * last.size.cpu <= 2.1, `${last?.count} × ${last?.size.cpu}`);
  t.strictSame(plans.at(-30)?.count, last?.count);
});

t.test('idle: zero when the minimum allows, after the calm', async (t) => {
  const mayBeZero = as(component.objective, 0);
  const plans = run({ ...calm, component: mayBeZero }, 60, (i) => ({
    requestsPerSecond: i < 5 ? 10 : 0,
    demandCpu: 0.01,
  }));
  t.equal(plans[4]?.count, 1);
  t.equal(plans[33]?.count, 1, 'held for 30 s from the last request');
  t.equal(plans[34]?.count, 0);
  t.match(words(plans[34]), /idle: to zero/);
  t.equal(plan({ requestsPerSecond: 0 }).count, 1, 'a minimum of 1 stays');
});

t.test('from zero: a call that waits or a forecast of work wakes it', async (t) => {
  const asleep = { component: as(component.objective, 0), current: { count: 0, size: { cpu: 0.1, memory: 0 } } };
  t.equal(plan({ ...asleep, requestsPerSecond: 0 }).count, 0);
  t.equal(plan({ ...asleep, requestsPerSecond: 0, outstanding: 1 }).count, 1);
  t.equal(plan({ ...asleep, requestsPerSecond: 0, forecastUpperCpu: 0.3 }).count, 1);
});

t.test('the highest need of the window holds on the way down', async (t) => {
  const plans = run(calm, 80, (i) => ({ requestsPerSecond: 1, demandCpu: i === 10 ? 2 : 0.2 }));
  t.equal(plans[10]?.count, 4);
  t.ok(plans.slice(10, 40).every(({ count }) => count === 4));
  t.match(words(plans[20]), /held at 4.00 cores for 30 s of calm/);
  t.equal(plans[45]?.count, 1);
});

t.test('noise about a steady demand causes no change of count', async (t) => {
  const plans = run(calm, 300, (i) => ({ requestsPerSecond: 1, demandCpu: 1.4 + 0.2 * Math.sin(i * 2.4) }));
  t.equal(new Set(plans.slice(10).map(({ count }) => count)).size, 1);
});

t.test('memory: grows at once with headroom, shrinks after minutes', async (t) => {
  const plans = run(calm, 400, (i) => ({ requestsPerSecond: 1, memoryUsedMax: (i === 5 ? 200 : 80) * MiB }));
  t.equal(plans[5]?.size.memory, 260 * MiB);
  t.equal(plans[200]?.size.memory, 260 * MiB);
  t.equal(plans[399]?.size.memory, 104 * MiB);
});

t.test('memory: unknown use starts at the largest size and then leaves it', async (t) => {
  t.equal(plan({ current: { count: 0, size: { cpu: 0, memory: 0 } } }).size.memory, 512 * MiB);
  t.equal(plan({}).size.memory, 64 * MiB);
});

const number = fc.oneof(fc.double(), fc.double({ min: 0, max: 20, noNaN: true }), fc.constant(0));
const range = (min: number, max: number) =>
  fc
    .tuple(fc.integer({ min, max }), fc.integer({ min, max }))
    .map(([a, b]) => ({ min: Math.min(a, b), max: Math.max(a, b) }));
const anyComponent: fc.Arbitrary<Component> = fc.record({
  source: fc.constant(component.source),
  command: fc.constant([]),
  env: fc.constant({}),
  count: range(0, 50),
  size: fc.record({
    cpu: range(1, 800).map(({ min, max }) => ({ min: min / 100, max: max / 100 })),
    memory: range(4 * MiB, 4096 * MiB),
  }),
  objective: fc.oneof(
    fc.record({ kind: fc.constant('utilisation' as const), target: fc.double({ min: 0.05, max: 1, noNaN: true }) }),
    fc.record({
      kind: fc.constant('latency' as const),
      percentile: fc.constantFrom(50, 99),
      targetMs: fc.integer({ min: 1, max: 1000 }),
    }),
    fc.record({ kind: fc.constant('queue' as const), length: fc.integer({ min: 1, max: 9 }) }),
  ),
  state: fc.constant('none' as const),
  calls: fc.constant([]),
  ports: fc.constant([]),
});
const moment = fc.record({
  demandCpu: number,
  forecastUpperCpu: number,
  requestsPerSecond: number,
  outstanding: number,
  latencyMs: fc.option(fc.record({ p50: number, p99: number })),
  memoryUsedMax: number,
});
const moments = fc.array(moment, { minLength: 1, maxLength: 20 });

t.test('count and size are always within the bounds, whatever is seen', async () => {
  fc.assert(
    fc.property(anyComponent, moments, (one, seen) => {
      const start = { ...calm, component: one };
      return run(start, seen.length, (i) => seen[i] ?? {}).every(({ count, size }) => {
        const { cpu, memory } = one.size;
        const counted = Number.isInteger(count) && count >= one.count.min && count <= one.count.max;
        const sized = size.cpu >= cpu.min && size.cpu <= cpu.max;
        return counted && sized && size.memory >= memory.min && size.memory <= memory.max;
      });
    }),
    { numRuns: 1_000 },
  );
});

t.test('the same input gives the same plan, and the input stays as it was', async () => {
  fc.assert(
    fc.property(anyComponent, moments, (one, seen) => {
      const start = { ...calm, component: one };
      const before = JSON.stringify(start);
      const twice = [1, 2].map(() => JSON.stringify(run(start, seen.length, (i) => seen[i] ?? {})));
      return twice[0] === twice[1] && JSON.stringify(start) === before;
    }),
  );
});

t.test('reactive demand is the floor: what is allotted covers it, or the maximum is reached', async () => {
  fc.assert(
    fc.property(anyComponent, moments, (one, seen) => {
      return run({ ...calm, component: one }, seen.length, (i) => seen[i] ?? {}).every((made, i) => {
        const demand = seen[i]?.demandCpu ?? 0;
        if (!Number.isFinite(demand)) return true;
        const idle = demand <= 1; // Idle instances burn a little CPU each, which needs no more.
        const most = made.count === one.count.max && made.size.cpu === one.size.cpu.max;
        return idle || most || made.count * made.size.cpu >= demand - 1e-9;
      });
    }),
    { numRuns: 1_000 },
  );
});

t.test('the history stays small however often it is asked', async (t) => {
  const plans = run(calm, 2_000, (i) => ({
    requestsPerSecond: 1,
    demandCpu: 3 - i / 1000,
    memoryUsedMax: (400 - i / 10) * MiB,
  }));
  const { needs, memory } = plans.at(-1)?.history ?? EMPTY_HISTORY;
  t.ok(needs.length <= 30 && memory.length <= 300, `${needs.length} and ${memory.length}`);
});
