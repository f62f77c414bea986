import fc from 'fast-check';
import t from 'tap';
import { type PlaceHost, type PlaceInstance, place } from '../../../coordinator/brain/placement.js';

const GiB = 2 ** 30;
const instances: fc.Arbitrary<PlaceInstance[]> = fc
  .array(
    fc.record(
      {
        component: fc.constantFrom('a', 'b'),
        cpu: fc.double({ min: 0.1, max: 4, noNaN: true }),
        memory: fc.integer({ min: 1, max: GiB }),
        host: fc.constantFrom('h1', 'h2', 'gone'),
      },
      { requiredKeys: ['component', 'cpu', 'memory'] },
    ),
    { maxLength: 20 },
  )
  .map((list) =>
    list.map(({ component, cpu, memory, host }, i) => {
      const instance: PlaceInstance = { id: `app-${component}-${i}`, app: 'app', component, size: { cpu, memory } };
      return host === undefined ? instance : { ...instance, host };
    }),
  );
const hosts: fc.Arbitrary<PlaceHost[]> = fc
  .array(fc.record({ cores: fc.integer({ min: 1, max: 8 }), memoryBytes: fc.integer({ min: 1, max: 4 * GiB }) }), {
    maxLength: 5,
  })
  .map((list) => list.map((host, i) => ({ name: `h${i + 1}`, ...host })));

t.test('each instance is placed once, or told to fit nowhere', async () => {
  fc.assert(
    fc.property(instances, hosts, (list, machines) => {
      const placement = place(list, machines);
      const told = [...Object.keys(placement.hosts), ...placement.unplaced];
      return JSON.stringify(told.toSorted()) === JSON.stringify(list.map(({ id }) => id).toSorted());
    }),
  );
});

t.test('new instances never overfill a host', async () => {
  fc.assert(
    fc.property(instances, hosts, (list, machines) => {
      const fresh = list.map(({ host: _, ...instance }) => instance);
      const placement = place(fresh, machines, { cpuOvercommit: 2 });
      return machines.every(({ name, cores, memoryBytes }) => {
        const here = fresh.filter(({ id }) => placement.hosts[id] === name);
        const cpu = here.reduce((sum, { size }) => sum + size.cpu, 0);
        return cpu <= cores * 2 + 1e-9 && here.reduce((sum, { size }) => sum + size.memory, 0) <= memoryBytes;
      });
    }),
  );
});

t.test('what fits nowhere really fits on no host', async () => {
  fc.assert(
    fc.property(instances, hosts, (list, machines) => {
      const placement = place(list, machines);
      return placement.unplaced.every((id) => {
        const size = list.find((one) => one.id === id)?.size ?? { cpu: 0, memory: 0 };
        return machines.every(({ name, cores, memoryBytes }) => {
          const here = list.filter((one) => placement.hosts[one.id] === name);
          const cpu = here.reduce((sum, one) => sum + one.size.cpu, size.cpu);
          const memory = here.reduce((sum, one) => sum + one.size.memory, size.memory);
          return cpu > cores * 4 - 1e-9 || memory > memoryBytes;
        });
      });
    }),
  );
});

t.test('an instance stays where it runs while that host is there', async () => {
  fc.assert(
    fc.property(instances, hosts, (list, machines) => {
      const placement = place(list, machines);
      return list.every(({ id, host }) => !machines.some(({ name }) => name === host) || placement.hosts[id] === host);
    }),
  );
});

t.test('the order of instances and hosts does not matter', async () => {
  fc.assert(
    fc.property(instances, hosts, (list, machines) => {
      const one = place(list, machines);
      const other = place(list.toReversed(), machines.toReversed());
      return list.every(({ id }) => one.hosts[id] === other.hosts[id]);
    }),
  );
});

t.test('a component is spread over equal hosts to within one', async () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 30 }), fc.integer({ min: 1, max: 6 }), (many, machines) => {
      const list = Array.from({ length: many }, (_, i): PlaceInstance => {
        return { id: `app-c-${i}`, app: 'app', component: 'c', size: { cpu: 0.1, memory: 1 } };
      });
      const names = Array.from({ length: machines }, (_, i) => `h${i}`);
      const placement = place(
        list,
        names.map((name) => ({ name, cores: 8, memoryBytes: GiB })),
      );
      const counts = names.map((name) => Object.values(placement.hosts).filter((host) => host === name).length);
      return Math.max(...counts) - Math.min(...counts) <= 1;
    }),
  );
});
