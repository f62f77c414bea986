import t from 'tap';
import { combine } from '../../../../coordinator/brain/forecast/combine.js';
import { randomFrom } from '../../../../coordinator/brain/forecast/random.js';
import { KINDS, workload } from './workloads.js';

const LEVELS = [0.8, 0.95];
const DAYS = 21;
const ORIGINS = 2;
/** Seconds of a step and of the horizon. */
const CASES = [
  { stepSeconds: 900, seconds: 3_600 },
  { stepSeconds: 900, seconds: 21_600 },
  { stepSeconds: 3_600, seconds: 86_400 },
];
const SEEDS = [1, 2, 3];

interface Seen {
  values: number;
  ours: number;
  /** By the last value, that of a day and of a week ago. */
  simple: [number, number, number];
  within: number[];
}

t.test('workloads of many kinds: intervals hold what they say, and nothing simple is much better', async (t) => {
  const all: Seen[] = KINDS.map((kind) => {
    const seen: Seen = { values: 0, ours: 0, simple: [0, 0, 0], within: [0, 0] };
    for (const { stepSeconds, seconds } of CASES) {
      for (const seed of SEEDS) {
        const values = workload(kind, seed, stepSeconds, DAYS + 7);
        const random = randomFrom(seed);
        for (let i = 0; i < ORIGINS; i++) {
          const past = Math.floor(((DAYS + 5 * random()) * 86_400) / stepSeconds);
          look(values.slice(0, past), values.slice(past, past + seconds / stepSeconds), stepSeconds, seen);
        }
      }
    }
    const best = Math.min(...seen.simple);
    t.ok(seen.ours < 1.15 * best, `${kind}: error ${(seen.ours / best).toFixed(3)} of the best simple forecast's`);
    const [narrow = 0, wide = 0] = seen.within.map((within) => within / seen.values);
    // Errors of one forecast come together, and there are few of each kind.
    t.ok(narrow > 0.65 && narrow < 0.99, `${kind}: ${(100 * narrow).toFixed(1)} % within 80 %`);
    t.ok(wide > 0.85, `${kind}: ${(100 * wide).toFixed(1)} % within 95 %`);
    return seen;
  });
  const share = (level: number) =>
    all.reduce((sum, { within, values }) => sum + (within[level] as number) / values, 0) / all.length;
  t.ok(Math.abs(share(0) - 0.8) < 0.04, `${(100 * share(0)).toFixed(1)} % within 80 %`);
  t.ok(Math.abs(share(1) - 0.95) < 0.03, `${(100 * share(1)).toFixed(1)} % within 95 %`);
});

function look(
  past: readonly (number | null)[],
  future: readonly (number | null)[],
  stepSeconds: number,
  seen: Seen,
): void {
  const { mean, intervals } = combine(past, future.length, { levels: LEVELS, stepSeconds });
  const day = 86_400 / stepSeconds;
  const last = past.findLast((value) => value !== null) ?? 0;
  for (const [h, value] of future.entries()) {
    if (value === null) continue;
    seen.values += 1;
    seen.ours += Math.abs(value - (mean[h] as number));
    for (const [i, length] of [1, day, 7 * day].entries()) {
      const ago = past[past.length - length + (h % length)] ?? last;
      seen.simple[i] = (seen.simple[i] as number) + Math.abs(value - ago);
    }
    for (const [i, { lower, upper }] of intervals.entries()) {
      const isWithin = value >= (lower[h] as number) && value <= (upper[h] as number);
      seen.within[i] = (seen.within[i] as number) + (isWithin ? 1 : 0);
    }
  }
}
