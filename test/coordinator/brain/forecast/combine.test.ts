import fc from 'fast-check';
import t from 'tap';
import { naiveScale, symmetricError } from '../../../../coordinator/brain/forecast/accuracy.js';
import { continueByAnalogy } from '../../../../coordinator/brain/forecast/analogue.js';
import { anchored } from '../../../../coordinator/brain/forecast/anchor.js';
import {
  affordableLags,
  continueAutoregression,
  fitAutoregression,
  lagsOf,
} from '../../../../coordinator/brain/forecast/autoregression.js';
import { chooseOrigins, replay } from '../../../../coordinator/brain/forecast/backtest.js';
import { calendarOf } from '../../../../coordinator/brain/forecast/calendar.js';
import { calibrate } from '../../../../coordinator/brain/forecast/calibrate.js';
import { cleaned } from '../../../../coordinator/brain/forecast/clean.js';
import { combine } from '../../../../coordinator/brain/forecast/combine.js';
import { naive } from '../../../../coordinator/brain/forecast/methods.js';
import { fitProfile, movingMean } from '../../../../coordinator/brain/forecast/profile.js';
import { normalFrom, randomFrom, studentQuantile } from '../../../../coordinator/brain/forecast/random.js';
import { proposeSeasons } from '../../../../coordinator/brain/forecast/seasons.js';

/** Hours of a service: a day, a quiet weekend, noise. */
function hours(count: number, seed = 1, noise = 3): number[] {
  const random = randomFrom(seed);
  return Array.from({ length: count }, (_, i) => {
    const day = 100 - 60 * Math.cos((2 * Math.PI * i) / 24);
    return day * (Math.floor(i / 24) % 7 >= 5 ? 0.5 : 1) + noise * normalFrom(random);
  });
}

t.test('the autoregression finds the coefficients that made the values, also far from zero', async (t) => {
  const random = randomFrom(5);
  const values = [1e6, 1e6];
  for (let i = 2; i < 4_000; i++) {
    const [a = 0, b = 0] = [values[i - 1], values[i - 2]];
    values.push(1e6 + 0.6 * (a - 1e6) + 0.3 * (b - 1e6) + normalFrom(random));
  }
  const { coefficients } = fitAutoregression(values, [1, 2]);
  t.ok(Math.abs((coefficients[0] ?? 0) - 0.6) < 0.05, `${coefficients}`);
  t.ok(Math.abs((coefficients[1] ?? 0) - 0.3) < 0.05, `${coefficients}`);
  const line = Array.from({ length: 50 }, (_, i) => 3 + 2 * i);
  const straight = fitAutoregression(line, [1]);
  t.ok(Math.abs((continueAutoregression(straight, line, 1)[0] ?? 0) - 103) < 0.1);
  const kept = continueAutoregression({ lags: [1], coefficients: [3], constant: 0 }, [1], 5, [0, 10]);
  t.strictSame(kept, [3, 9, 10, 10, 10]);
});

t.test('lags are those about a season ago, as many as the values can teach', async (t) => {
  t.strictSame(lagsOf([24, 168]), [1, 24, 25, 23, 168, 169, 167, 2, 3, 48]);
  t.strictSame(lagsOf([]), [1, 2, 3]);
  t.strictSame(affordableLags([1, 24, 25], 30), [1]);
  t.strictSame(affordableLags([1, 24, 25], 34), [1, 24]);
  t.strictSame(affordableLags([1], 3), []);
});

t.test('a profile gives the course of the cycle about its level', async (t) => {
  const values = Array.from({ length: 60 }, (_, i) => 10 + 3 - 3 * (i % 3) + (i > 30 ? 50 : 0));
  const offsets = fitProfile(values, 3, 3, (i) => i % 3);
  for (const [place, wanted] of [3, 0, -3].entries())
    t.ok(Math.abs((offsets[place] ?? 0) - wanted) < 1.5, `${offsets}`);
  t.strictSame(movingMean([1, 2, 3, 4, 5], 3), [2, 2, 3, 4, 4]);
});

t.test('days alike: what followed the day most like the last one, at its level', async (t) => {
  const shapes = { a: [1, 5, 2, 0], b: [4, 1, 1, 3] };
  const values = ['a', 'b', 'a', 'b', 'a', 'b', 'a'].flatMap((name) => shapes[name as 'a' | 'b']);
  const next = continueByAnalogy(values, 4, [4]) ?? [];
  for (const [h, wanted] of shapes.b.entries()) t.ok(Math.abs((next[h] ?? 0) - wanted) < 0.5, `${next}`);
  t.equal(continueByAnalogy([1, 2, 3], 4, [4]), null);
});

