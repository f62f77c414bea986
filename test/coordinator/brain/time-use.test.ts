import t from 'tap';
import { explain, summary } from '../../../coordinator/brain/explanation-words.js';
import { aimOf } from '../../../coordinator/brain/need.js';
import { learnTime, meanMs, newTime, slowCause, type TimeUse, timeUse } from '../../../coordinator/brain/time-use.js';
import type { Component } from '../../../protocol/manifest.js';
import { explanation } from './an-explanation.js';
import { COMPONENT } from './bench.js';

const component: Component = { ...COMPONENT, objective: { kind: 'latency', percentile: 99, targetMs: 50 } };

function after(seconds: number, rates: { cpu: number; cpuWait: number | null; finishedPerSecond: number }) {
  const model = newTime();
  for (let second = 0; second < seconds; second += 1) learnTime(model, rates, 1);
  return model;
}

t.test('the time of a request is split by what was measured, however long it was looked at', async (t) => {
  const callees = [1, 2].map((ms) => ({ callee: ms === 1 ? 'cart' : 'index', ms }));
  for (const seconds of [5, 60]) {
    const model = after(seconds, { cpu: 0.5, cpuWait: 0.25, finishedPerSecond: 100 });
    const { cpuMs = 0, cpuWaitMs = 0, ...rest } = timeUse(model, 12, callees) ?? {};
    t.ok(Math.abs(cpuMs - 5) < 1e-9 && Math.abs(cpuWaitMs - 2.5) < 1e-9, `${cpuMs} and ${cpuWaitMs} ms`);
    t.same(rest, { meanMs: 12, calleesMs: 3, slowest: { callee: 'index', ms: 2 } });
  }
});

t.test('nothing is said of too little, of nobody, or where a host does not tell', async (t) => {
  const rates = { cpu: 0.5, cpuWait: 0.25, finishedPerSecond: 100 };
  t.equal(timeUse(after(2, rates), 12, []), null, 'of two seconds');
  t.equal(timeUse(after(60, rates), null, []), null, 'without calls');
  t.equal(timeUse(after(60, { ...rates, finishedPerSecond: 0.1 }), 12, []), null);
  const model = after(60, rates);
  learnTime(model, { ...rates, cpuWait: null }, 1);
  t.equal(timeUse(model, 12, []), null);
});

t.test('who is slow for want of CPU is told from who is slow by those it calls', async (t) => {
  const use = (part: Partial<TimeUse>) => slowCause({ meanMs: 100, cpuMs: 5, cpuWaitMs: 0, calleesMs: 0, ...part });
  t.equal(use({ cpuWaitMs: 40 }), 'cpu');
  t.equal(use({ calleesMs: 80 }), 'callees');
  t.equal(use({ cpuWaitMs: 40, calleesMs: 80 }), null, 'both');
  t.equal(use({}), null, 'neither: disks, timers, others’ servers');
  t.equal(slowCause(null), null);
});

t.test('the plan goes by it: CPU for who waits for it, none for who waits for others', async (t) => {
  const own = { otherMs: 10, cpuMs: 20 };
  t.equal(aimOf(component, own, 90).basis, 'missed');
  t.equal(aimOf(component, own, 90, 'callees').basis, 'not-cpu');
  t.equal(aimOf(component, own, 40, 'callees').basis, 'learned', 'nothing is missed');
  const other = { otherMs: 60, cpuMs: 20 };
  t.equal(aimOf(component, other, 90).basis, 'not-cpu');
  const starved = aimOf(component, other, 90, 'cpu');
  t.equal(starved.basis, 'missed', 'what the curve took for something else is a wait for CPU');
  t.ok((starved.boundMs ?? 0) < 60 + 3 * 20, 'such that its own part takes at most twice what it would alone');
});

t.test('it is said in one line', async (t) => {
  const { seen } = explanation();
  const time = { meanMs: 100, cpuMs: 5, cpuWaitMs: 40, calleesMs: 0 };
  t.match(
    summary(explanation({ seen: { ...seen, time }, notes: ['cpu-wait'] })),
    /slow because it waits for CPU \(40 % of its time\)/,
  );
  t.match(summary(explanation({ notes: ['slow-callees'] })), /slow because what it calls is/);
  const slowest = { callee: 'index', ms: 60 };
  const called = explanation({
    seen: { ...seen, time: { meanMs: 100, cpuMs: 5, cpuWaitMs: 0, calleesMs: 70, slowest } },
    notes: ['slow-callees'],
  });
  t.match(summary(called), /slow because index is/);
  const text = explain({ explanation: called, fate: 'done', announced: [], changed: false, outcome: null })
    .map((each) => each.text)
    .join(' ');
  t.match(text, /those it calls took 70 ms, index 60 ms of it/);
  t.match(text, /because those that it makes of index are/);
});

t.test('a mean of buckets is within their width', async (t) => {
  const buckets = new Float64Array(48);
  t.equal(meanMs(buckets), null);
  buckets[10] = 3;
  const mean = meanMs(buckets) ?? 0;
  t.ok(mean > 0.1 * 2 ** 4.5 && mean < 0.1 * 2 ** 5);
});
