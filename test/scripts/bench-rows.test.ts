import t from 'tap';
import { comparePairs } from '../../scripts/lib/bench/rows.js';

t.test('samples that belong together: the median of their ratios, whatever both drift by', async (t) => {
  const theirs = Array.from({ length: 21 }, (_, i) => 100 * 2 ** i);
  // One in seven is far off.
  const ours = theirs.map((each, i) => each * (i % 7 === 0 ? 3 : 0.98 + 0.001 * (i % 5)));
  const { ratio, spread = [0, 0] } = comparePairs('work', '1/s', ours, 'without', theirs);
  t.ok(ratio > 0.979 && ratio < 0.986, `${ratio}`);
  t.ok(spread[0] >= 0.98 && spread[1] <= 0.99 && spread[0] <= ratio && ratio <= spread[1], `${spread}`);
  const few = comparePairs('work', '1/s', [1, 2], 'without', [1, 1]);
  t.same(few.spread, [1, 2], 'two say little');
});
