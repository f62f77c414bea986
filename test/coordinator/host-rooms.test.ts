import t from 'tap';
import { HostRooms } from '../../coordinator/host-rooms.js';
import type { InstanceRecord } from '../../coordinator/instance-table.js';
import { hostConnected, startObserving } from '../../coordinator/observed.js';

t.test('who has cores for itself grows by whole ones, as far as the host can give them', async (t) => {
  const observed = startObserving(0);
  const info = { name: 'h1', cores: 4, memoryBytes: 1_000, kernel: '6.1', degraded: [], ownCores: 3 };
  hostConnected(observed, info, 0);
  const base = { app: 'a', host: 'h1', generation: 0, createdAtMs: 0, createdRevision: 1 };
  const one = (component: string, cpu: number): InstanceRecord => {
    return { ...base, id: `a-${component}-0`, component, size: { cpu, memory: 100 } };
  };
  const own: InstanceRecord = { ...one('own', 1), exclusive: true };
  const shared = one('shared', 2.5);
  const rooms = new HostRooms(() => [own, shared], observed);
  t.same(rooms.for(own), { cpu: 2, memory: 800 }, 'one core stays for all');
  t.same(rooms.for(shared), { cpu: 9.5, memory: 800 }, 'three cores are left, each allotted four times');
  t.same(rooms.reachOf([own]), [3]);
  rooms.take(own, own.size, { cpu: 2, memory: 100 });
  t.same(rooms.for(own), { cpu: 1, memory: 800 });
  t.same(rooms.for(shared), { cpu: 5.5, memory: 800 });
});
