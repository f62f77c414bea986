import fc from 'fast-check';
import t from 'tap';
import {
  KPA_DEFAULTS,
  KPA_START,
  KPA_TARGETS,
  type KpaSpec,
  type KpaState,
  startKpa,
  tickKpa,
} from '../../../coordinator/simulator/kpa.js';

const SPEC: KpaSpec = { ...KPA_DEFAULTS, targetTotal: KPA_TARGETS.concurrency, minScale: 0, maxScale: 1000 };
const tick = (spec: KpaSpec, state: KpaState, ready: number, stable: number, panic: number, now: number) =>
  tickKpa(spec, state, { readyPods: ready, stable, panic }, ready, now);

t.test('defaults of the documentation', async (t) => {
  t.match(KPA_DEFAULTS, { stableSeconds: 60, panicSeconds: 6, panicThreshold: 2, targetUtilisation: 0.7 });
  t.match(KPA_DEFAULTS, { maxUpRate: 1000, maxDownRate: 2, scaleToZeroSeconds: 30 });
});

t.test('as many pods as 70 % of the target take', async (t) => {
  t.equal(tick(SPEC, KPA_START, 5, 350, 350, 0).pods, 5);
  t.equal(tick(SPEC, KPA_START, 5, 351, 351, 0).pods, 6);
  const rps = { ...SPEC, targetTotal: KPA_TARGETS.rps };
  t.equal(tick(rps, KPA_START, 5, 1400, 1400, 0).pods, 10);
});

t.test('down at most by half, up at most a thousandfold', async (t) => {
  t.equal(tick(SPEC, KPA_START, 10, 1, 1, 0).pods, 5);
  t.equal(tick({ ...SPEC, maxUpRate: 2 }, KPA_START, 3, 7000, 70, 0).pods, 6);
});

t.test(
  'panic at twice the ready pods: goes by the short window and never shrinks until a stable window is calm',
  async (t) => {
    let { pods, state } = tick(SPEC, KPA_START, 2, 140, 280, 100);
    t.equal(pods, 4, 'the panic window wants twice of what is there');
    ({ pods, state } = tick(SPEC, state, 4, 140, 70, 102));
    t.equal(pods, 4);
    ({ pods, state } = tick(SPEC, state, 4, 140, 70, 160));
    t.equal(pods, 4, 'sixty seconds are not over');
    ({ pods, state } = tick(SPEC, state, 4, 140, 70, 162));
    t.equal(pods, 2);
    t.equal(state.panicAt, null);
    t.equal(
      tick(SPEC, KPA_START, 2, 140, 210, 100).pods,
      2,
      'below the threshold nothing but the stable window counts',
    );
  },
);

t.test('the last pod stays for the grace time; without a minimum of zero for ever', async (t) => {
  let { pods, state } = tick(SPEC, KPA_START, 1, 0, 0, 0);
  t.equal(pods, 1);
  ({ pods, state } = tick(SPEC, state, 1, 0, 0, 28));
  t.equal(pods, 1);
  ({ pods, state } = tick(SPEC, state, 1, 0, 0, 30));
  t.equal(pods, 0);
  t.equal(tick({ ...SPEC, minScale: 1 }, state, 1, 0, 0, 90).pods, 1);
});

t.test('after a start it holds what is there; without measurements it changes nothing', async (t) => {
  t.equal(tick(SPEC, startKpa(9, 0), 9, 70, 70, 2).pods, 9);
  t.equal(tickKpa(SPEC, KPA_START, { readyPods: 3, stable: null, panic: null }, 3, 0).pods, 3);
});

t.test('a delay on the way down is the highest of its window', async (t) => {
  const spec = { ...SPEC, scaleDownDelaySeconds: 60 };
  const { state } = tick(spec, KPA_START, 8, 560, 560, 0);
  t.equal(tick(spec, state, 8, 350, 350, 58).pods, 8);
  t.equal(tick(spec, state, 8, 350, 350, 60).pods, 5);
});

t.test('stays within its bounds; in panic never below the highest of it', async () => {
  const load = fc.double({ min: 0, max: 5000, noNaN: true });
  fc.assert(
    fc.property(fc.array(fc.tuple(load, load), { maxLength: 60 }), (loads) => {
      let state = KPA_START;
      let count = 1;
      const spec = { ...SPEC, minScale: 1, maxScale: 40 };
      for (const [i, [stable, panic]] of loads.entries()) {
        const before = count;
        ({ pods: count, state } = tick(spec, state, count, stable, panic, 2 * i));
        if (count < 1 || count > 40) return false;
        if (state.panicAt !== null && count < Math.min(40, state.panicPods)) return false;
        if (count < Math.floor(before / 2)) return false;
      }
      return true;
    }),
  );
});
