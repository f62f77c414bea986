import fc from 'fast-check';
import t from 'tap';
import { NO_DEMAND } from '../../coordinator/brain/demand.js';
import { HostSamples, MICRO, RATES } from '../../coordinator/host-samples.js';
import { createLatencyWindow, silentComponents, takeIn } from '../../coordinator/intake.js';
import {
  type HeardReport,
  hostConnected,
  hostDisconnected,
  type Observed,
  startObserving,
  statusOf,
  takeNews,
  takeReport,
} from '../../coordinator/observed.js';
import { LATENCY_BUCKETS } from '../../protocol/control.js';
import { BUCKETS_AT, NewsWriter, newsOf, readSamples, toWire, writeSamples } from '../../protocol/instance-news.js';
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

/** One instance that serves, sample by sample. */
class Readings {
  readonly samples = new HostSamples(1);
  #latency: number[] = [];

  /** Answers what is new: bucket, calls, bucket, calls …, or null where the sample gives no rates. */
  take(sample: Sample, nowMs: number): number[] | null {
    this.#latency = [];
    const sink = { addLatency: (bucket: number, calls: number) => void this.#latency.push(bucket, calls) };
    const row = { rows: writeSamples([sample]), from: 0, counts: undefined };
    return this.samples.take(0, row, true, nowMs, sink) ? this.#latency : null;
  }

  get rates(): Record<string, number> {
    return Object.fromEntries(RATES.map((rate, i) => [rate, this.samples.rate(0, i)]));
  }
}

/** After two samples, so many ms apart. */
function readingOf(before: Sample, after: Sample, ms: number): Record<string, number> & { latency: number[] | null } {
  const readings = new Readings();
  readings.take(before, 1_000);
  const latency = readings.take(after, 1_000 + ms);
  return { ...readings.rates, latency } as Record<string, number> & { latency: number[] | null };
}

t.test('rates are differences by seconds', async (t) => {
  const before = { ...empty, cpuSeconds: 10, arrived: 100, finished: 90, failed: 1, ioReadBytes: 5 };
  const after = { ...empty, cpuSeconds: 11, arrived: 140, finished: 120, failed: 3, ioReadBytes: 25, ioWriteBytes: 8 };
  const delayed = { ...after, runDelaySeconds: 3, latencyBuckets: [0, 30] };
  t.same(readingOf({ ...before, runDelaySeconds: 2 }, delayed, 2_000), {
    cpu: 0.5 * MICRO,
    arrived: 20 * MICRO,
    finished: 15 * MICRO,
    failed: MICRO,
    ioRead: 10 * MICRO,
    ioWrite: 4 * MICRO,
    runDelay: 0.5 * MICRO,
    latency: [1, 30],
  });
});

t.test('counters may be large: after billions of calls and bytes the next ones count as before', async (t) => {
  const many = { ...empty, arrived: 3e12, ioReadBytes: 4e15, latencyBuckets: [2e12] };
  const more = { ...many, arrived: 3e12 + 7, ioReadBytes: 4e15 + 2_048, latencyBuckets: [2e12 + 7] };
  t.match(readingOf(many, more, 1_000), { arrived: 7 * MICRO, ioRead: 2_048 * MICRO, latency: [0, 7] });
});

t.test('an instance that started anew counts from zero in every counter', async (t) => {
  const before = { ...empty, cpuSeconds: 50, arrived: 5, finished: 5, latencyBuckets: [5] };
  const after = { ...empty, cpuSeconds: 2, arrived: 8, finished: 7, latencyBuckets: [7] };
  t.match(readingOf(before, after, 1_000), { cpu: 2 * MICRO, arrived: 8 * MICRO, latency: [0, 7] });
});

t.test('a report soon after another one changes no rate, and nothing between the two is lost', async (t) => {
  const readings = new Readings();
  readings.take(empty, 0);
  readings.take({ ...empty, cpuSeconds: 1 }, 1_000);
  t.equal(readings.take({ ...empty, cpuSeconds: 1.5, outstanding: 3, memoryBytes: 9 }, 1_020), null);
  t.match(readings.rates, { cpu: MICRO });
  t.match([readings.samples.outstanding(0), readings.samples.memory(0)], [3, 9], 'what holds at the moment is taken');
  readings.take({ ...empty, cpuSeconds: 2.25 }, 2_000);
  t.match(readings.rates, { cpu: 1.25 * MICRO });
});

t.test('any two samples give rates that are finite and not negative', async () => {
  fc.assert(
    fc.property(sample, sample, fc.integer({ min: 500, max: 100_000 }), (before, after, ms) => {
      const { latency, ...rates } = readingOf(before, after, ms);
      const buckets = (latency ?? []).filter((_, i) => i % 2 === 0);
      const sound = [...(latency ?? []), ...Object.values(rates)].every((n) => Number.isFinite(n) && n >= 0);
      return latency !== null && sound && buckets.every((bucket) => bucket < LATENCY_BUCKETS);
    }),
  );
});

t.test('what a connection says in pieces is what its agent said as a whole', async (t) => {
  const amount = fc.double({ min: 0, max: 1e15, noNaN: true });
  const numbers = Object.fromEntries(Object.keys(empty).map((field) => [field, amount]));
  const buckets = fc.array(fc.nat(), { minLength: LATENCY_BUCKETS, maxLength: LATENCY_BUCKETS });
  const plain = fc.record({ ...numbers, latencyBuckets: buckets }) as unknown as fc.Arbitrary<Sample>;
  const more = fc.record({ busyMs: amount, called: fc.constant({ b: 7 }) }, { requiredKeys: [] });
  const counted = fc.tuple(plain, more).map(([sample, counts]): Sample => ({ ...sample, ...counts }));
  const some = fc.record({
    id: fc.constantFrom('a-c-0', 'a-c-1', 'a-c-2', 'a-c-3'),
    sample: fc.option(counted, { nil: undefined }),
    phase: fc.constantFrom<InstancePhase>('ready', 'starting', 'failed'),
  });
  const whole = fc.uniqueArray(some, { selector: ({ id }) => id });
  fc.assert(
    fc.property(fc.array(whole, { maxLength: 8 }), (reports) => {
      const observed = clusterOf('h');
      const writer = new NewsWriter();
      for (const [i, each] of reports.entries()) {
        const statuses = each.map(({ id, sample: its, phase }): InstanceStatus => {
          const { sample: _, ...facts } = status(id, empty, phase);
          return its === undefined ? facts : { ...facts, sample: its };
        });
        const news = toWire(writer.write(statuses));
        const samples = readSamples(news.samples);
        takeNews(observed, 'h', { ...news, samples, revision: 1 }, (i + 1) * 1_000);
        t.same((observed.hosts.get('h')?.rows ?? []).map(statusOf), statuses);
      }
    }),
    { numRuns: 50 },
  );
});

t.test('news that do not fit those before are refused, and change nothing', async (t) => {
  const observed = clusterOf('h');
  const first = newsOf([status('a-c-0', empty), status('a-c-1', empty)]);
  const take = (news: Partial<HeardReport>) => takeNews(observed, 'h', { ...first, revision: 1, ...news }, 1_000);
  const { ids: _, ...others } = first;
  const bad: Partial<HeardReport>[] = [
    { ids: ['a-c-0', 'a-c-1', 'a-c-2'] },
    { ids: ['a-c-0'] },
    { samples: writeSamples([empty]) },
    { samples: writeSamples([empty, empty, empty]) },
  ];
  for (const each of bad) t.throws(() => take(each), { code: 'SHOAL_E_FRAME' });
  t.throws(
    () => takeNews(observed, 'h', { ...others, revision: 1 }, 1_000),
    { code: 'SHOAL_E_FRAME' },
    'unnamed at first',
  );
  t.equal(observed.hosts.get('h')?.statuses.size, 0);
  take({});
  takeNews(observed, 'h', { instances: [], samples: first.samples, revision: 2 }, 2_000);
  t.equal(observed.components.get('a/c')?.instances, 2, 'what is not said again remains');
  hostDisconnected(observed, 'h', 3_000);
  hostConnected(observed, host, 3_000);
  t.throws(() => take({ instances: [] }), { code: 'SHOAL_E_FRAME' }, 'another connection begins anew');
});

t.test('an agent or coordinator of before counted less: the rest is as said', async (t) => {
  const counted = { ...empty, busyMs: 7, faultsMinor: 5, connectSeconds: 0.5, latencyBuckets: [0, 4] };
  const { faultsMinor: _, connectSeconds: __, ...before } = counted;
  const { samples } = toWire(newsOf([status('a-c-0', counted), status('a-c-1', empty)]), 6);
  t.same([...readSamples(samples, 6)], [...writeSamples([before, empty])]);
  const { samples: now } = toWire(newsOf([status('a-c-0', counted)]));
  t.same([...readSamples(now)], [...writeSamples([counted])]);
  t.throws(() => readSamples(samples.subarray(8), 6), { code: 'SHOAL_E_FRAME' });
  t.throws(() => readSamples(samples, 7), { code: 'SHOAL_E_FRAME' });
});

t.test('samples on the wire are checked', async (t) => {
  const row = [...writeSamples([{ ...empty, latencyBuckets: [0, 4] }])];
  const bytesOf = (numbers: number[]) => new Uint8Array(Float64Array.from(numbers).buffer);
  const changed = (at: number, value: number) => row.map((each, i) => (i === at ? value : each));
  t.same([...readSamples(bytesOf(row))], row);
  const bad = [
    changed(0, 2),
    changed(0, 0.5),
    changed(0, -2),
    changed(0, 1e9),
    changed(0, Number.NaN),
    changed(1, -1),
    changed(2, Number.NaN),
    changed(3, Number.POSITIVE_INFINITY),
    changed(9, -1),
    changed(10, -1),
    changed(BUCKETS_AT, LATENCY_BUCKETS),
    changed(BUCKETS_AT, -1),
    changed(BUCKETS_AT + 1, Number.NaN),
    row.slice(0, 5),
  ];
  for (const each of bad) t.throws(() => readSamples(bytesOf(each)), { code: 'SHOAL_E_FRAME' }, String(each));
  for (const each of [undefined, 'text', [1], new Uint8Array(9)])
    t.throws(() => readSamples(each), { code: 'SHOAL_E_FRAME' });
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
  const demand = { ...NO_DEMAND };
  const tick = (nowMs: number) =>
    takeIn(observed.components.get('a/c'), demand, latencies, silentComponents(observed, nowMs));
  const used = (cpuSeconds: number, memoryBytes: number) => {
    return { ...empty, cpuSeconds, memoryBytes, outstanding: 2, latencyBuckets: [0, 3 * cpuSeconds] };
  };
  for (const second of [1, 2]) {
    const statuses = [status('a-c-0', used(second, 5)), status('a-c-1', used(second, 9))];
    takeReport(observed, 'h', 1, statuses, second * 1_000);
  }
  const first = tick(2_000);
  t.match(demand, { cpu: 2, outstanding: 4, memoryBytes: 9 });
  t.match(first, { ready: { count: 2, cpu: 1 }, lost: false });
  t.equal(latencies.sum[1], 6);
  t.equal(tick(3_000).ready, null, 'nothing new');
  t.match(demand, { cpu: 2, memoryBytes: 9 }, 'what was known of it stays');
  t.equal(latencies.sum[1], 6);
});

t.test('one whose report is late goes on as it did; one that starts is no demand; silence is noticed', async (t) => {
  const observed = clusterOf('h', 'g');
  const latencies = createLatencyWindow(1);
  const demand = { ...NO_DEMAND };
  for (const second of [1, 2, 3, 4, 5, 6]) {
    takeReport(observed, 'h', 1, [status('a-c-0', { ...empty, cpuSeconds: second })], second * 1_000);
    const phase = second < 2 ? 'starting' : 'ready';
    if (second <= 3) {
      takeReport(observed, 'g', 1, [status('a-c-1', { ...empty, cpuSeconds: 2 * second }, phase)], second * 1_000);
    }
    const silent = silentComponents(observed, second * 1_000);
    const { ready, lost } = takeIn(observed.components.get('a/c'), demand, latencies, silent);
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
  const cpu = () => {
    const demand = { ...NO_DEMAND };
    observed.components.get('a/c')?.demand(demand);
    return demand.cpu;
  };
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
      const seen = [...observed.hosts.values()].flatMap(({ rows }) => rows);
      const sums = observed.components.get('a/c');
      if (sums === undefined) return seen.length === 0;
      const isSum = (rate: number) =>
        sums.rate(rate) === seen.reduce((total, { samples, row }) => total + samples.rate(row, rate), 0);
      return sums.instances === seen.length && RATES.every((_, rate) => isSum(rate));
    }),
  );
});