t.test('seasons: a day and a week are found, with gaps, noise and trend; noise and constants have none', async (t) => {
  const gappy = hours(700).map((value, i) => (i % 31 === 3 ? null : value + 0.1 * i));
  t.strictSame(proposeSeasons(gappy), [24, 168]);
  t.strictSame(proposeSeasons(Array.from({ length: 300 }, (_, i) => Math.sin((2 * Math.PI * i) / 12))), [12]);
  t.strictSame(proposeSeasons(new Array(100).fill(5)), []);
  t.strictSame(proposeSeasons([1, 2]), []);
  // Broad hills: their tops stand still although long lags have fewer pairs.
  const quarters = Array.from({ length: 900 }, (_, i) => 5 + Math.sin((2 * Math.PI * i) / 96) + 0.01 * (i % 7));
  t.strictSame(proposeSeasons(quarters).slice(0, 1), [96]);
  t.strictSame(proposeSeasons(quarters, { stepSeconds: 900 }).slice(0, 1), [96]);
  const random = randomFrom(3);
  let walk = 0;
  t.strictSame(proposeSeasons(Array.from({ length: 500 }, () => normalFrom(random))), []);
  t.strictSame(proposeSeasons(Array.from({ length: 500 }, () => (walk += normalFrom(random)))).length <= 1, true);
});

t.test(
  'cleaning fills gaps by the season and takes out lone spikes, not events, shifts or what is newest',
  async (t) => {
    const values = hours(340, 2, 0.5);
    const broken: (number | null)[] = values.slice();
    broken.fill(null, 100, 112);
    broken[200] = 5_000;
    broken.fill(900, 250, 262);
    broken[339] = 5_000;
    const { values: clean, settled } = cleaned(broken, [24]);
    for (let i = 100; i < 112; i++) t.ok(Math.abs((clean[i] ?? 0) - (values[i] ?? 0)) < 70, `gap at ${i}`);
    t.ok((clean[200] ?? 0) < 300, 'a spike');
    t.equal(clean[255], 900, 'an event');
    t.equal(clean[339], 5_000, 'the newest value');
    t.equal(settled, null, 'with a season');
    const flat = [...Array.from({ length: 50 }, (_, i) => 10 + (i % 7)), 5_000];
    t.equal(cleaned(flat, []).values[50], 5_000);
    t.ok((cleaned(flat, []).settled?.[50] ?? 0) < 20, 'which may be over at once');
    t.equal(cleaned([...flat, 5_000, 5_000, 5_000], []).settled, null, 'four of them are a shift');
    t.equal(cleaned(flat.slice(0, 50), []).settled, null);
    t.ok(clean.every(Number.isFinite));
  },
);

t.test('after a jump of the newest values forecasts stay between both levels, and intervals hold both', async (t) => {
  const random = randomFrom(8);
  const values = [...Array.from({ length: 100 }, () => 1 + 0.1 * random()), 1e6];
  const { mean, intervals } = combine(values, 5, { levels: [0.8, 0.95] });
  t.ok(
    mean.every((each) => each >= 1 && each <= 1e6),
    `${mean}`,
  );
  for (const { lower, upper } of intervals) {
    t.ok(
      lower.every((each) => each < 1.1),
      `${lower}`,
    );
    t.ok(
      upper.every((each) => each >= 1e6),
      `${upper}`,
    );
  }
});

t.test('nothing is left of zero but zero', async (t) => {
  const { mean } = combine(
    Array.from({ length: 300 }, (_, i) => i % 2),
    4,
    { seasons: [24] },
  );
  t.strictSame(
    mean.map((each) => each === 0),
    [true, false, true, false],
    `${mean}`,
  );
});

t.test('the backtest knows nothing of what came after', async (t) => {
  const origins = chooseOrigins(100, 10, 50);
  t.strictSame(origins, { counts: [50, 55, 60, 65, 70, 75, 80, 85, 90], steps: 10 });
  t.strictSame(chooseOrigins(40, 10, 50), { counts: [], steps: 0 });
  t.strictSame(chooseOrigins(54, 10, 50), { counts: [50], steps: 4 });
  const values = hours(100);
  const told = replay(naive(24), values, origins);
  const changed = values.map((value, i) => (i < 50 ? value : -1));
  t.strictSame(replay(naive(24), changed, origins)?.[0], told?.[0]);
  t.strictSame(told?.[0], values.slice(26, 36));
});

