import fc from 'fast-check';
import t from 'tap';
import { lastKnown, shareOver } from '../../../coordinator/brain/last-known.js';

t.test('answers as the function itself, whatever is asked in turn', async (t) => {
  fc.assert(
    fc.property(fc.array(fc.constantFrom(0, 1, 2, -1, 0.5, Number.POSITIVE_INFINITY, Number.NaN)), (values) => {
      const of = (value: number) => 3 * value + 1;
      const known = lastKnown(of);
      return values.every((value) => Object.is(known(value), of(value)));
    }),
  );
  t.pass();
});

t.test('works out only what is another value than the last', async (t) => {
  const asked: number[] = [];
  const known = lastKnown((value) => asked.push(value));
  for (const value of [1, 1, 2, 2, 1]) known(value);
  t.strictSame(asked, [1, 2, 1]);
});

t.test('a mean over eight seconds moves by the share of an exponential', async (t) => {
  const share = shareOver(8);
  t.equal(share(8), 1 - Math.exp(-1));
  t.equal(share(0), 0);
});
