import t from 'tap';
import type { InstanceRecord } from '../../coordinator/instance-table.js';
import { newRefusedResize, noteRefusal, refusedCpuOf } from '../../coordinator/refused-resize.js';

const FREE = Number.POSITIVE_INFINITY;

function instanceOf(cpu: number): InstanceRecord {
  const names = { id: 'x-a-0', app: 'x', component: 'a', host: 'h1' };
  return { ...names, size: { cpu, memory: 0 }, generation: 1, createdAtMs: 0, createdRevision: 1 };
}

t.test('a size that an agent does not get done is planned by for a while, then tried again', async (t) => {
  const refused = newRefusedResize();
  const tick = (nowMs: number) => noteRefusal(refused, { count: 1, cpu: 0.4 }, [instanceOf(1)], 1, nowMs);
  for (let second = 1; second <= 5; second += 1) tick(second * 1000);
  t.equal(refusedCpuOf(refused, 5_000), FREE, 'a late report is none');
  tick(6_000);
  t.equal(refusedCpuOf(refused, 7_000), 0.4);
  t.equal(refusedCpuOf(refused, 6_000 + 899_000), 0.4);
  t.equal(refusedCpuOf(refused, 6_000 + 901_000), FREE);
});

t.test('an instance that is small because its host has no room has not been refused anything', async (t) => {
  const refused = newRefusedResize();
  for (let second = 1; second <= 20; second += 1) {
    noteRefusal(refused, { count: 1, cpu: 0.4 }, [instanceOf(0.4)], 1, second * 1000);
  }
  t.equal(refusedCpuOf(refused, 21_000), FREE);
});
