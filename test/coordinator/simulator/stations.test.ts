import fc from 'fast-check';
import t from 'tap';
import { poisson, stream } from '../../../coordinator/simulator/dice.js';
import { EventStation } from '../../../coordinator/simulator/event-station.js';
import { FlowStation, overShareInBalance } from '../../../coordinator/simulator/flow-station.js';
import { gammaTail } from '../../../coordinator/simulator/gamma-tail.js';
import { LatencyBook } from '../../../coordinator/simulator/latency-book.js';
import { meanJobs } from '../../../coordinator/simulator/queue-law.js';
import type { Server, Station } from '../../../coordinator/simulator/station.js';

const WORK = { cpuSeconds: 0.005, variation: 1 };
const TARGET_MS = 50;
const instances = (count: number, cpu = 1): Server[] =>
  Array.from({ length: count }, (_, i) => ({ id: `i-${i}`, cpu, readyAt: 0, leaving: false }));

/** Probability to wait in M/M/c (Erlang's second formula), by his first one's recursion. */
function erlangC(servers: number, load: number): number {
  let blocked = 1;
  for (let c = 1; c <= servers; c += 1) blocked = (load * blocked) / (c + load * blocked);
  return blocked / (1 - (load / servers) * (1 - blocked));
}

function run(station: Station, rate: number, seconds: number, seed = 1) {
  const dice = stream(seed, 'arrivals');
  const book = new LatencyBook();
  let jobs = 0;
  let cpuSeconds = 0;
  for (let second = 0; second < seconds; second += 1) {
    const done = station.step(second, 1, poisson(rate, dice), book);
    jobs += done.outstandingMean / seconds;
    cpuSeconds += done.cpuSeconds;
  }
  return { book, jobs, cpuSeconds };
}

t.test('one instance of c workers, request by request, is M/M/c: Erlang C', async (t) => {
  for (const [workers, utilisation] of [
    [1, 0.6],
    [2, 0.8],
    [8, 0.85],
  ] as const) {
    const station = new EventStation(WORK, workers, TARGET_MS, stream(3, 'work'));
    station.change([{ id: 'one', cpu: workers, readyAt: 0, leaving: false }], 0);
    const load = workers * utilisation;
    const { jobs, cpuSeconds } = run(station, load / WORK.cpuSeconds, 2000);
    const expected = load + (erlangC(workers, load) * utilisation) / (1 - utilisation);
    t.ok(Math.abs(jobs / expected - 1) < 0.05, `${workers} workers: ${jobs} requests, by the formula ${expected}`);
    t.ok(Math.abs(cpuSeconds / 2000 / load - 1) < 0.01);
  }
});

t.test(
  'the law of two choices: M/M/1 for one server, M/M/2 for two, falling twice exponentially for many',
  async (t) => {
    for (const rho of [0.1, 0.5, 0.9]) {
      t.ok(Math.abs(meanJobs(1, 1, rho).jobs - rho / (1 - rho)) < 1e-9);
      t.ok(Math.abs(meanJobs(2, 1, rho).jobs - rho / (1 - rho * rho)) < 1e-9);
      const many = [1, 3, 7, 15, 31, 63, 127, 255].reduce((sum, e) => sum + rho ** e, 0);
      t.ok(Math.abs(meanJobs(1e6, 1, rho).jobs - many) < 1e-6);
      const h = 1e-6;
      const slope = (meanJobs(5, 0.7, rho + h).jobs - meanJobs(5, 0.7, rho - h).jobs) / (2 * h);
      t.ok(Math.abs(meanJobs(5, 0.7, rho).slope / slope - 1) < 1e-5);
    }
  },
);

t.test('gamma tails against closed forms', async (t) => {
  for (const x of [0.1, 1, 3, 20]) {
    t.ok(Math.abs(gammaTail(1, 1, x) - Math.exp(-x)) < 1e-10);
    t.ok(Math.abs(gammaTail(3, 3, x) - Math.exp(-x) * (1 + x + (x * x) / 2)) < 1e-10);
  }
  t.ok(Math.abs(gammaTail(401, 401, 410) - gammaTail(399.999, 399.999, 408.977)) < 1e-3);
});

