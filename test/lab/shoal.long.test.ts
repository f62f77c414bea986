import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { CHECKOUT, type Rack } from '../../scripts/lib/lab/rack.js';
import { within } from '../../scripts/lib/until.js';
import { compile, type NamedStack, wholeChains, withoutTypes } from '../native/workload.js';
import { busyApp, onOneMachine, STEP_MS_MAX, shoal, startShoal, succeed } from './guest.js';

const CHAINS_COMPILER = ['c++', '-O2', '-fomit-frame-pointer', '-fno-inline', '-rdynamic'];
/** Far more are; of some dozens of samples no more can be told. */
const WHOLE_SHARE = 0.8;
/** Beside the busy one: an instance with a core for itself. */
const OWN = `  own:
    rootfs: host
    command: [sleep, "9999"]
    count: 1
    size: { cpu: 1, memory: 64Mi }
    exclusive: true
`;

t.test('Shoal on a host with pure cgroup v2', (t) => onOneMachine((rack) => tryShoal(t, rack)));

async function tryShoal(t: Test, rack: Rack): Promise<void> {
  const inside = (...argv: string[]) => succeed(rack, argv);
  const apply = async (text: string) => {
    await writeFile(join(rack.folder, 'shoal.yaml'), text);
    await inside(...shoal('apply', '-f', '/run/lab/shoal.yaml', '--wait', '200'));
  };
  const cgroup = async () => {
    const files = ['cpu.max', 'memory.high', 'memory.max', 'pids.max', 'cgroup.procs'];
    const values = await inside('sh', '-c', `cd /sys/fs/cgroup/shoal/*/lab-busy-0 && cat ${files.join(' ')}`);
    return values.trim().split('\n');
  };

  const doctor = JSON.parse(await inside(...shoal('doctor', '--json'))) as { id: string; met: boolean }[];
  t.ok(doctor.length > 10);
  t.same(
    doctor.filter((each) => !each.met).map((each) => each.id),
    [],
    'doctor finds nothing missing and nothing degraded',
  );

  await takesWholeStacks(t, rack);

  const up = await startShoal(rack);
  await apply(busyApp(1, 96) + OWN);
  const big = await cgroup();
  t.same(big.slice(0, 4), ['100000 100000', 'max', '100663296', '512'], 'cpu.max, memory.max and more are set');

  await apply(busyApp(0.5, 64) + OWN);
  const cores = ['own', 'busy'].map((name) => `/sys/fs/cgroup/shoal/*/lab-${name}-0/cpuset.cpus.effective`);
  const ranOn = await inside('sh', '-c', `cat ${cores.join(' ')}`);
  t.equal(ranOn, '1\n0\n', 'of the two cores one belongs to one instance alone');
  const small = await cgroup();
  t.same(small.slice(0, 4), ['50000 100000', 'max', '67108864', '512'], 'they follow a new size');
  t.same(small.slice(4), big.slice(4), 'in place: the same process goes on');
  const throttled =
    'until grep -q "^nr_throttled [1-9]" /sys/fs/cgroup/shoal/*/lab-busy-0/cpu.stat; do sleep 0.2; done';
  await inside('sh', '-c', throttled);

  await up.kill('SIGINT');
  const { code, stderr } = await within('shoal up to end on SIGINT', STEP_MS_MAX / 2, up.result);
  t.equal(code, 0);
  t.match(stderr, /controllers=\["cpu","memory","io","pids","cpuset"\]/);
  t.equal(await inside('find', '/sys/fs/cgroup/shoal', '-name', 'lab-*'), '', 'no cgroup is left');
}

/** What the tables made of .eh_frame are for: no code here has frame pointers. */
async function takesWholeStacks(t: Test, rack: Rack): Promise<void> {
  compile('chains.cc', join(rack.folder, 'chains'), CHAINS_COMPILER);
  const peer = join(CHECKOUT, 'dist/test/lab/stacks-peer.js');
  const { missing, stacks } = JSON.parse(await succeed(rack, ['node', peer, '/run/lab/chains'])) as {
    missing: Record<string, string>;
    stacks: NamedStack[];
  };
  t.same(missing, {});
  const chains = wholeChains(withoutTypes(stacks));
  for (const { name, whole, example } of chains) t.ok(whole > 0, `${name} with all its callers, as ${example}`);
  const sum = (of: 'whole' | 'all') => chains.reduce((total, each) => total + each[of], 0);
  t.ok(sum('whole') / sum('all') > WHOLE_SHARE, `${sum('whole')} of ${sum('all')} stacks are whole`);
}
