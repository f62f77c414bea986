import fc from 'fast-check';
import t from 'tap';
import type { Decision } from '../../../coordinator/brain/decision.js';
import type {
  AimBasis,
  AimFacts,
  DemandBasis,
  Explanation,
  Note,
  Predictor,
} from '../../../coordinator/brain/explanation.js';
import { explain, summary } from '../../../coordinator/brain/explanation-words.js';
import { explanation, shape } from './an-explanation.js';

const decision = (change: Partial<Explanation>, more: Partial<Decision> = {}): Decision => {
  return { explanation: explanation(change), fate: 'done', announced: [], changed: true, outcome: null, ...more };
};
const textOf = (each: Decision, topic: string): string =>
  explain(each)
    .filter((paragraph) => paragraph.topic === topic)
    .map(({ text }) => text)
    .join(' | ');

t.test('a whole decision reads as one', async (t) => {
  const outcome = { verdict: 'as-foretold', peakCpu: 0.55, foretoldCpu: 0.6, seconds: 5, allottedCpu: 0.75 } as const;
  const words = explain(decision({ after: shape(1, 0.75), notes: ['calm'] }, { outcome }));
  t.strictSame(
    words.map(({ topic, text }) => `${topic}: ${text}`),
    [
      'saw: It used 0.40 of the 0.50 cores that its 1 instance had. 20 requests arrived each second, 19 were answered, and 2 were waiting or running. 99 % of them were answered within 12 ms.',
      'knew: From experience: one request costs 20 ms of CPU; an instance burns 0.01 cores without any work; without waiting for CPU 99 % of requests would take at most 8 ms.',
      'expected: 0.45 cores until the next decision takes hold, as in the last while, with 10 % added for what was missed of late. Within 5 s, in which a new instance could serve, at most 0.60 cores.',
      'aimed: At 60 % utilisation: so busy it still keeps its objective of 99 % answered within 20 ms, by what was learned of it.',
      'needed: 0.75 cores in all for that.',
      'weighed: 1 × 0.75 cores: costs 0.75 cores with its moves — chosen',
      'weighed: 2 × 0.40 cores: costs 0.90 cores with its moves',
      'because: It needed 0.75 cores within the last 30 s; nothing is made smaller before it was calm for so long.',
      'did: 1 instance as before, each resized from 0.50 to 0.75 cores in place.',
      'came: In the 5 s after it at most 0.55 cores were asked for, within the 0.60 that were expected. It was enough: there were 0.75.',
    ],
  );
});

t.test('what was done is told by its kind', async (t) => {
  const did = (before: Explanation['before'], after: Explanation['after'], fate: Decision['fate'] = 'done') =>
    textOf(decision({ before, after }, { fate }), 'did');
  t.equal(did(shape(1, 0.5), shape(3, 0.5)), '2 instances more: 1 → 3 × 0.50 cores.');
  t.equal(
    did(shape(3, 0.5), shape(2, 1)),
    '1 instance fewer: 3 → 2 × 1.00 cores, each resized from 0.50 to 1.00 cores in place.',
  );
  t.equal(did(shape(1, 0.5), shape(0, 0.5)), 'All of its instances end.');
  t.equal(did(shape(1, 0.5), shape(1, 0.5)), 'It stays at 1 × 0.50 cores.');
  t.match(did(shape(1, 0.5), shape(2, 0.5), 'observed'), /^Nothing: its mode is observe\. Otherwise: 1 instance more/);
  t.match(did(shape(1, 0.5), shape(2, 0.5), 'by-hand'), /count is set by hand/);
});

t.test('the forecast is told with how far it is believed', async (t) => {
  const told = (trust: number) => textOf(decision({ ahead: { seconds: 5, cpu: 1, trust } }), 'expected');
  t.notMatch(told(1), /believed/);
  t.match(told(0.4), /It is believed by 40 %/);
  t.match(told(0), /It is not believed/);
  t.match(textOf(decision({ ahead: null }), 'expected'), /There is no forecast yet/);
});

