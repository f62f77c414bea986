import assert from 'node:assert/strict';
import fc from 'fast-check';
import t from 'tap';
import { changeOf, isOnlyRecords, withChange } from '../../protocol/desired-change.js';
import type { Desired } from '../../protocol/link.js';

const size = { cpu: 1, memory: 1 };
const instance = fc.record({
  id: fc.integer({ min: 0, max: 9 }).map((number) => `a-b-${number}`),
  app: fc.constant('a'),
  component: fc.constant('b'),
  size: fc.constant(size),
  draining: fc.boolean(),
});
const owners = fc.array(fc.constantFrom('a-b-1', null), { minLength: 64, maxLength: 64 });
const desired = fc.record({
  apps: fc.dictionary(fc.constantFrom('a', 'b', 'c'), fc.dictionary(fc.constantFrom('x', 'y'), fc.constant({}))),
  instances: fc.uniqueArray(instance, { selector: ({ id }) => id }),
  warm: fc.array(
    fc.record({ app: fc.constant('a'), component: fc.constant('b'), count: fc.nat(3), size: fc.constant(size) }),
  ),
  shards: fc.dictionary(fc.constantFrom('a/x', 'a/y'), fc.record({ epoch: fc.nat(3), owners })),
  elsewhere: fc.array(fc.record({ host: fc.constantFrom('h1', 'h2'), address: fc.constantFrom(null, '10.0.0.1:1') })),
});

function revised(part: unknown, revision: number): Desired {
  // As it comes from the wire: plain objects.
  return { ...(JSON.parse(JSON.stringify(part)) as Omit<Desired, 'revision'>), revision };
}

/** Without the order of what has none. */
function sorted({ instances, warm = [], elsewhere = [], ...rest }: Desired) {
  return { ...rest, warm, elsewhere, instances: instances.toSorted((a, b) => (a.id < b.id ? -1 : 1)) };
}

t.test('a change makes the later state of the earlier one, once; of another one nothing', async () => {
  fc.assert(
    fc.property(desired, desired, (first, second) => {
      const [before, after] = [revised(first, 3), revised(second, 8)];
      const change = changeOf(before, after);
      const made = withChange(before, change);
      assert.deepEqual(made === null ? null : sorted(made), sorted(after));
      assert.equal(made === null ? null : withChange(made, change), made, 'again: nothing');
      assert.equal(withChange(revised(first, 4), change), null);
    }),
    { numRuns: 200 },
  );
});

t.test('what did not change is not said', async () => {
  fc.assert(
    fc.property(desired, (part) => {
      assert.deepEqual(changeOf(revised(part, 1), revised(part, 2)), { from: 1, revision: 2 });
    }),
    { numRuns: 50 },
  );
});

t.test(
  'a change of records alone is known as one; any other part, another state shard, or one less is more than that',
  async () => {
    const record = (epoch: number) => ({ epoch, phase: 'serving' as const, owner: null, inSync: ['h1'], joining: [] });
    const copies = { 'a/x/0': record(1), 'a/x/1': record(1) };
    fc.assert(
      fc.property(desired, desired, (first, second) => {
        const before = revised({ ...first, copies }, 3);
        const changed = (part: unknown, now: Desired['copies']) => {
          const change = changeOf(before, revised({ ...(part as object), copies: now }, 8));
          const after = withChange(before, change);
          assert(after !== null);
          return isOnlyRecords(before, after);
        };
        const later = { ...copies, 'a/x/1': record(2) };
        const isWhole = before.warm?.length !== 0 && before.elsewhere?.length !== 0;
        assert.equal(changed(first, later), isWhole, 'an empty list that is left out counts as changed, once');
        assert.equal(changed(first, { ...copies, 'a/x/2': record(2) }), false);
        assert.equal(changed(first, { 'a/x/0': record(1) }), false);
        const isSame = Object.keys(changeOf(revised(first, 3), revised(second, 8))).length === 2;
        if (!isSame) assert.equal(changed(second, later), false);
      }),
      { numRuns: 100 },
    );
  },
);
