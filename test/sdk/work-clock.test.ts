import fc from 'fast-check';
import t from 'tap';
import { type Work, WorkClock } from '../../sdk/work-clock.js';

/** A loop that works for so long as it is told to. */
class Loop {
  activeMs = 5;
  readonly clock = new WorkClock(() => this.activeMs);
  works = (ms: number) => {
    this.activeMs += ms;
  };
}

t.test('a turn is its call’s alone, whoever else is under way', async (t) => {
  const { clock, works } = new Loop();
  const waiting = clock.begin();
  waiting.turn(() => undefined);
  const working = clock.begin();
  working.turn(() => works(30));
  t.equal(working.end(), 30);
  t.equal(waiting.end(), 0);
});

t.test('what follows a wait is shared by those under way; time without any is nobody’s', async (t) => {
  const { clock, works } = new Loop();
  works(100);
  const a = clock.begin();
  works(4);
  const b = clock.begin();
  works(10);
  t.equal(a.end(), 9);
  works(3);
  t.equal(b.end(), 8);
  works(100);
  t.equal(clock.begin().end(), 0);
});

t.test('a turn that throws is over', async (t) => {
  const { clock, works } = new Loop();
  const call = clock.begin();
  const failing = () => {
    works(2);
    throw new Error('no');
  };
  t.throws(() => call.turn(failing), /no/);
  const other = clock.begin();
  works(2);
  t.same([call.end(), other.end()], [3, 1]);
});

t.test('all work while calls are under way is split among them, and nothing twice', async () => {
  const step = fc.record({
    kind: fc.constantFrom('begin', 'turn', 'work', 'end'),
    which: fc.nat(9),
    ms: fc.integer({ min: 0, max: 50 }),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const { clock, works } = new Loop();
      const underWay: Work[] = [];
      let done = 0;
      let split = 0;
      for (const { kind, which, ms } of steps) {
        const work = underWay[which % Math.max(1, underWay.length)];
        if (kind === 'begin') underWay.push(clock.begin());
        else if (kind === 'work') works(ms);
        else if (work !== undefined && kind === 'turn') work.turn(() => works(ms));
        else if (work !== undefined) split += underWay.splice(underWay.indexOf(work), 1)[0]?.end() ?? 0;
        if (kind === 'turn' ? work !== undefined : kind === 'work' && underWay.length > 0) done += ms;
      }
      for (const work of underWay) split += work.end();
      return Math.abs(done - split) < 1e-6;
    }),
  );
});
