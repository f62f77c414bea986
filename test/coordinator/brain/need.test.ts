import t from 'tap';
import { aimOf, countFor, sizeFor } from '../../../coordinator/brain/need.js';
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
