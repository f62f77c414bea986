import { isDeepStrictEqual } from 'node:util';
import fc from 'fast-check';
import t from 'tap';
import type { Explanation } from '../../../coordinator/brain/explanation.js';
import { atMsOf, isChange, newRow, readRow } from '../../../coordinator/brain/explanation-row.js';
import { explanation, shape, writeRow } from './an-explanation.js';

const amount = fc.double({ min: 0, max: 1e9, noNaN: true }).map((value) => value + 0);
const orNull = fc.option(amount);
const someShape = fc.record({ count: fc.nat(500), size: fc.record({ cpu: amount, memory: fc.nat() }) });
const someExplanation: fc.Arbitrary<Explanation> = fc.record({
  atMs: fc.nat(),
  seen: fc.record(
    {
      time: fc.record(
        {
          meanMs: amount,
          cpuMs: amount,
          cpuWaitMs: amount,
          calleesMs: amount,
          slowest: fc.record({ callee: fc.string(), ms: amount }),
        },
        { requiredKeys: ['meanMs', 'cpuMs', 'cpuWaitMs', 'calleesMs'] },
      ),
      usedCpu: amount,
      allottedCpu: amount,
      arrivedPerSecond: amount,
      finishedPerSecond: amount,
      outstanding: amount,
      latencyMs: orNull,
    },
    { requiredKeys: ['usedCpu', 'allottedCpu', 'arrivedPerSecond', 'finishedPerSecond', 'outstanding', 'latencyMs'] },
  ),
  learned: fc.record(
    {
      costCpu: orNull,
      idleCpu: amount,
      unqueuedMs: orNull,
      start: fc.record({ seconds: amount, kind: fc.constantFrom('assumed', 'warm', 'cold'), seen: fc.nat() }),
    },
    { requiredKeys: ['costCpu', 'idleCpu', 'unqueuedMs'] },
  ),
  demand: fc.record({
    cpu: amount,
    basis: fc.constantFrom('used', 'arrivals', 'saturated', 'unknown'),
    backlogCpu: amount,
    nextCpu: amount,
    predictor: fc.constantFrom('level', 'last', 'trend', 'forecast'),
    marginShare: amount,
  }),
  ahead: fc.option(fc.record({ seconds: amount, cpu: amount, trust: amount })),
  aim: fc.record({
    utilisation: amount,
    basis: fc.constantFrom('target', 'queue', 'learned', 'unknown', 'missed', 'not-cpu'),
    objective: fc.oneof(
      fc.record({ kind: fc.constantFrom('utilisation', 'queue') }),
      fc.record({ kind: fc.constant('latency' as const), percentile: amount, targetMs: amount }),
    ),
  }),
  need: fc.record({ cpu: amount, count: fc.nat(500), heldCpu: amount, calmSeconds: amount }),
  options: fc.array(fc.record({ count: fc.nat(500), cpu: amount, costCores: amount, meets: fc.boolean() }), {
    maxLength: 3,
  }),
  chosen: fc.integer({ min: -1, max: 2 }),
  before: someShape,
  after: someShape,
  notes: fc.subarray([
    'idle',
    'lost-metrics',
    'burst',
    'saturated',
    'not-cpu',
    'slow-callees',
    'cpu-wait',
    'calm',
    'count-max',
    'count-min',
    'size-max',
    'budget',
    'capacity',
  ]),
});

t.test('what is written comes back, whatever was there before', async (t) => {
  const row = newRow();
  t.equal(readRow(row), null);
  fc.assert(
    fc.property(someExplanation, (each) => {
      writeRow(each, row);
      // fast-check makes records without a prototype.
      return isDeepStrictEqual(readRow(row), structuredClone(each)) && atMsOf(row) === each.atMs;
    }),
    { numRuns: 500 },
  );
});

t.test('a change is one from what there was, or from what was decided before', async (t) => {
  const rowOf = (after: Explanation['after']) => {
    const row = newRow();
    writeRow(explanation({ before: shape(1, 0.5), after }), row);
    return row;
  };
  t.notOk(isChange(rowOf(shape(1, 0.5)), null));
  t.ok(isChange(rowOf(shape(2, 0.5)), null));
  t.ok(isChange(rowOf(shape(1, 0.6)), null));
  t.notOk(isChange(rowOf(shape(2, 0.5)), rowOf(shape(2, 0.5))), 'it was decided already');
  t.ok(isChange(rowOf(shape(1, 0.5)), rowOf(shape(2, 0.5))));
  t.ok(isChange(rowOf(shape(2, 0.5)), newRow()), 'before the first decision');
});
