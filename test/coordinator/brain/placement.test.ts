import fc from 'fast-check';
import t from 'tap';
import { CPU_OVERCOMMIT } from '../../../coordinator/brain/allotted.js';
import {
  admits,
  type PlaceGroup,
  type PlaceHost,
  type Placement,
  place,
} from '../../../coordinator/brain/placement.js';
import type { Size } from '../../../protocol/link.js';

const GiB = 2 ** 30;
const size: fc.Arbitrary<Size> = fc.record({
  cpu: fc.double({ min: 0.1, max: 8, noNaN: true }),
  memory: fc.integer({ min: 1, max: GiB }),
});
/** A group with the hosts on which its component runs already. */
type Group = PlaceGroup & { hosts: string[] };
const groups: fc.Arbitrary<Group[]> = fc
  .array(
    fc.record({
      size,
      count: fc.integer({ min: 1, max: 6 }),
      hosts: fc.array(fc.constantFrom<string>('h1', 'h2', 'gone'), { maxLength: 3 }),
      priority: fc.constantFrom(0, 500),
      needed: fc.boolean(),
      near: fc.constantFrom<string[]>([], ['app/c0'], ['app/c1', 'app/c2']),
      apart: fc.constantFrom<string[]>([], ['app/c0'], ['app/c3']),
      rules: fc.constantFrom<NonNullable<PlaceGroup['rules']>>(
        { spread: 'host', require: {}, tolerate: [] },
        { spread: 'zone', require: {}, tolerate: ['gpu'] },
        { spread: 'host', require: { disk: 'ssd' }, tolerate: [] },
      ),
    }),
    { maxLength: 6 },
  )
  .map((list) =>
    list.map(({ count, near, ...group }, g) => {
      const ids = Array.from({ length: count }, (_, i) => `app-c${g}-${i}`);
      return { ...group, key: `app/c${g}`, ids, near: new Map(near.map((key) => [key, 0.5])) };
    }),
  );
const hosts: fc.Arbitrary<PlaceHost[]> = fc
  .array(
    fc.record({
      cores: fc.integer({ min: 1, max: 8 }),
      memoryBytes: fc.integer({ min: 1, max: 4 * GiB }),
      running: fc.array(fc.record({ size }), { maxLength: 3 }),
      labels: fc.constantFrom<Record<string, string>>({}, { zone: 'a', disk: 'ssd' }, { zone: 'b' }),
      taints: fc.constantFrom<string[]>([], ['gpu']),
    }),
    { maxLength: 40 },
  )
  .map((list) => list.map((host, i) => ({ name: `h${i + 1}`, ...host })));

function groupOf(given: Partial<PlaceGroup>): PlaceGroup {
  const size = { cpu: 0.1, memory: 1 };
  return { key: 'app/c', ids: ['app-c-0'], size, priority: 500, needed: false, near: new Map(), apart: [], ...given };
}

function placed(list: readonly Group[], machines: readonly PlaceHost[]): Placement {
  const hostsOf = (key: string) => list.find((group) => group.key === key)?.hosts ?? [];
  return place({ groups: list, hosts: machines, hostsOf });
}

/** Hosts on which the component is in the end. */
function whereIs(key: string, list: readonly Group[], { hosts }: Placement): Set<string | undefined> {
  const group = list.find((each) => each.key === key);
  return new Set([...(group?.hosts ?? []), ...(group?.ids ?? []).map((id) => hosts.get(id))]);
}

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
      const placement = placed(list, machines);
      return list.every(({ key, ids }) => {
        const missing = ids.some((id) => !placement.hosts.has(id));
        return missing === placement.unplaced.has(key);
      });
    }),
  );
});

t.test('no host gets more than it has room for', async () => {
  fc.assert(
    fc.property(groups, hosts, (list, machines) => {
      const placement = placed(list, machines);
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
      const placement = placed(list, machines);
      return list.every((group) => {
        if (!placement.unplaced.has(group.key)) return true;
        return machines.every((host) => {
          const room = roomOn(host, list, placement.hosts);
          const apart = group.apart.some((key) => whereIs(key, list, placement).has(host.name));
          const full = room.cpu < group.size.cpu + 1e-9 || room.memory < group.size.memory;
          return full || apart || !admits(host, group.rules);
        });
      });
    }),
    { numRuns: 500 },
  );
});

t.test('rules are kept: labels, taints, and who is to be apart', async () => {
  fc.assert(
    fc.property(groups, hosts, (list, machines) => {
      const placement = placed(list, machines);
      return list.every(({ ids, rules, apart, hosts: before, key }) =>
        ids.every((id) => {
          const host = machines.find(({ name }) => name === placement.hosts.get(id));
          if (host === undefined) return true;
          // What ran beside it before is not its doing, and one that came later has rules of its own.
          const others = apart.filter((each) => each !== key);
          const beside = others.some((each) => list.find((group) => group.key === each)?.hosts.includes(host.name));
          const alone = !apart.includes(key) || !before.includes(host.name);
          return admits(host, rules) && !beside && alone;
        }),
      );
    }),
    { numRuns: 500 },
  );
});

