import fc from 'fast-check';
import t from 'tap';
import { AccessCounts } from '../../sdk/state/access-counts.js';
import { KeySketch } from '../../sdk/state/key-sketch.js';

const PLACES = 8;

t.test('who has more than its share of all is among the heaviest, and is told no more than there was', async () => {
  const accesses = fc.array(fc.tuple(fc.nat({ max: 40 }), fc.constantFrom('reads', 'writes')), { maxLength: 400 });
  fc.assert(
    fc.property(accesses, (all) => {
      const sketch = new KeySketch(PLACES);
      const true_ = new Map<string, number>();
      for (const [number, kind] of all) {
        // Small numbers come far more often.
        const key = `k${Math.floor(number ** 2 / 40)}`;
        true_.set(key, (true_.get(key) ?? 0) + 1);
        sketch.add(0, 's', key, kind as 'reads' | 'writes', 1);
      }
      const told = new Map(sketch.heaviest().map(({ key, reads, writes }) => [key, reads + writes]));
      const isBounded = told.size <= PLACES;
      const isTrue = [...told].every(([key, count]) => count <= (true_.get(key) ?? 0));
      // Beyond twice its share the possible error, at most one share, is smaller than what was seen.
      const isComplete = [...true_].every(([key, count]) => count <= (2 * all.length) / PLACES || told.has(key));
      return isBounded && isTrue && isComplete;
    }),
  );
});

t.test('state shards are counted exactly; of many accesses keys are drawn by lot and count for as many', async (t) => {
  let nowMs = 0;
  let lot = 1;
  const random = () => {
    lot = Math.imul(lot, 1664525) + 1013904223;
    return (lot >>> 0) / 2 ** 32;
  };
  const counts = new AccessCounts(() => nowMs, random);
  t.equal(counts.read(), undefined, 'nothing was read or written');
  const second = (heavy: number) => {
    for (let i = 0; i < 100_000; i += 1) {
      if (i % 100 < heavy) counts.note(1, 'words', 'the', 'reads');
      else counts.note(2, 'words', `rare ${i}`, 'writes');
    }
    nowMs += 1_000;
    return counts.read();
  };
  t.same(second(30)?.shards, [
    [1, 30_000, 0],
    [2, 0, 70_000],
  ]);
  const before = counts.read()?.keys.find(([, , key]) => key === 'the')?.[3] ?? Number.NaN;
  t.ok(Math.abs(before - 30_000) < 5_000, `${before} of 30000 in the first second, before any rate is known`);
  const after = second(30);
  t.same(after?.shards[0], [1, 60_000, 0]);
  const grown = (after?.keys.find(([, , key]) => key === 'the')?.[3] ?? Number.NaN) - before;
  t.ok(grown % 100 === 0 && Math.abs(grown - 30_000) < 10_000, `${grown} of 30000, by hundreds`);
});

t.test('of a burst few keys are looked at, however sudden it is', async (t) => {
  let drawn = 0;
  const lot = () => {
    drawn += 1;
    return 0.5;
  };
  const counts = new AccessCounts(() => 0, lot);
  for (let i = 0; i < 1_000_000; i += 1) counts.note(1, 's', `key ${i}`, 'reads');
  t.same(counts.read()?.shards, [[1, 1_000_000, 0]]);
  t.ok(drawn < 12_000, `${drawn} of a million`);
});

t.test('a long key is cut', async (t) => {
  const counts = new AccessCounts();
  counts.note(1, 's', 'x'.repeat(500), 'writes');
  t.same(counts.read()?.keys, [[1, 's', `${'x'.repeat(99)}…`, 0, 1]]);
});
