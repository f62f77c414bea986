import fc from 'fast-check';
import t from 'tap';
import { findSeason } from '../../../../coordinator/brain/forecast/season.js';

const wave = (length: number, season: number, noiseAt: (i: number) => number) =>
  Array.from({ length }, (_, i) => 10 + 0.01 * i + 5 * Math.sin((2 * Math.PI * i) / season) + noiseAt(i));

t.test('finds the length of a noisy wave with trend', async () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 8, max: 100 }),
      fc.array(fc.double({ min: -1, max: 1, noNaN: true }), { minLength: 50, maxLength: 50 }),
      (season, noise) => {
        const found = findSeason(wave(season * 5, season, (i) => noise[(i * 31) % 50] ?? 0));
        return found !== null && Math.abs(found.steps - season) <= Math.max(1, season * 0.05);
      },
    ),
    { numRuns: 100 },
  );
});

t.test('takes the day, not the two days that fit as well', async (t) => {
  t.equal(findSeason(wave(24 * 8, 24, () => 0))?.steps, 24);
});

t.test('finds a burst once in a season, with gaps', async (t) => {
  const values = Array.from({ length: 300 }, (_, i) => (i % 7 === 3 ? null : i % 30 < 4 ? 9 : 1));
  t.equal(findSeason(values)?.steps, 30);
});

t.test('finds none where there is none', async (t) => {
  t.equal(findSeason([]), null);
  t.equal(findSeason(Array(100).fill(null)), null);
  t.equal(findSeason(Array(100).fill(0.1)), null, 'constant');
  t.equal(findSeason(Array.from({ length: 100 }, (_, i) => i * 0.3)), null, 'a line');
  t.equal(findSeason(wave(60, 48, () => 0)), null, 'less than two cycles');
  let x = 1;
  const noise = Array.from({ length: 400 }, () => {
    x = (Math.imul(x, 1_103_515_245) + 12_345) >>> 0;
    return x / 2 ** 32;
  });
  t.equal(findSeason(noise), null, 'noise');
});

t.test('any values give a sensible answer', async () => {
  fc.assert(
    fc.property(fc.array(fc.oneof(fc.double(), fc.constant(null)), { maxLength: 80 }), (values) => {
      const found = findSeason(values);
      return found === null || (found.steps >= 4 && found.steps <= 40 && found.strength > 0 && found.strength <= 1);
    }),
    { numRuns: 500 },
  );
});
