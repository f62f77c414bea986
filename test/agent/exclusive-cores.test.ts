import fc from 'fast-check';
import t from 'tap';
import { formatCores, parseCores } from '../../agent/core-list.js';
import { type CoresOfCgroup, ExclusiveCores } from '../../agent/exclusive-cores.js';

const FOUR = [0, 1, 2, 3];

/** Cgroups of a host, and what the kernel has been told; it refuses a write at will. */
class FakeHost {
  readonly files = new Map<string, string>();
  /** Told after each write. */
  onWrite: () => void = () => undefined;
  refuses: (path: string, cores: string) => boolean = () => false;

  cgroup(path: string): CoresOfCgroup {
    if (!this.files.has(path)) this.files.set(path, '');
    return {
      path,
      cores: async () => this.files.get(path) ?? '',
      runOn: async (cores) => {
        if (!this.files.has(path)) return false;
        if (this.refuses(path, cores)) throw new Error('EINVAL: write refused');
        this.files.set(path, cores);
        this.onWrite();
        return true;
      },
    };
  }

  /** Cores on which the processes of the cgroup run: all where nothing was written. */
  coresOf(path: string, all: readonly number[]): number[] {
    const text = this.files.get(path) ?? '';
    return text === '' ? [...all] : parseCores(text);
  }
}

t.test('cores are one instance\u2019s alone: the others share the rest, until it gives them back', async (t) => {
  const host = new FakeHost();
  const cores = new ExclusiveCores(FOUR);
  t.equal(cores.most, 3);
  await cores.set(host.cgroup('shared'), null);
  t.equal(host.files.get('shared'), '', 'while nobody has its own nothing is written');
  await cores.set(host.cgroup('own'), 2);
  t.same(
    [...host.files],
    [
      ['shared', '0,1'],
      ['own', '2,3'],
    ],
  );
  await cores.set(host.cgroup('later'), null);
  t.equal(host.files.get('later'), '0,1');
  await cores.set(host.cgroup('own'), 1);
  t.same([...host.files.values()], ['0,1,2', '3', '0,1,2'], 'resized in place');
  await cores.leave('own');
  t.equal(host.files.get('shared'), '0,1,2,3');
});

t.test('what the host does not have is refused and changes nothing', async (t) => {
  const host = new FakeHost();
  const cores = new ExclusiveCores(FOUR);
  await cores.set(host.cgroup('a'), 2);
  await t.rejects(cores.set(host.cgroup('b'), 2), {
    code: 'SHOAL_E_START',
    message: /cannot give 2 cores.*1 of 3 are left/,
  });
  await t.rejects(cores.set(host.cgroup('b'), 1.5), /whole/);
  await cores.set(host.cgroup('b'), 1);
  t.same([...host.files.values()], ['2,3', '1']);
  const without = new ExclusiveCores([]);
  await t.rejects(without.set(host.cgroup('c'), 1), {
    message: /no cgroup v2 cpuset controller; boot with pure cgroup v2/,
  });
  await without.set(host.cgroup('d'), null);
  await t.rejects(new ExclusiveCores([0]).set(host.cgroup('e'), 1), /has one core/);
});

t.test('when the kernel refuses half of a change, the other half is undone', async (t) => {
  const host = new FakeHost();
  const cores = new ExclusiveCores(FOUR);
  for (const path of ['a', 'b']) await cores.set(host.cgroup(path), null);
  await cores.set(host.cgroup('own'), 1);
  const before = [...host.files];
  host.refuses = (path, list) => path === 'own' && list === '2,3';
  await t.rejects(cores.set(host.cgroup('own'), 2), /EINVAL/);
  t.same([...host.files], before);
  host.refuses = (path) => path === 'b';
  await t.rejects(cores.set(host.cgroup('own'), 2), /EINVAL/).catch(() => undefined);
  host.refuses = () => false;
  await cores.set(host.cgroup('own'), 2);
  t.same([...host.files.values()], ['0,1', '0,1', '2,3']);
});

t.test('a new agent takes over what was given, and gives what is left of the dead to the others', async (t) => {
  const host = new FakeHost();
  const former = new ExclusiveCores(FOUR);
  await former.set(host.cgroup('shared'), null);
  await former.set(host.cgroup('own'), 1);
  await former.set(host.cgroup('dead'), 1);
  host.files.delete('dead');
  const cores = new ExclusiveCores(FOUR);
  await cores.adopt(host.cgroup('shared'), false);
  await cores.adopt(host.cgroup('own'), true);
  await cores.settle();
  t.same(
    [...host.files],
    [
      ['shared', '0,1,2'],
      ['own', '3'],
    ],
  );
});

t.test('lists of cores are read as the kernel writes them', async (t) => {
  t.same(parseCores('0-2,5\n'), [0, 1, 2, 5]);
  t.same(parseCores(''), []);
  t.same(parseCores('x,-,3'), [3]);
  fc.assert(
    fc.property(fc.uniqueArray(fc.nat(200)), (cores) => {
      t.strictSame(parseCores(formatCores(cores)), cores);
    }),
  );
});

t.test(
  'whatever comes and goes: no core is ever two\u2019s, not even between two writes, and one is always shared',
  async (t) => {
    const change = fc.record({
      name: fc.constantFrom('a', 'b', 'c', 'd'),
      count: fc.constantFrom(null, 1, 2, 3, 'leave' as const),
      refused: fc.option(fc.constantFrom('a', 'b', 'c', 'd'), { freq: 4 }),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(change, { maxLength: 20 }), async (changes) => {
        const host = new FakeHost();
        const cores = new ExclusiveCores(FOUR);
        const own = new Map<string, number>();
        let owners: string[] = [];
        host.onWrite = () => {
          for (const path of owners.filter((each) => (host.files.get(each) ?? '') !== '')) {
            for (const other of host.files.keys()) {
              if (other === path) continue;
              // One that nothing was ever written for has not begun to run.
              if (host.files.get(other) === '') continue;
              const both = host.coresOf(path, FOUR).filter((core) => host.coresOf(other, FOUR).includes(core));
              if (both.length > 0 && own.has(path)) throw new Error(`${path} and ${other} share ${both}`);
            }
          }
        };
        for (const { name, count, refused } of changes) {
          host.refuses = (path) => path === refused && count !== 'leave';
          owners = [...own.keys()].filter((each) => each !== name);
          if (count === 'leave') {
            host.files.delete(name);
            await cores.leave(name);
            own.delete(name);
            continue;
          }
          const isNew = !host.files.has(name);
          try {
            await cores.set(host.cgroup(name), count);
            if (count === null) own.delete(name);
            else own.set(name, count);
          } catch {
            if (isNew) host.files.delete(name);
          }
          host.refuses = () => false;
        }
        const taken = [...own.keys()].flatMap((path) => host.coresOf(path, FOUR));
        t.equal(new Set(taken).size, taken.length);
        t.ok(taken.length < FOUR.length);
        for (const [path, count] of own) t.equal(host.coresOf(path, FOUR).length, count);
        for (const path of host.files.keys()) {
          if (own.has(path)) continue;
          t.notOk(host.coresOf(path, FOUR).some((core) => taken.includes(core)));
        }
      }),
      { numRuns: 60 },
    );
  },
);
