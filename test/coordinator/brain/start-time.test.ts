import fc from 'fast-check';
import t from 'tap';
import {
  learnStart,
  NEW_STARTS,
  START_SECONDS,
  type StartTimes,
  startAhead,
} from '../../../coordinator/brain/start-time.js';

const anywhere = () => true;

function learnt(seconds: readonly number[], { host = 'a', generation = 1, known = NEW_STARTS } = {}): StartTimes {
  return seconds.reduce((starts, each) => learnStart(starts, { seconds: each, host, generation }, anywhere), known);
}

t.test('nothing seen: five seconds are assumed', async (t) => {
  t.strictSame(startAhead(NEW_STARTS, 3), { seconds: START_SECONDS, kind: 'assumed', seen: 0 });
});

t.test('a start on a host that is new to the component is cold, the next ones there are warm', async (t) => {
  let starts = learnt([30, 0.3, 0.4]);
  t.strictSame([starts.cold, starts.warm], [[30], [0.3, 0.4]]);
  t.match(startAhead(starts, 1), { kind: 'warm', seen: 2 });
  t.match(startAhead(starts, 2), { kind: 'cold', seen: 1 }, 'there is a host without its image');
  starts = learnt([20], { host: 'b', known: starts });
  t.strictSame(starts.cold, [30, 20]);
  t.equal(startAhead(starts, 2).kind, 'warm');
});

t.test('a host that is gone leaves room for a new one', async (t) => {
  const starts = learnStart(learnt([9]), { seconds: 9, host: 'b', generation: 1 }, (host) => host !== 'a');
  t.strictSame(starts.hosts, ['b']);
  t.equal(startAhead(starts, 2).kind, 'cold');
});

t.test('few starts are taken for more than they were; of many the slowest tenth does not count', async (t) => {
  t.equal(startAhead(learnt([0.3], { known: learnt([1]) }), 1).seconds, 0.6);
  const many = learnt(Array.from({ length: 30 }, (_, i) => (i % 15 === 7 ? 60 : 0.4)));
  const { seconds } = startAhead(many, 1);
  t.ok(seconds < 0.5, `${seconds} s`);
  t.equal(startAhead(learnt(Array(20).fill(0.4), { known: learnt([9, ...Array(20).fill(8)]) }), 1).seconds < 9, true);
});

t.test('of another image the past counts little, and it is on no host yet', async (t) => {
  const old = learnt([20, ...Array.from({ length: 20 }, () => 5)]);
  const fresh = learnt([0.5], { generation: 2, known: old });
  t.strictSame([fresh.hosts, fresh.cold, fresh.warm], [['a'], [20, 0.5], [5, 5]]);
  const { seconds } = startAhead(learnt(Array(20).fill(0.5), { generation: 2, known: fresh }), 1);
  t.ok(seconds < 0.6, `${seconds} s after twenty starts of the new one`);
});

t.test('whatever is seen: within bounds, of bounded size, above nearly all that was seen of late', async () => {
  const start = fc.record({
    seconds: fc.oneof(fc.double(), fc.double({ min: 0, max: 300, noNaN: true })),
    host: fc.constantFrom(...Array.from({ length: 100 }, (_, i) => `h${i}`)),
    generation: fc.nat(2),
  });
  fc.assert(
    fc.property(fc.array(start, { maxLength: 300 }), fc.nat(100), (list, hostCount) => {
      const starts = list.reduce((known, each) => learnStart(known, each, anywhere), NEW_STARTS);
      const { seconds, kind } = startAhead(starts, hostCount);
      const { warm, cold, hosts } = starts;
      const above = (kind === 'cold' ? cold : warm).filter((each) => each > seconds).length;
      return (
        seconds >= 0.2 &&
        seconds <= 120 &&
        above <= 3 &&
        warm.length <= 32 &&
        cold.length <= 32 &&
        hosts.length <= 64 &&
        new Set(hosts).size === hosts.length &&
        (kind !== 'assumed' || warm.length + cold.length === 0)
      );
    }),
  );
});
