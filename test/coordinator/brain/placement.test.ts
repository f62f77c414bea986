import fc from 'fast-check';
import t from 'tap';
import { CPU_OVERCOMMIT, type PlaceGroup, type PlaceHost, place } from '../../../coordinator/brain/placement.js';
import type { Size } from '../../../protocol/link.js';

const GiB = 2 ** 30;
const size: fc.Arbitrary<Size> = fc.record({
  cpu: fc.double({ min: 0.1, max: 8, noNaN: true }),
  memory: fc.integer({ min: 1, max: GiB }),
});
const groups: fc.Arbitrary<PlaceGroup[]> = fc
  .array(
    fc.record({
      size,
      count: fc.integer({ min: 1, max: 6 }),
      hosts: fc.array(fc.constantFrom('h1', 'h2', 'gone'), { maxLength: 3 }),
    }),
    { maxLength: 6 },
  )
  .map((list) =>
    list.map(({ size, count, hosts }, g) => {
      return { key: `app/c${g}`, ids: Array.from({ length: count }, (_, i) => `app-c${g}-${i}`), size, hosts };
    }),
  );
const hosts: fc.Arbitrary<PlaceHost[]> = fc
  .array(
    fc.record({
      cores: fc.integer({ min: 1, max: 8 }),
      memoryBytes: fc.integer({ min: 1, max: 4 * GiB }),
      running: fc.array(fc.record({ size }), { maxLength: 3 }),
    }),
    { maxLength: 40 },
  )
  .map((list) => list.map((host, i) => ({ name: `h${i + 1}`, ...host })));

/** What the host has left once the placement is done; negative where it was too full before. */
function roomOn(host: PlaceHost, list: readonly PlaceGroup[], placed: ReadonlyMap<string, string>): Size {
  const sizes = [...host.running].map((each) => each.size);
  for (const group of list) for (const id of group.ids) if (placed.get(id) === host.name) sizes.push(group.size);
  return {
    cpu: host.cores * CPU_OVERCOMMIT - sizes.reduce((sum, each) => sum + each.cpu, 0),
    memory: host.memoryBytes - sizes.reduce((sum, each) => sum + each.memory, 0),
  };
}

t.test('each new instance is placed once, or told to fit nowhere', async () => {
  fc.assert(
    fc.property(groups, hosts, (list, machines) => {
      const placement = place(list, machines);
      const told = [...placement.hosts.keys(), ...placement.unplaced];
      return JSON.stringify(told.toSorted()) === JSON.stringify(list.flatMap(({ ids }) => ids).toSorted());
    }),
  );
});

t.test('no host gets more than it has room for', async () => {
  fc.assert(
    fc.property(groups, hosts, (list, machines) => {
      const placement = place(list, machines);
      const used = new Set(placement.hosts.values());
      return machines.every((host) => {
        const room = roomOn(host, list, placement.hosts);
        return !used.has(host.name) || (room.cpu >= -1e-9 && room.memory >= 0);
      });
    }),
  );
});

t.test('what fits nowhere really fits on no host', async () => {
  fc.assert(
    fc.property(groups, hosts, (list, machines) => {
      const placement = place(list, machines);
      return placement.unplaced.every((id) => {
        const wanted = list.find(({ ids }) => ids.includes(id))?.size ?? { cpu: 0, memory: 0 };
        return machines.every((host) => {
          const room = roomOn(host, list, placement.hosts);
          return room.cpu < wanted.cpu + 1e-9 || room.memory < wanted.memory;
        });
      });
    }),
  );
});

t.test('the order of groups, ids and hosts does not matter', async () => {
  fc.assert(
    fc.property(groups, hosts, (list, machines) => {
      const one = place(list, machines);
      const turned = list.toReversed().map((group) => ({ ...group, ids: group.ids.toReversed() }));
      const other = place(turned, machines.toReversed());
      return list.every(({ ids }) => ids.every((id) => one.hosts.get(id) === other.hosts.get(id)));
    }),
  );
});

t.test('a component is spread over equal hosts to within one', async () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 30 }), fc.integer({ min: 1, max: 6 }), (many, machines) => {
      const ids = Array.from({ length: many }, (_, i) => `app-c-${i}`);
      const names = Array.from({ length: machines }, (_, i) => `h${i}`);
      const equal = names.map((name): PlaceHost => ({ name, cores: 8, memoryBytes: GiB, running: [] }));
      const placement = place([{ key: 'app/c', ids, size: { cpu: 0.1, memory: 1 }, hosts: [] }], equal);
      const counts = names.map((name) => [...placement.hosts.values()].filter((host) => host === name).length);
      return Math.max(...counts) - Math.min(...counts) <= 1;
    }),
  );
});
