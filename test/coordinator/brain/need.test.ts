import t from 'tap';
import { aimOf, countFor, levelFor, reachedCpu, sizeFor } from '../../../coordinator/brain/need.js';
import type { Component } from '../../../protocol/manifest.js';
import { COMPONENT } from './bench.js';

const component: Component = { ...COMPONENT, objective: { kind: 'latency', percentile: 99, targetMs: 50 } };
/** Of 5 ms of CPU, exponential: 23 ms without a queue, 50 ms at 54 % of a core. */
const curve = { otherMs: 0, cpuMs: 5 * Math.log(100) };
const load = (cpu: number) => ({ cpu, upperCpu: cpu, floorCpu: cpu });

t.test('sizes keep something to spare of a latency; an instance is added only for what would miss it', async (t) => {
  const aim = aimOf(component, curve, null);
  const small = sizeFor(aim, load(0.3), 1) ?? 0;
  // 23 ÷ (size − 0.3) = 47.5, not 50.
  t.ok(Math.abs(small - (0.3 + curve.cpuMs / 47.5)) < 0.01, `${small} cores`);
  t.equal(sizeFor(aim, load(0.53), 1), 1);
  t.equal(countFor(aim, load(0.53)), 1);
  t.equal(sizeFor(aim, load(0.55), 1), null);
  t.equal(countFor(aim, load(0.55)), 2);
});

t.test('where some cannot grow, the others carry more, and more instances make up for what is missing', async (t) => {
  const target: Component = { ...COMPONENT, objective: { kind: 'utilisation', target: 0.5 } };
  const aim = { ...aimOf(target, null, null), reach: [0.2, 1, 0.75] };
  t.equal(levelFor(aim, 1.2, 3), 0.5, '0.2 + 0.5 + 0.5');
  t.equal(levelFor(aim, 0.3, 3), 0.3 / 3, 'nobody is held');
  t.equal(levelFor(aim, 5, 3), 1, 'not even all that they can have suffices: none is asked for more than one can have');
  t.equal(reachedCpu(aim, 0.5, 3), 1.2);
  t.equal(reachedCpu(aim, 0.5, 4), 1.7);
  // One core at half of it is 0.5; the first alone has 0.2.
  t.equal(countFor(aim, load(0.5)), 2);
  t.equal(countFor(aim, load(1)), 4, '0.2 + 1 + 0.75 are less than 2 cores, and one more has a whole one');
});
