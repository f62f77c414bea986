import fc from 'fast-check';
import t from 'tap';
import { offsetAt } from '../../scripts/lib/bench/clock-offsets.js';
import { handoverRows } from '../../scripts/lib/bench/handover-rows.js';
import { inTimeOfCaller, type LoadMeasured, outagesOf } from '../../scripts/lib/bench/shard-changes.js';

const PLAN = { shards: 2, replicas: 1, keys: 4, valueBytes: 2 ** 18, rate: 10, warmUpCounts: [], counts: [1, 2] };

t.test('clocks that run apart: what is unknown of the other one is no more than is said', async () => {
  const trip = fc.record({ at: fc.integer({ min: 0, max: 60_000 }), there: fc.nat(200), back: fc.nat(200) });
  const drift = fc.double({ min: -0.000_9, max: 0.000_9, noNaN: true });
  const check = (offset: number, rate: number, trips: { at: number; there: number; back: number }[], atMs: number) => {
    const other = (ms: number) => ms * (1 + rate) + offset;
    const told = trips.map(({ at, there, back }) => ({
      sentMs: at,
      heardMs: other(at + there),
      backMs: at + there + back,
    }));
    const found = offsetAt(told, atMs);
    // A trip of no length leaves what numbers of this size are rounded by.
    return found !== null && Math.abs(other(atMs) - atMs - found.offsetMs) <= found.errorMs + 0.2;
  };
  fc.assert(
    fc.property(fc.integer({ min: -1e6, max: 1e6 }), drift, fc.array(trip, { minLength: 1 }), fc.nat(60_000), check),
  );
});

t.test('of all trips that counts which leaves the least unknown', async (t) => {
  const trips = [
    { sentMs: 0, heardMs: 1_010, backMs: 20 },
    { sentMs: 100, heardMs: 1_103, backMs: 106 },
    { sentMs: 90_000, heardMs: 91_000, backMs: 90_000 },
  ];
  t.same(offsetAt(trips, 103), { offsetMs: 1_000, errorMs: 3 });
  t.same(offsetAt(trips, 90_000), { offsetMs: 1_000, errorMs: 0 });
  t.equal(offsetAt([], 0), null);
});

t.test('a shard is not served between two owners, by the one clock that the caller has', async (t) => {
  const measured: Pick<LoadMeasured, 'changes' | 'trips'> = {
    changes: [
      [0, 'arrive', 5, 'a'],
      [0, 'leave', 100, 'a'],
      [0, 'arrive', 50_130, 'b'],
      [1, 'leave', 200, 'a'],
      [0, 'leave', 50_300, 'b'],
      [0, 'arrive', 320, 'a'],
    ],
    trips: [['b', 50_100, 102, 50_104]],
  };
  const told = inTimeOfCaller(measured);
  const outages = outagesOf(told);
  t.same([...outages.keys()], [0], 'a shard that has not come yet has no end');
  const [first, second] = outages.get(0) ?? [];
  t.ok(first !== undefined && Math.abs(first.toMs - first.fromMs - 30) < 1e-6, JSON.stringify(first));
  t.ok(second !== undefined && Math.abs(second.toMs - second.fromMs - 20) < 1e-6, JSON.stringify(second));
  t.ok(first !== undefined && first.errorMs >= 2 && first.errorMs < 3);

  const rows = handoverRows(
    PLAN,
    {
      calls: [
        [0, 4, 0, 0, 0],
        [90, 44, 0, 0, 1],
        [140, 4, 1, 1, 1],
        [150, 4, 1, 0, 0],
      ],
      changes: told,
      steadyUntilMs: 50,
      bytes: 2 ** 21,
      newCopies: 1,
    },
    ' by verbs',
    null,
  );
  const figure = (metric: string) => rows.find((row) => row.metric.includes(metric))?.value ?? Number.NaN;
  t.equal(
    figure('waits longer than usual, max'),
    40,
    'less what a call takes anyway; of others than that shard nothing',
  );
  t.equal(figure('calls that failed'), 1);
  t.equal(figure('hand-overs'), 2);
  t.ok(Math.abs(figure('not served, max') - 30) < 1e-6);
  const bytes = rows.find(({ metric }) => metric === 'bytes between hosts by verbs');
  t.match(bytes, { value: 2, peerValue: 1, ratio: 2 }, 'half a MiB of a new copy, and two writes of a quarter');
});