t.test('formulas against requests: latencies and what is in the queue, where the objective holds', async (t) => {
  for (const [count, utilisation] of [
    [1, 0.4],
    [2, 0.65],
    [3, 0.7],
    [5, 0.8],
    [20, 0.8],
    [40, 0.9],
  ] as const) {
    const rate = (count * utilisation) / WORK.cpuSeconds;
    const seconds = Math.ceil(400_000 / rate);
    const events = new EventStation(WORK, 1, TARGET_MS, stream(5, 'work'));
    const flow = new FlowStation(WORK, 1, TARGET_MS);
    for (const station of [events, flow]) station.change(instances(count), 0);
    const exact = run(events, rate, seconds);
    const formula = run(flow, rate, seconds);
    const near = (a: number, b: number, share: number, what: string) =>
      t.ok(Math.abs(a / b - 1) < share, `${count} at ${utilisation}: ${what} ${a} for ${b}`);
    near(formula.jobs, exact.jobs, 0.1, 'jobs');
    near(formula.book.percentileMs(50) ?? 0, exact.book.percentileMs(50) ?? 0, 0.1, 'p50');
    near(formula.book.percentileMs(99) ?? 0, exact.book.percentileMs(99) ?? 0, 0.12, 'p99');
    near(formula.cpuSeconds, exact.cpuSeconds, 0.01, 'CPU');
    t.ok(overShareInBalance(WORK, { workers: 1, targetMs: TARGET_MS }, count, 1, rate) < 0.01);
  }
});

t.test('overload and recovery: the same backlog, drained in the same time', async (t) => {
  const events = new EventStation(WORK, 1, TARGET_MS, stream(5, 'work'));
  const flow = new FlowStation(WORK, 1, TARGET_MS);
  for (const station of [events, flow]) station.change(instances(4), 0);
  const books = [new LatencyBook(), new LatencyBook()];
  for (let second = 0; second < 120; second += 1) {
    const arrived = second < 30 ? 1600 : 400;
    const [a, b] = [events, flow].map((station, i) => station.step(second, 1, arrived, books[i] as LatencyBook));
    if (second === 29) {
      t.ok(Math.abs((a?.outstanding ?? 0) / 24_000 - 1) < 0.05, `${a?.outstanding} wait`);
      t.ok(Math.abs((b?.outstanding ?? 0) / 24_000 - 1) < 0.05, `${b?.outstanding} wait`);
    }
    if (second === 119) t.ok((a?.outstanding ?? 0) < 20 && (b?.outstanding ?? 0) < 20);
  }
  const [exact, formula] = books as [LatencyBook, LatencyBook];
  t.ok(Math.abs(formula.overShare / exact.overShare - 1) < 0.05, `${formula.overShare} for ${exact.overShare} over`);
  const [p50, same] = [formula.percentileMs(50) ?? 0, exact.percentileMs(50) ?? 0];
  t.ok(Math.abs(p50 / same - 1) < 0.2, `p50 ${p50} for ${same}`);
});

t.test('no request is lost or made, whatever happens to the instances', async () => {
  const change = fc.record({
    arrived: fc.integer({ min: 0, max: 900 }),
    count: fc.integer({ min: 0, max: 6 }),
    cpu: fc.constantFrom(0.25, 0.5, 1),
    leaves: fc.boolean(),
  });
  fc.assert(
    fc.property(
      fc.array(change, { minLength: 1, maxLength: 25 }),
      fc.constantFrom('flow', 'events'),
      (steps, engine) => {
        const service = { cpuSeconds: 0.005, variation: 0.7 };
        const station =
          engine === 'flow'
            ? new FlowStation(service, 1, TARGET_MS)
            : new EventStation(service, 1, TARGET_MS, stream(2, 'work'));
        const book = new LatencyBook();
        let [arrived, finished, failed, outstanding] = [0, 0, 0, 0];
        let before: Server[] = [];
        for (const [second, step] of steps.entries()) {
          const servers: Server[] = instances(step.count, step.cpu);
          const gone = before.slice(step.count).filter(({ leaving }) => !leaving);
          const leavers = step.leaves ? gone.map((each) => ({ ...each, leaving: true })) : [];
          before = [...servers, ...leavers];
          station.change(before, second);
          const done = station.step(second, 1, step.arrived, book);
          arrived += step.arrived;
          finished += done.finished;
          failed += done.failed;
          outstanding = done.outstanding;
          // Who leaves still works until it has ended what it has.
          if (done.cpuSeconds < 0 || done.cpuSeconds > 6 + 1e-6) return false;
        }
        const kept = Math.abs(arrived - finished - failed - outstanding) < 1e-6 * (1 + arrived);
        return kept && Math.abs(book.requests - finished) < 1e-6 * (1 + finished);
      },
    ),
  );
});