t.test('the order of groups, ids and hosts does not matter', async () => {
  fc.assert(
    fc.property(groups, hosts, (list, machines) => {
      const one = placed(list, machines);
      const turned = list.toReversed().map((group) => ({ ...group, ids: group.ids.toReversed() }));
      const other = placed(turned, machines.toReversed());
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
      const placement = place({ groups: [groupOf({ ids })], hosts: equal, hostsOf: () => [] });
      const counts = names.map((name) => [...placement.hosts.values()].filter((host) => host === name).length);
      return Math.max(...counts) - Math.min(...counts) <= 1;
    }),
  );
});

t.test('over zones first, then over hosts', async (t) => {
  const machines = ['a', 'a', 'a', 'b'].map((zone, i): PlaceHost => {
    return { name: `h${i}`, cores: 8, memoryBytes: GiB, labels: { zone }, running: [] };
  });
  const ids = ['c-0', 'c-1', 'c-2', 'c-3'];
  const rules = { spread: 'zone' as const, require: {}, tolerate: [] };
  const placement = place({ groups: [groupOf({ ids, rules })], hosts: machines, hostsOf: () => [] });
  t.strictSame([...placement.hosts.values()].sort(), ['h0', 'h1', 'h3', 'h3']);
});

t.test('near those that it talks to, unless a host would get two of its own for that', async (t) => {
  const machines = ['h0', 'h1', 'h2'].map((name): PlaceHost => ({ name, cores: 8, memoryBytes: GiB, running: [] }));
  const near = new Map([['app/d', 1]]);
  const hostsOf = (key: string) => (key === 'app/d' ? ['h2'] : []);
  const one = place({ groups: [groupOf({ near })], hosts: machines, hostsOf });
  t.equal(one.hosts.get('app-c-0'), 'h2');
  const ids = ['app-c-0', 'app-c-1'];
  const two = place({ groups: [groupOf({ ids, near })], hosts: machines, hostsOf });
  t.equal(new Set(two.hosts.values()).size, 2);
});

t.test('an even cluster is kept even, a full one filled up host by host', async (t) => {
  const machines = (memory: number[]) =>
    memory.map((used, i): PlaceHost => {
      return {
        name: `h${i}`,
        cores: 8,
        memoryBytes: 100,
        running: [{ size: { cpu: (used / 100) * 32, memory: used } }],
      };
    });
  const where = (memory: number[]) =>
    place({
      groups: [groupOf({ size: { cpu: 0.32, memory: 1 } })],
      hosts: machines(memory),
      hostsOf: () => [],
    }).hosts.get('app-c-0');
  t.equal(where([30, 10]), 'h1');
  t.equal(where([95, 90]), 'h0');
});

t.test('the higher priority chooses first', async (t) => {
  const hosts = [{ name: 'h0', cores: 1, memoryBytes: 1, running: [] }];
  const groups = [groupOf({ key: 'app/a', ids: ['a'] }), groupOf({ key: 'app/z', ids: ['z'], priority: 900 })];
  const placement = place({ groups, hosts, hostsOf: () => [] });
  t.strictSame([...placement.hosts.keys()], ['z']);
  t.strictSame([...placement.unplaced], [['app/a', 'no host has room']]);
});

t.test('cores for itself: whole ones, which nobody else is allotted, on hosts that can give them', async (t) => {
  const host = (name: string, ownCores: number): PlaceHost => ({
    name,
    cores: 4,
    memoryBytes: GiB,
    ownCores,
    running: [],
  });
  const own = {
    ...groupOf({ key: 'app/own', ids: ['app-own-0', 'app-own-1'], size: { cpu: 2, memory: 1 } }),
    exclusive: true,
  };
  const two = place({ groups: [own], hosts: [host('h1', 0), host('h2', 3), host('h3', 3)], hostsOf: () => [] });
  t.same([...two.hosts.values()].sort(), ['h2', 'h3'], 'one of the four cores stays for all');
  const full = place({ groups: [own], hosts: [host('h2', 3)], hostsOf: () => [] });
  t.equal(full.hosts.size, 1);
  t.match(full.unplaced.get('app/own'), /no host has room for 2 cores of its own/);
  const never = place({ groups: [own], hosts: [host('h1', 0)], hostsOf: () => [] });
  t.match(never.unplaced.get('app/own'), /cpuset controller.*shoal doctor/);

  const beside = { ...host('h2', 3), running: [{ size: { cpu: 2, memory: 1 }, exclusive: true }] };
  const shared = groupOf({ key: 'app/shared', ids: ['a-0', 'a-1', 'a-2'], size: { cpu: 3, memory: 1 } });
  const rest = place({ groups: [own, shared], hosts: [beside], hostsOf: () => [] });
  t.same([...rest.hosts.keys()], ['a-0', 'a-1'], 'two cores are left, which are allotted four times');
});
