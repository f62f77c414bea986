import fc from 'fast-check';
import t from 'tap';
import { apply, type KeyAnswer, type KeyCall, REGISTER } from '../../../../scripts/lib/state/key-calls.js';
import { isLinearizable, type RecordedCall } from '../../../../scripts/lib/state/linearizable.js';

type Recorded = RecordedCall<KeyCall, KeyAnswer>;

const NEVER = Number.POSITIVE_INFINITY;
const call = (beganAt: number, endedAt: number, input: KeyCall, output: KeyAnswer = null): Recorded => {
  return { beganAt, endedAt, input, output };
};
const get = (began: number, ended: number, output: KeyAnswer) => call(began, ended, { do: 'get' }, output);
const set = (began: number, ended: number, value: number, was: KeyAnswer = null) => {
  return call(began, ended, { do: 'set', value }, was);
};
const add = (began: number, ended: number, value: number, sum: KeyAnswer) =>
  call(began, ended, { do: 'add', value }, sum);
const holds = (...history: Recorded[]) => isLinearizable(history, REGISTER);

t.test('histories that one copy could have had', async (t) => {
  t.ok(holds(), 'nothing');
  t.ok(holds(set(0, 10, 1), get(11, 12, 1)), 'one after the other');
  t.ok(holds(set(0, 10, 1), get(1, 2, null), get(3, 4, 1)), 'a write takes effect while reads go on');
  t.ok(holds(add(0, 10, 1, 2), add(0, 10, 1, 1)), 'both at once, in either order');
  t.ok(holds(set(0, NEVER, 1), get(50, 51, null), get(60, 61, 1)), 'an open write is done late');
  t.ok(holds(set(0, NEVER, 1), get(50, 51, null)), 'an open write is never done');
});

t.test('broken histories', async (t) => {
  t.notOk(holds(set(0, 10, 1), get(11, 12, null)), 'an acknowledged write is lost');
  t.notOk(holds(set(0, 10, 1), get(1, 2, 1), get(3, 4, null)), 'a read goes back');
  t.notOk(holds(add(0, 10, 1, 1), add(11, 20, 1, 1)), 'two that know nothing of each other');
  t.notOk(holds(add(0, 10, 1, 1), get(20, 21, 2)), 'applied twice');
  t.notOk(holds(set(5, NEVER, 1), get(1, 2, 1)), 'read before it was written');
  t.notOk(holds(set(0, NEVER, 1), get(1, 2, 1), get(3, 4, null)), 'an open write is done and undone');
});

const calls: fc.Arbitrary<KeyCall> = fc.oneof(
  fc.constant<KeyCall>({ do: 'get' }),
  fc.constant<KeyCall>({ do: 'delete' }),
  fc.integer({ min: 1, max: 3 }).map((value): KeyCall => ({ do: 'set', value })),
  fc.integer({ min: 1, max: 3 }).map((value): KeyCall => ({ do: 'add', value })),
);
const spans = fc.record({ call: calls, before: fc.nat(30), after: fc.nat(30), open: fc.boolean() });

/** What one copy would answer, each call done at a moment of its own. */
function trueHistory(given: { call: KeyCall; before: number; after: number; open: boolean }[]): Recorded[] {
  let value: KeyAnswer = null;
  return given.map(({ call: input, before, after, open }, i) => {
    const done = apply(value, input);
    ({ value } = done);
    return call(10 * i - before, open ? NEVER : 10 * i + after, input, done.answer);
  });
}

t.test('what one copy answers is found to be so, in whatever order it was recorded', async () => {
  fc.assert(
    fc.property(fc.array(spans, { maxLength: 12 }), fc.boolean(), (given, turn) => {
      const history = trueHistory(given);
      return isLinearizable(turn ? history.toReversed() : history, REGISTER);
    }),
  );
});

/** By trying all orders. */
function holdsSlowly(history: readonly Recorded[]): boolean {
  const search = (left: readonly Recorded[], value: KeyAnswer): boolean => {
    if (left.every(({ endedAt }) => endedAt === NEVER)) return true;
    const bound = Math.min(...left.map(({ endedAt }) => endedAt));
    return left.some((each) => {
      if (each.beganAt > bound) return false;
      const next = apply(value, each.input);
      if (each.endedAt !== NEVER && next.answer !== each.output) return false;
      return search(
        left.filter((one) => one !== each),
        next.value,
      );
    });
  };
  return search(history, null);
}

t.test('the same verdict as by trying all orders, on true and on broken histories', async (t) => {
  let broken = 0;
  fc.assert(
    fc.property(
      fc.array(spans, { minLength: 1, maxLength: 6 }),
      fc.nat(),
      fc.integer({ min: -1, max: 1 }),
      (given, at, by) => {
        const history = trueHistory(given);
        const bent = history.map((each, i) => {
          return i === at % history.length ? { ...each, output: (each.output ?? 0) + by } : each;
        });
        const expected = holdsSlowly(bent);
        if (!expected) broken += 1;
        return isLinearizable(bent, REGISTER) === expected;
      },
    ),
    { numRuns: 500 },
  );
  t.ok(broken > 30, `${broken} broken histories`);
});