t.test(
  'origins: some just now, others at the same time of earlier days, or far back where there is no season',
  async (t) => {
    const daily = chooseOrigins(1_000, 2, 100, 96).counts;
    t.strictSame(daily.slice(-8), [991, 992, 993, 994, 995, 996, 997, 998]);
    t.strictSame(daily.slice(0, 3), [134, 230, 326]);
    t.ok(daily.slice(0, -8).every((count) => (998 - count) % 96 === 0));
    const plain = chooseOrigins(1_000, 2, 100).counts;
    t.equal(plain.length, 24);
    t.ok((plain[0] as number) < 120);
  },
);

t.test('a simple forecast takes over where the combination lately did worse, at those steps only', async (t) => {
  const known = Array.from({ length: 60 }, () => 10);
  const origins = { counts: [40, 44, 48, 52], steps: 8 };
  const trials = origins.counts.map(() => [10, 10, 10, 10, 10, 14, 14, 14]);
  const combination = { points: [10, 10, 10, 10, 10, 14, 14, 14, 14], trials };
  const far = { points: new Array(9).fill(11), trials: origins.counts.map(() => new Array(8).fill(11)) };
  const { points, shares } = anchored(combination, [far], known, origins, 1e-9);
  t.ok(Math.abs((points[0] as number) - 10) < 0.01, `${points}`);
  t.ok(Math.abs((points[8] as number) - 11) < 0.05, `${points}`);
  t.ok(Math.abs(shares.reduce((sum, each) => sum + each, 0) - 1) < 1e-9);
  t.strictSame(anchored(combination, [far], known, { counts: [], steps: 0 }, 0).points, combination.points);
});

t.test('no trial is judged by another one that forecasts the same values', async (t) => {
  const known = Array.from({ length: 80 }, () => 10);
  const origins = { counts: [40, 41, 42, 60], steps: 4 };
  const all = (...values: number[]) => values.map((value) => [value, value, value, value]);
  const combination = { points: [11, 11, 11, 11], trials: all(11, 11, 11, 11) };
  // By luck exact in three trials of the same moment, and worse at the other one.
  const simple = { points: [10, 10, 10, 10], trials: all(10, 10, 10, 12) };
  const { trials } = anchored(combination, [simple], known, origins, 1e-9);
  for (const at of [0, 1, 2]) t.ok((trials[at]?.[0] ?? 0) > 10.9, `${trials[at]}`);
  t.ok(Math.abs((trials[3]?.[0] ?? 0) - 12) < 0.01, 'which goes by those three');
});

t.test('the calendar keeps weekdays and weekends apart, in UTC', async (t) => {
  const friday = Date.parse('2026-01-02T22:00:00Z') / 1_000;
  const calendar = calendarOf([24], 0, { startSeconds: friday, stepSeconds: 3_600 });
  t.strictSame(
    [0, 1, 2, 3, 50].map((i) => calendar?.placeOf(i)),
    [22, 23, 24, 25, 0],
  );
  t.equal(calendarOf([24], 0, {}), null);
  t.equal(calendarOf([7], 0, { startSeconds: friday, stepSeconds: 3_600 }), null);
});

t.test('intervals hold the share of past errors that they are asked for, and grow with them', async (t) => {
  const random = randomFrom(9);
  const counts = Array.from({ length: 16 }, (_, i) => 100 + 20 * i);
  const known = Array.from({ length: 420 }, () => normalFrom(random));
  const trials = counts.map(() => new Array<number>(20).fill(0));
  const around = (values: readonly number[]) =>
    calibrate(new Array(30).fill(0), trials, values, { counts, steps: 20 }, [0.8, 0.95], -99);
  const { intervals, error } = around(known);
  const [narrow, wide] = intervals;
  t.ok(Math.abs((narrow?.upper[10] ?? 0) - 1.33) < 0.25 && Math.abs((wide?.upper[10] ?? 0) - 2.1) < 0.35);
  t.ok((narrow?.upper[29] ?? 0) > (narrow?.upper[19] ?? 0), 'beyond what was tried they go on growing');
  t.ok(error !== null && Math.abs(error - 0.8) < 0.15);
  t.strictSame(calibrate([1, 1], [], [1, 1, 1], { counts: [], steps: 0 }, [0.8], 0).intervals[0]?.upper, [1, 1]);
  const alike = known.map((_, i) => known[i % 20] as number);
  const rising = alike.map((value, i) => (i >= 360 ? 3 * value : value));
  const falling = alike.map((value, i) => (i < 160 ? 3 * value : value));
  const [late, early] = [rising, falling].map((values) => around(values).intervals[1]?.upper[10] ?? 0) as [
    number,
    number,
  ];
  t.ok(late > 1.15 * early, `errors that grew lately count more than old ones: ${late} and ${early}`);
});

