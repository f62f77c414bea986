import fc from 'fast-check';
import t from 'tap';
import { createLatencyWindow, silentComponents, takeIn } from '../../coordinator/intake.js';
import {
  hostConnected,
  hostDisconnected,
  type Observed,
  startObserving,
  takeReport,
} from '../../coordinator/observed.js';
import { MICRO, nextReading, type Reading } from '../../coordinator/reading.js';
import { LATENCY_BUCKETS } from '../../protocol/control.js';
import type { InstancePhase, InstanceStatus, Sample } from '../../protocol/link.js';

const empty: Sample = {
  cpuSeconds: 0,
  memoryBytes: 0,
  ioReadBytes: 0,
  ioWriteBytes: 0,
  arrived: 0,
  finished: 0,
  failed: 0,
  outstanding: 0,
  latencyBuckets: [],
};
const count = fc.oneof(fc.nat(), fc.constantFrom(0, -1, Number.NaN, Number.POSITIVE_INFINITY));
const sample: fc.Arbitrary<Sample> = fc.record({
  cpuSeconds: count,
  memoryBytes: count,
  ioReadBytes: count,
  ioWriteBytes: count,
  arrived: count,
  finished: count,
  failed: count,
  outstanding: count,
  latencyBuckets: fc.array(count, { maxLength: 50 }),
});
const size = { cpu: 0.5, memory: 2 ** 26 };

function status(id: string, sample: Sample, phase: InstancePhase = 'ready'): InstanceStatus {
  return { id, app: 'a', component: 'c', phase, size, restarts: 0, shards: [], sample };
}

/** After two samples, so many ms apart. */
function readingOf(before: Sample, after: Sample, ms: number): Reading {
  const first = nextReading(null, true, status('a-c-0', before), 1_000);
  const second = nextReading(first, true, status('a-c-0', after), 1_000 + ms);
  if (second === null) throw new Error('a sample gives a reading');
  return second;
}

t.test('rates are differences by seconds', async (t) => {
  const before = { ...empty, cpuSeconds: 10, arrived: 100, finished: 90, failed: 1, ioReadBytes: 5 };
  const after = { ...empty, cpuSeconds: 11, arrived: 140, finished: 120, failed: 3, ioReadBytes: 25, ioWriteBytes: 8 };
  t.match(readingOf(before, { ...after, latencyBuckets: [0, 30] }, 2_000), {
    measured: true,
    cpu: 0.5 * MICRO,
    arrived: 20 * MICRO,
    finished: 15 * MICRO,
    failed: MICRO,
    ioRead: 10 * MICRO,
    ioWrite: 4 * MICRO,
    latency: [1, 30],
  });
});

t.test('an instance that started anew counts from zero in every counter', async (t) => {
  const before = { ...empty, cpuSeconds: 50, arrived: 5, finished: 5, latencyBuckets: [5] };
  const after = { ...empty, cpuSeconds: 2, arrived: 8, finished: 7, latencyBuckets: [7] };
  t.match(readingOf(before, after, 1_000), { cpu: 2 * MICRO, arrived: 8 * MICRO, latency: [0, 7] });
});

t.test('a report soon after another one changes no rate, and nothing between the two is lost', async (t) => {
  const first = readingOf(empty, { ...empty, cpuSeconds: 1 }, 1_000);
  const soon = nextReading(first, true, status('a-c-0', { ...empty, cpuSeconds: 1.5 }), first.atMs + 20);
  t.equal(soon, first);
  const later = nextReading(soon, true, status('a-c-0', { ...empty, cpuSeconds: 2 }), first.atMs + 1_000);
  t.match(later, { cpu: MICRO });
});

t.test('any two samples give rates that are finite and not negative', async () => {
  fc.assert(
    fc.property(sample, sample, fc.integer({ min: 500, max: 100_000 }), (before, after, ms) => {
      const { latency, sample: _sample, measured, ...rates } = readingOf(before, after, ms);
      const buckets = latency.filter((_, i) => i % 2 === 0);
      const sound = [...latency, ...Object.values(rates)].every((n) => Number.isFinite(n) && n >= 0);
      return measured && sound && buckets.every((bucket) => bucket < LATENCY_BUCKETS);
    }),
  );
});

const host = { name: 'h', cores: 4, memoryBytes: 2 ** 33, kernel: '6', degraded: [] };

function clusterOf(...names: string[]): Observed {
  const observed = startObserving(0);
  for (const name of names) hostConnected(observed, { ...host, name }, 0);
  return observed;
}

