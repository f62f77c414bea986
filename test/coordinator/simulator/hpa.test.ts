import fc from 'fast-check';
import t from 'tap';
import {
  HPA_DEFAULTS,
  HPA_START,
  type HpaPod,
  type HpaSpec,
  type HpaState,
  recommendHpa,
  syncHpa,
} from '../../../coordinator/simulator/hpa.js';

const SPEC: HpaSpec = { ...HPA_DEFAULTS, minReplicas: 1, maxReplicas: 100 };
const pod = (cpu: number | null, change: Partial<HpaPod> = {}): HpaPod => ({
  startedAt: 0,
  ready: true,
  readyChangedAt: 1,
  requestCpu: 1,
  metric: cpu === null ? null : { cpu, at: 990, windowSeconds: 15 },
  ...change,
});
const pods = (count: number, cpu: number | null, change?: Partial<HpaPod>) =>
  Array.from({ length: count }, () => pod(cpu, change));
const NOW = 1000;

t.test('the documented formula: ceil(current × metric / target)', async (t) => {
  const spec = { ...SPEC, targetPercent: 100 };
  // "if the current metric value is 200m, and the desired value is 100m, the number of replicas will be doubled"
  t.equal(recommendHpa(spec, pods(3, 0.2, { requestCpu: 0.1 }), 3, NOW), 6);
  // "if the current value is instead 50m, you'll halve the number of replicas"
  t.equal(recommendHpa(spec, pods(4, 0.05, { requestCpu: 0.1 }), 4, NOW), 2);
  // The walkthrough: 305 % of a request against 50 % turn one replica into seven.
  t.equal(recommendHpa({ ...SPEC, targetPercent: 50 }, pods(1, 0.61, { requestCpu: 0.2 }), 1, NOW), 7);
});

t.test('"skips any scaling action if the ratio is sufficiently close to 1.0", 0.1 by default', async (t) => {
  t.equal(recommendHpa(SPEC, pods(10, 0.88), 10, NOW), 10);
  t.equal(recommendHpa(SPEC, pods(10, 0.89), 10, NOW), 12);
  t.equal(recommendHpa(SPEC, pods(10, 0.72), 10, NOW), 10);
  t.equal(recommendHpa(SPEC, pods(10, 0.71), 10, NOW), 9);
});

t.test('pods without metrics count as 100 % on the way down and as 0 % on the way up', async (t) => {
  // Down: (2 × 0.2 + 1) / 3 = 46 % of 80 %.
  t.equal(recommendHpa(SPEC, [...pods(2, 0.2), pod(null)], 3, NOW), 2);
  // Up: 2 × 1.6 / 3 = 106 % of 80 %: 1.325 × 3.
  t.equal(recommendHpa(SPEC, [...pods(2, 1.6), pod(null)], 3, NOW), 4);
  // What is missing would turn the direction: nothing happens.
  t.equal(recommendHpa(SPEC, [...pods(2, 1), ...pods(3, null)], 5, NOW), 5);
});

t.test('pods that are not ready count as 0 % on the way up and not at all on the way down', async (t) => {
  const unready = pods(2, null, { ready: false, readyChangedAt: null });
  t.equal(recommendHpa(SPEC, [...pods(2, 1.6), ...unready], 4, NOW), 4, '80 % of 80 % of four');
  t.equal(recommendHpa(SPEC, [...pods(2, 0.4), ...unready], 4, NOW), 1);
  t.equal(recommendHpa(SPEC, unready, 2, NOW), 2, 'nothing is known: the present count stays');
});

t.test('just started, a use counts only after a whole window while ready', async (t) => {
  const young = { startedAt: 900, readyChangedAt: 980 };
  t.equal(recommendHpa(SPEC, [...pods(2, 1.6), ...pods(2, 1.6, young)], 4, NOW), 4);
  t.equal(recommendHpa(SPEC, [...pods(2, 1.6), ...pods(2, 1.6, { ...young, readyChangedAt: 970 })], 4, NOW), 8);
  const old = { startedAt: 0, ready: false, readyChangedAt: 500 };
  t.equal(recommendHpa(SPEC, [...pods(2, 1.6), ...pods(2, 1.6, old)], 4, NOW), 8, 'was ready once');
});

/** Runs syncs 15 s apart with this use of each pod. */
function play(spec: HpaSpec, start: number, use: (second: number, count: number) => number, seconds: number): number[] {
  let state: HpaState = HPA_START;
  let count = start;
  const counts: number[] = [];
  for (let now = 0; now <= seconds; now += 15) {
    const each = pods(count, use(now, count), { startedAt: -1000, readyChangedAt: -900 });
    ({ replicas: count, state } = syncHpa(spec, state, each, count, now));
    counts.push(count);
  }
  return counts;
}

t.test('up: at once, by the larger of four pods and 100 % each 15 s', async (t) => {
  t.strictSame(
    play(SPEC, 1, () => 80, 75),
    [5, 10, 20, 40, 80, 100],
  );
});

t.test('down: 300 s after the last high recommendation, and then all at once', async (t) => {
  const counts = play(SPEC, 10, (now, count) => ((now === 0 ? 10 : 1) * 0.8) / count, 330);
  t.strictSame(counts.slice(0, 20), Array(20).fill(10));
  t.strictSame(counts.slice(20), [1, 1, 1]);
});

t.test(
  'documented policies: 4 pods and 10 % a minute shrink 80 replicas by ten per cent, and few by four',
  async (t) => {
    const down: HpaSpec['down'] = {
      stabilisationSeconds: 0,
      policies: [
        { kind: 'pods', value: 4, periodSeconds: 60 },
        { kind: 'percent', value: 10, periodSeconds: 60 },
      ],
      select: 'max',
    };
    const counts = play({ ...SPEC, down }, 80, () => 0.001, 60 * 20);
    // "When the number of replicas is more than 40 the second policy will be used … 80 to 72, then 64.8 → 64"
    t.strictSame([counts[0], counts[4], counts[8]], [72, 64, 57]);
    const small = play({ ...SPEC, down }, 20, () => 0.001, 60);
    t.strictSame([small[0], small[3], small[4]], [16, 16, 12]);
    t.strictSame(
      play({ ...SPEC, down: { ...down, select: 'disabled' } }, 20, () => 0.001, 60),
      Array(5).fill(20),
    );
  },
);

t.test('stays within its bounds, and holds under a use at the target', async () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 100 }),
      fc.array(fc.double({ min: 0, max: 3, noNaN: true }), { minLength: 1, maxLength: 40 }),
      (start, uses) => {
        const counts = play(SPEC, start, (now) => uses[(now / 15) % uses.length] ?? 0, 15 * uses.length);
        const still = play(SPEC, start, () => 0.8, 600);
        return counts.every((each) => each >= 1 && each <= 100) && still.every((each) => each === start);
      },
    ),
  );
});