t.test("Student's t", async (t) => {
  const table: [share: number, degrees: number, quantile: number][] = [
    [0.9, 2, 1.886],
    [0.975, 2, 4.303],
    [0.975, 8, 2.306],
    [0.9, 8, 1.397],
    [0.995, 10, 3.169],
    [0.025, 8, -2.306],
  ];
  for (const [share, degrees, wanted] of table) {
    const found = studentQuantile(share, degrees);
    t.ok(Math.abs(found / wanted - 1) < 0.01, `${share} with ${degrees}: ${found}, not ${wanted}`);
  }
});

t.test('a week of hours is forecast far better than by the day before; weights are shares', async (t) => {
  const values = hours(840);
  // Saturday and Sunday are to come, which the day before knows nothing of.
  const [past, actual] = [values.slice(0, 792), values.slice(792)];
  const found = combine(past, 48, { levels: [0.8, 0.95] });
  t.strictSame(found.seasons, [24, 168]);
  const naiveError = symmetricError(
    actual,
    actual.map((_, h) => past[768 + (h % 24)] as number),
  );
  t.ok(symmetricError(actual, found.mean) < 0.5 * naiveError);
  t.ok(Math.abs(found.members.reduce((sum, { weight }) => sum + weight, 0) - 1) < 1e-9);
  t.match(found.model, /combination of \d+, seasons 24 and 168/);
  t.ok(found.backtest.counts.length > 8);
  const [narrow, wide] = found.intervals;
  t.ok(found.mean.every((_, h) => (wide?.lower[h] ?? 0) <= (narrow?.lower[h] ?? 0)));
  t.ok(naiveScale(past, 24) > 0);
});

t.test('outliers, gaps, a shift of level and an unfinished end are borne', async (t) => {
  const values: (number | null)[] = hours(748, 4).map((value, i) => (i < 500 ? value : value + 200));
  const actual = values.slice(700).map((value) => value as number);
  const past = values.slice(0, 700);
  past[650] = 9e5;
  past.fill(null, 300, 320);
  const found = combine(past, 48);
  t.ok(symmetricError(actual, found.mean) < 15, `${symmetricError(actual, found.mean)} %`);
  const cut = combine([...past.slice(0, 690), ...new Array<null>(10).fill(null)], 48);
  t.equal(cut.mean.length, 48);
  t.ok(symmetricError(actual, cut.mean) < 20, `${symmetricError(actual, cut.mean)} %`);
});

t.test('what cannot be forecast is refused with the reason', async (t) => {
  t.throws(() => combine([], 3), /too few values: 0 known, and 3 are needed/);
  t.throws(() => combine([1, null, 2], 3), /too few values/);
  t.throws(() => combine([1, 2, Number.NaN], 3), /finite/);
  t.throws(() => combine([1, 2, 3], 3, { seasons: [24] }), /a season of 24 steps needs 48 values, and there are 3/);
  t.throws(() => combine(hours(100), 3, { seasons: [24, 12] }), /shortest first/);
  t.throws(() => combine(hours(100), 3, { seasons: [2, 4, 8] }), /at most two/);
});

t.test('any values give finite forecasts within their intervals, not negative, the same each time', async () => {
  const value = fc.oneof(
    { weight: 6, arbitrary: fc.double({ min: 0, max: 1e6, noNaN: true }) },
    { weight: 1, arbitrary: fc.constant(null) },
  );
  fc.assert(
    fc.property(
      fc
        .array(value, { minLength: 3, maxLength: 80 })
        .filter((list) => list.filter((each) => each !== null).length > 2),
      fc.integer({ min: 1, max: 20 }),
      (values, steps) => {
        const once = combine(values, steps, { levels: [0.8] });
        const twice = combine(values, steps, { levels: [0.8] });
        const [interval] = once.intervals;
        return (
          once.mean.length === steps &&
          once.mean.every((mean, h) => {
            const [lower, upper] = [interval?.lower[h] ?? Number.NaN, interval?.upper[h] ?? Number.NaN];
            return mean >= 0 && Number.isFinite(mean) && lower >= 0 && lower <= mean && mean <= upper;
          }) &&
          JSON.stringify(once) === JSON.stringify(twice)
        );
      },
    ),
    { numRuns: 40 },
  );
});

t.test('another unit gives the same forecast in that unit', async (t) => {
  const values = hours(120, 8);
  const plain = combine(values, 6).mean;
  for (const unit of [0.001, 7, 1e6]) {
    const inUnit = values.map((value) => value * unit);
    const other = combine(inUnit, 6).mean;
    t.ok(
      plain.every((mean, h) => Math.abs((other[h] as number) / unit - mean) < 0.02 * mean),
      `in units of ${unit}`,
    );
  }
});