t.test('demands add up, memory as its largest; calls are counted once', async (t) => {
  const observed = clusterOf('h');
  const latencies = createLatencyWindow(1);
  const tick = (nowMs: number) => takeIn(observed.components.get('a/c'), latencies, silentComponents(observed, nowMs));
  const used = (cpuSeconds: number, memoryBytes: number) => {
    return { ...empty, cpuSeconds, memoryBytes, outstanding: 2, latencyBuckets: [0, 3 * cpuSeconds] };
  };
  for (const second of [1, 2]) {
    const statuses = [status('a-c-0', used(second, 5)), status('a-c-1', used(second, 9))];
    takeReport(observed, 'h', 1, statuses, second * 1_000);
  }
  const first = tick(2_000);
  t.match(first.demand, { cpu: 2, outstanding: 4, memoryBytes: 9 });
  t.match(first, { ready: { count: 2, cpu: 1 }, lost: false });
  t.equal(latencies.sum[1], 6);
  t.equal(tick(3_000).ready, null, 'nothing new');
  t.equal(latencies.sum[1], 6);
});

t.test('one whose report is late goes on as it did; one that starts is no demand; silence is noticed', async (t) => {
  const observed = clusterOf('h', 'g');
  const latencies = createLatencyWindow(1);
  for (const second of [1, 2, 3, 4, 5, 6]) {
    takeReport(observed, 'h', 1, [status('a-c-0', { ...empty, cpuSeconds: second })], second * 1_000);
    const phase = second < 2 ? 'starting' : 'ready';
    if (second <= 3) {
      takeReport(observed, 'g', 1, [status('a-c-1', { ...empty, cpuSeconds: 2 * second }, phase)], second * 1_000);
    }
    const silent = silentComponents(observed, second * 1_000);
    const { demand, ready, lost } = takeIn(observed.components.get('a/c'), latencies, silent);
    t.equal(demand.cpu, second < 2 ? 0 : second < 3 ? 1 : 3, `${second} s`);
    t.equal(ready?.count ?? 0, second < 2 ? 0 : second < 3 ? 1 : 2);
    t.equal(lost, second === 6);
  }
});

t.test('a host that is away for long no longer counts, nor does what a host no longer names', async (t) => {
  const observed = clusterOf('h', 'g');
  for (const second of [1, 2]) {
    for (const name of ['h', 'g']) {
      takeReport(observed, name, 1, [status(`a-c-${name}`, { ...empty, cpuSeconds: second })], second * 1_000);
    }
  }
  const cpu = () => observed.components.get('a/c')?.demand().cpu;
  t.equal(cpu(), 2);
  hostDisconnected(observed, 'g', 2_500);
  silentComponents(observed, 5_000);
  t.equal(cpu(), 2, 'held');
  silentComponents(observed, 60_000);
  t.equal(cpu(), 1, 'forgotten');
  hostConnected(observed, { ...host, name: 'g' }, 60_000);
  for (const second of [61, 62]) {
    takeReport(observed, 'g', 1, [status('a-c-g', { ...empty, cpuSeconds: 2 * second })], second * 1_000);
  }
  t.equal(cpu(), 3, 'counted again');
  takeReport(observed, 'g', 1, [], 63_000);
  takeReport(observed, 'h', 1, [], 63_000);
  t.notOk(observed.components.has('a/c'));
});

t.test('sums are those of the last readings, exactly, whatever came before', async () => {
  const report = fc.record({
    name: fc.constantFrom('h', 'g'),
    statuses: fc.uniqueArray(
      fc.record({
        id: fc.constantFrom('a-c-0', 'a-c-1', 'a-c-2'),
        sample,
        phase: fc.constantFrom('ready', 'starting'),
      }),
      { selector: ({ id }) => id },
    ),
  });
  fc.assert(
    fc.property(fc.array(report, { maxLength: 20 }), (reports) => {
      const observed = clusterOf('h', 'g');
      for (const [i, { name, statuses }] of reports.entries()) {
        const named = statuses.map((each) => status(`${each.id}-${name}`, each.sample, each.phase as InstancePhase));
        takeReport(observed, name, 1, named, (i + 1) * 1_000);
      }
      const seen = [...observed.hosts.values()].flatMap(({ statuses }) => [...statuses.values()]);
      const sum = (of: (reading: Reading) => number) =>
        seen.reduce((total, { reading }) => total + (reading === null ? 0 : of(reading)), 0);
      const sums = observed.components.get('a/c');
      if (sums === undefined) return seen.length === 0;
      return (
        sums.instances === seen.length && sums.cpu === sum(({ cpu }) => cpu) && sums.ioRead === sum((r) => r.ioRead)
      );
    }),
  );
});