t.test('known events are told with what they bring and when', async (t) => {
  const span = { fromMs: Date.UTC(2026, 10, 27, 8), toMs: Date.UTC(2026, 10, 27, 12) };
  const announced = [
    { id: 'event-1', note: 'sale', ...span, effect: { kind: 'factor', factor: 3 } },
    { id: 'rush', note: '', ...span, effect: { kind: 'requests', perSecond: 900 } },
  ] as const;
  t.strictSame(textOf(decision({}, { announced }), 'announced').split(' | '), [
    'The known event event-1 (sale) brings 3 times the usual demand from 2026-11-27T08:00:00Z to 2026-11-27T12:00:00Z.',
    'The known event rush brings at least 900 requests each second from 2026-11-27T08:00:00Z to 2026-11-27T12:00:00Z.',
  ]);
});

t.test('the chosen option comes first, then the cheapest others', async (t) => {
  const options = [3, 1, 2, 5, 4].map((count) => ({ count, cpu: 1, costCores: count, meets: count > 1 }));
  const told = textOf(decision({ options, chosen: 2 }), 'weighed').split(' | ');
  t.match(told, [/^2 × .* — chosen$/, /^1 × .*, not enough$/, /^3 × /, /^4 × /]);
  t.equal(textOf(decision({ options: options.slice(0, 1), chosen: 0 }), 'weighed'), '', 'nothing to choose');
});

const noteNames = [
  'idle',
  'lost-metrics',
  'burst',
  'saturated',
  'calm',
  'not-cpu',
  'count-max',
  'count-min',
  'size-max',
  'budget',
  'capacity',
] as const satisfies readonly Note[];
const aimNames = ['target', 'queue', 'learned', 'unknown', 'missed', 'not-cpu'] as const satisfies readonly AimBasis[];
const basisNames = ['used', 'arrivals', 'saturated', 'unknown'] as const satisfies readonly DemandBasis[];
const predictorNames = ['level', 'last', 'trend', 'forecast'] as const satisfies readonly Predictor[];

t.test('every code has words, and no number is told that is none', async (t) => {
  const amount = fc.double({ min: 0, max: 1e4, noNaN: true });
  const objective = fc.constantFrom<AimFacts['objective']>(
    { kind: 'utilisation' },
    { kind: 'queue' },
    { kind: 'latency', percentile: 95, targetMs: 40 },
  );
  const forms = fc.record({ count: fc.nat(500), cpu: amount });
  const made = fc.record({
    notes: fc.uniqueArray(fc.constantFrom(...noteNames)),
    aim: fc.record({ utilisation: amount, basis: fc.constantFrom(...aimNames), objective }),
    demand: fc.record({
      cpu: amount,
      basis: fc.constantFrom(...basisNames),
      backlogCpu: amount,
      nextCpu: amount,
      predictor: fc.constantFrom(...predictorNames),
      marginShare: amount,
    }),
    learned: fc.record(
      {
        costCpu: fc.option(amount),
        idleCpu: amount,
        unqueuedMs: fc.option(amount),
        start: fc.record({ seconds: amount, kind: fc.constantFrom('assumed', 'warm', 'cold'), seen: fc.nat() }),
      },
      { requiredKeys: ['costCpu', 'idleCpu', 'unqueuedMs'] },
    ),
    ahead: fc.option(fc.record({ seconds: amount, cpu: amount, trust: fc.double({ min: 0, max: 1, noNaN: true }) })),
    before: forms.map(({ count, cpu }) => shape(count, cpu)),
    after: forms.map(({ count, cpu }) => shape(count, cpu)),
  });
  const told = fc.check(
    fc.property(made, fc.constantFrom('done', 'observed', 'by-hand'), (change, fate) => {
      const each = decision(change, { fate: fate as Decision['fate'] });
      const words = explain(each);
      const texts = [...words.map(({ text }) => text), summary(each.explanation)];
      return (
        texts.every((text) => text.length > 0 && !/undefined|NaN|Infinity|null|\[object/.test(text)) &&
        change.notes.length === words.filter(({ topic }) => topic === 'because').length &&
        words.every(({ topic, text }) => topic === 'weighed' || text.endsWith('.'))
      );
    }),
  );
  t.notOk(told.failed, JSON.stringify(told.counterexample));
});
