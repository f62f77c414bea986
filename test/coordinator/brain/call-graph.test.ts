import fc from 'fast-check';
import t from 'tap';
import { shareBudget } from '../../../coordinator/brain/budget.js';
import { callersFirst, callersOf, learnRatios, newRatios, ratioOf } from '../../../coordinator/brain/call-graph.js';
import { COMPONENT } from './bench.js';

const graph = (calls: Record<string, string[]>) =>
  Object.fromEntries(Object.entries(calls).map(([name, list]) => [name, { ...COMPONENT, calls: list }]));

t.test('callers come first, in circles too, whatever the order of the manifest', async (t) => {
  t.strictSame(callersFirst(graph({ store: [], web: ['index', 'store'], index: ['store'] })), [
    'web',
    'index',
    'store',
  ]);
  t.strictSame(callersFirst(graph({ a: ['b'], b: ['a'] })).toSorted(), ['a', 'b']);
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.nat(7), fc.nat(7)), { maxLength: 20 }), (edges) => {
      const calls: Record<string, string[]> = {};
      for (let i = 0; i < 8; i += 1) calls[`c${i}`] = [];
      for (const [from, to] of edges) if (from < to) calls[`c${from}`]?.push(`c${to}`);
      const order = callersFirst(graph(calls));
      const turned = callersFirst(graph(Object.fromEntries(Object.entries(calls).reverse())));
      const inOrder = edges.every(([from, to]) => from >= to || order.indexOf(`c${from}`) < order.indexOf(`c${to}`));
      return inOrder && order.length === 8 && order.join() === turned.join();
    }),
  );
});

t.test('callers of a component, itself left out', async (t) => {
  const callers = callersOf(graph({ web: ['index'], api: ['index'], index: ['index'] }));
  t.strictSame(callers.get('index'), ['web', 'api']);
});

t.test('how often each caller calls is learned from their rates', async (t) => {
  const known = newRatios();
  for (let i = 0; i < 3_000; i += 1) {
    const web = 100 + 60 * Math.sin(i / 90);
    const api = 50 + 30 * Math.sin(i / 37 + 1);
    learnRatios(
      known,
      3 * web + 0.5 * api,
      new Map([
        ['web', web],
        ['api', api],
      ]),
      1,
    );
  }
  t.ok(Math.abs(ratioOf(known, 'web') - 3) < 0.15, `${ratioOf(known, 'web')}`);
  t.ok(Math.abs(ratioOf(known, 'api') - 0.5) < 0.3, `${ratioOf(known, 'api')}`);
  t.equal(ratioOf(known, 'constructor'), 0);
});

t.test('a budget: to each its least, then by priority, among equals the same share; never more in all', async (t) => {
  const claim = (name: string, priority: number, least: number, wanted: number) => ({ name, priority, least, wanted });
  const cuts = shareBudget([claim('a', 900, 1, 4), claim('b', 500, 1, 5), claim('c', 500, 1, 3)], 9);
  t.strictSame(
    [...cuts],
    [
      ['b', 1 + 4 * 0.5],
      ['c', 1 + 2 * 0.5],
    ],
  );
  t.strictSame([...shareBudget([claim('a', 1, 0, 4)], 4)], []);
  const amount = fc.double({ min: 0, max: 20, noNaN: true });
  const claims = fc.array(fc.tuple(fc.constantFrom(1, 2, 3), amount, amount), { minLength: 1, maxLength: 6 });
  fc.assert(
    fc.property(claims, amount, (list, extra) => {
      const all = list.map(([priority, x, y], i) => claim(`c${i}`, priority, Math.min(x, y), Math.max(x, y)));
      const budget = all.reduce((sum, { least }) => sum + least, 0) + extra;
      const found = shareBudget(all, budget);
      const given = all.map(({ name, wanted }) => found.get(name) ?? wanted);
      const total = given.reduce((sum, each) => sum + each, 0);
      return (
        total <= budget + 1e-9 &&
        all.every(({ least, wanted }, i) => {
          const got = given[i] ?? 0;
          return got >= least - 1e-9 && got <= wanted + 1e-9;
        })
      );
    }),
  );
});
