import fc from 'fast-check';
import t from 'tap';
import { HostReports, Tally } from '../../../coordinator/simulator/host-reports.js';
import { LATENCY_BUCKETS } from '../../../protocol/control.js';
import { type InstanceFacts, NewsWriter, SAMPLE_FIELDS } from '../../../protocol/instance-news.js';
import type { InstanceStatus, Sample } from '../../../protocol/link.js';

const BEFORE_ANY = Object.fromEntries(
  SAMPLE_FIELDS.slice(0, SAMPLE_FIELDS.indexOf('busyMs')).map((field) => [field, 0]),
) as unknown as Sample;
const CPU_SECONDS = SAMPLE_FIELDS.indexOf('cpuSeconds');

type Phase = 'absent' | 'starting' | 'ready';

/** By the index of an instance: absent, starting, or ready and so many calls in a bucket since the second before. */
const second = fc.array(fc.constantFrom<Phase>('absent', 'starting', 'ready'), { minLength: 4, maxLength: 4 });
const work = fc.record({ bucket: fc.integer({ min: 0, max: LATENCY_BUCKETS - 1 }), calls: fc.nat(9) });

t.test('a simulated host says what an agent would say of the same instances', async (t) => {
  fc.assert(
    fc.property(fc.array(fc.tuple(second, work), { maxLength: 12 }), (seconds) => {
      const writer = new NewsWriter();
      const reports = new HostReports();
      const tallies = [0, 1, 2, 3].map(() => new Tally(BEFORE_ANY));
      for (const [phases, { bucket, calls }] of seconds) {
        const statuses: InstanceStatus[] = [];
        for (const [i, phase] of phases.entries()) {
          const tally = tallies[i] as Tally;
          if (phase === 'absent') {
            // Who comes again is another one.
            tallies[i] = new Tally(BEFORE_ANY);
            continue;
          }
          const serves = phase === 'ready';
          if (serves) {
            (tally.fields[CPU_SECONDS] as number) += calls / 10;
            (tally.buckets[bucket] as number) += calls;
          }
          const facts = tally.said?.phase === phase ? tally.said : factsOf(i, phase);
          reports.add(facts, tally, serves);
          statuses.push(serves ? { ...facts, sample: sampleOf(tally) } : facts);
        }
        const said = reports.finish();
        const { samples, ...expected } = writer.write(statuses);
        t.same({ ...said, samples: [] }, { ...expected, samples: [] });
        t.same(Array.from(said.samples), Array.from(samples));
      }
    }),
    { numRuns: 40 },
  );
});

function factsOf(i: number, phase: 'starting' | 'ready'): InstanceFacts {
  const size = { cpu: 1, memory: 2 ** 20 };
  return { id: `a-c-${i}`, app: 'a', component: 'c', phase, size, restarts: 0, shards: [] };
}

function sampleOf({ fields, buckets }: Tally): Sample {
  return { ...BEFORE_ANY, cpuSeconds: fields[CPU_SECONDS] as number, latencyBuckets: Array.from(buckets) };
}
