import fc from 'fast-check';
import t from 'tap';
import { addBetween, demandBetween, noDemand } from '../../../coordinator/brain/demand.js';
import { bucketBounds, latencyOf, percentileMs } from '../../../coordinator/brain/latency.js';
import { LATENCY_BUCKETS, latencyBucket } from '../../../protocol/control.js';
import type { Sample } from '../../../protocol/link.js';

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

t.test('rates are differences by seconds; the outstanding and memory are of the end', async (t) => {
  const before = { ...empty, cpuSeconds: 10, arrived: 100, finished: 90, failed: 1, ioReadBytes: 5 };
  const after = { ...empty, cpuSeconds: 11, arrived: 140, finished: 120, failed: 3, ioReadBytes: 25, ioWriteBytes: 8 };
  const demand = demandBetween(before, { ...after, outstanding: 20, memoryBytes: 7, latencyBuckets: [0, 30] }, 2);
  t.match(demand, {
    cpu: 0.5,
    requestsPerSecond: 20,
    failedPerSecond: 1,
    ioReadBytesPerSecond: 10,
    ioWriteBytesPerSecond: 4,
    outstanding: 20,
    memoryBytes: 7,
  });
  t.strictSame(demand.latencyBuckets.slice(0, 3), [0, 30, 0]);
});

t.test('an instance that started anew counts from zero in every counter', async (t) => {
  const before = { ...empty, cpuSeconds: 50, arrived: 5, finished: 5 };
  const demand = demandBetween(before, { ...empty, cpuSeconds: 2, arrived: 8, finished: 7 }, 1);
  t.match(demand, { cpu: 2, requestsPerSecond: 8 });
});

t.test('no time between two samples gives no rates', async (t) => {
  for (const seconds of [0, -1, Number.NaN, Number.POSITIVE_INFINITY]) {
    t.match(demandBetween(empty, { ...empty, cpuSeconds: 1, outstanding: 3 }, seconds), { cpu: 0, outstanding: 3 });
  }
});

t.test('any two samples give rates that are finite and not negative', async () => {
  fc.assert(
    fc.property(sample, sample, fc.double({ min: 0.001, max: 100, noNaN: true }), (before, after, seconds) => {
      const { latencyBuckets, ...rates } = demandBetween(before, after, seconds);
      const numbers = [...latencyBuckets, ...Object.values(rates)];
      return latencyBuckets.length === LATENCY_BUCKETS && numbers.every((n) => Number.isFinite(n) && n >= 0);
    }),
  );
});

t.test('demands add up, memory as its largest', async (t) => {
  const sum = noDemand();
  const after = { ...empty, cpuSeconds: 2, outstanding: 2, memoryBytes: 5, latencyBuckets: [0, 3] };
  t.equal(addBetween(sum, empty, after, 2), 1);
  addBetween(sum, empty, { ...after, memoryBytes: 9 }, 2);
  t.match(sum, { cpu: 2, outstanding: 4, memoryBytes: 9 });
  t.strictSame(sum.latencyBuckets.slice(0, 3), [0, 6, 0]);
});

t.test('bounds of buckets agree with the function that fills them', async () => {
  fc.assert(
    fc.property(fc.double({ min: 0, max: 1_000_000, noNaN: true }), (ms) => {
      const { lower, upper } = bucketBounds(latencyBucket(ms));
      return ms >= lower * (1 - 1e-9) && ms <= upper * (1 + 1e-9);
    }),
  );
});

t.test('a percentile is off by no more than its bucket is wide', async () => {
  const times = fc.array(fc.double({ min: 0.01, max: 100_000, noNaN: true }), { minLength: 1, maxLength: 100 });
  fc.assert(
    fc.property(times, fc.integer({ min: 1, max: 100 }), (ms, percentile) => {
      const buckets = Array<number>(LATENCY_BUCKETS).fill(0);
      for (const one of ms) buckets[latencyBucket(one)] = (buckets[latencyBucket(one)] ?? 0) + 1;
      const exact = ms.toSorted((a, b) => a - b)[Math.max(0, Math.ceil((percentile / 100) * ms.length) - 1)] ?? 0;
      const found = percentileMs(buckets, percentile) ?? Number.NaN;
      const { lower, upper } = bucketBounds(latencyBucket(exact));
      return found >= lower * (1 - 1e-9) && found <= upper * (1 + 1e-9);
    }),
  );
});

t.test('without calls there is no latency', async (t) => {
  t.equal(latencyOf([]), null);
  t.equal(latencyOf([0, Number.NaN, -3]), null);
  t.strictSame(latencyOf([100]), { p50: 0.05, p99: 0.099 });
});
