import { readFileSync, type StatsFs } from 'node:fs';
import t from 'tap';
import { probeHost, probeParts, probeSharedMemory } from '../../agent/host-probe.js';

t.test(
  'each requirement has an id of its own, what was found and a remedy; what is checked here too is true',
  async (t) => {
    const found = await probeHost();
    const byId = new Map(found.map((each) => [each.id, each]));
    t.equal(byId.size, found.length);
    for (const { id, what, found: seen, remedy } of found) t.ok(what !== '' && seen !== '' && remedy !== '', id);
    t.equal(byId.get('root')?.met, process.geteuid?.() === 0);
    const effective = /^CapEff:\s+(\w+)$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? '';
    // CAP_SYS_RESOURCE is bit 24: the lowest of the seventh hexadecimal digit from the right.
    t.equal(byId.get('cap-sys-resource')?.met, Number.parseInt(effective.at(-7) ?? '0', 16) % 2 === 1);
  },
);

t.test('tools that are not installed are named', async (t) => {
  const { PATH } = process.env;
  t.teardown(() => {
    process.env.PATH = PATH;
  });
  process.env.PATH = '/nowhere';
  const byId = new Map((await probeHost()).map((each) => [each.id, each]));
  t.match(byId.get('tools'), { met: false, required: true, found: /setpriv, unshare, mount/, remedy: /util-linux/ });
  t.match(byId.get('skopeo'), { met: false, required: false, remedy: /apt-get install skopeo/ });
});

t.test('shared memory that is small, nearly full, missing or none is named', async (t) => {
  const statfs = (fields: Partial<StatsFs>) =>
    (() => ({ type: 0x01021994, bsize: 4096, blocks: 131_072, bavail: 131_072, ...fields })) as never;
  t.same(probeSharedMemory('/shm', statfs({})), { met: true, found: '/shm: 512 MiB, 512 MiB of it free' });
  t.match(probeSharedMemory('/shm', statfs({ blocks: 16_384, bavail: 16_384 })), { met: false, found: /64 MiB/ });
  t.match(probeSharedMemory('/shm', statfs({ bavail: 13_000 })), { met: false, found: /50 MiB of it free/ });
  t.match(probeSharedMemory('/shm', statfs({ type: 0xef53 })), { met: false, found: /no tmpfs/ });
  t.match(probeSharedMemory('/nowhere/at/all'), { met: false, found: /ENOENT/ });
});

t.test('parts of the profiler that are left out are named, each with its own remedy', async (t) => {
  t.match(probeParts({})[1], { met: true });
  const [remedy, found] = probeParts({
    'page faults by mapping': 'bpf: Invalid argument',
    'inlined functions in profiles': 'no libdw',
    'block I/O': 'no BTF',
  });
  t.equal(found.met, false);
  t.match(found.found, /page faults by mapping \(bpf: Invalid argument\); inlined functions in profiles \(no libdw\)/);
  t.match(remedy, /page faults by mapping: .*Linux 5.17/);
  t.match(remedy, /inlined functions in profiles: apt-get install libdw1/);
  t.match(remedy, /block I\/O: .*CONFIG_DEBUG_INFO_BTF/);
});
