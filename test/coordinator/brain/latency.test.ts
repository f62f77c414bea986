import fc from 'fast-check';
import t from 'tap';
import { randomFrom } from '../../../coordinator/brain/forecast/random.js';
import { bucketBounds, latencyOf, percentileMs, tailMs } from '../../../coordinator/brain/latency.js';
import { LatencyWindow } from '../../../coordinator/brain/latency-window.js';
import { LATENCY_BUCKETS, latencyBucket } from '../../../protocol/control.js';

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

t.test(
  'few calls show less than their tail: what they say of it is not too little on average, and little too much',
  async (t) => {
    const random = randomFrom(8);
    const mean = (calls: number, of: (buckets: number[]) => number | null) => {
      let sum = 0;
      for (let trial = 0; trial < 1_000; trial += 1) {
        const buckets = Array<number>(LATENCY_BUCKETS).fill(0);
        for (let i = 0; i < calls; i += 1) {
          const bucket = latencyBucket(5 - 10 * Math.log(1 - random()));
          buckets[bucket] = (buckets[bucket] ?? 0) + 1;
        }
        sum += (of(buckets) ?? 0) / 1_000;
      }
      return sum;
    };
    const exact = 5 + 10 * Math.log(100);
    for (const calls of [4, 5, 8, 12, 20, 40, 100, 400]) {
      const found = mean(calls, (buckets) => tailMs(buckets, 99));
      t.ok(found > 0.98 * exact && found < 1.25 * exact, `${calls} calls: ${found} ms, exactly ${exact}`);
    }
    t.ok(mean(8, (buckets) => percentileMs(buckets, 99)) < 0.9 * exact, 'the slowest of eight is no 99th percentile');
  },
);

t.test('without calls there is no latency', async (t) => {
  t.equal(latencyOf([]), null);
  t.equal(tailMs([], 99), null);
  t.equal(latencyOf([0, Number.NaN, -3]), null);
  t.strictSame(latencyOf([100]), { p50: 0.05, p99: 0.099 });
});

t.test('a window holds the counts of its last steps and nothing of those before', async (t) => {
  const step = fc.option(fc.array(fc.nat(1_000), { minLength: LATENCY_BUCKETS, maxLength: LATENCY_BUCKETS }));
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 5 }), fc.array(step, { maxLength: 12 }), (length, steps) => {
      const window = new LatencyWindow(length);
      const expected = new Float64Array(LATENCY_BUCKETS);
      for (const counts of steps) window.advance(counts === null ? null : Float64Array.from(counts));
      for (const counts of steps.slice(-length)) {
        for (const [i, count] of (counts ?? []).entries()) expected[i] = (expected[i] as number) + count;
      }
      t.strictSame([...window.sum], [...expected]);
    }),
  );
});
