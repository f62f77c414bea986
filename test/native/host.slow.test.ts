import { spawn, spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, open, readFile, rm, rmdir, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { mountedAt } from '../../agent/isolate.js';
import { native } from '../../native/index.js';

const ADDON = fileURLToPath(new URL('../../native/index.js', import.meta.url));

async function temporary(test: { teardown(action: () => Promise<void>): void }): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'shoal-native-'));
  test.teardown(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

/** Runs statements with the addon in a process of its own, in a mount namespace if asked. */
function runInside(statements: string, { mounts }: { mounts: boolean }): { status: number | null; out: string } {
  const script = `import { native } from ${JSON.stringify(ADDON)}; ${statements}`;
  const node = [process.execPath, '--input-type=module', '-e', script];
  const [program = '', ...words] = mounts ? ['unshare', '--mount', '--propagation', 'private', ...node] : node;
  const { status, stdout, stderr } = spawnSync(program, words, { encoding: 'utf8' });
  return { status, out: stdout + stderr };
}

t.test('the end of a process is noticed once, and a signal reaches no other', async (t) => {
  const child = spawn('sleep', ['1000']);
  const pid = child.pid as number;
  let calls = 0;
  const gone = new Promise<void>((resolve) => {
    native.watchPid(pid, () => {
      calls += 1;
      resolve();
    });
  });
  const closed = native.watchPid(pid, () => t.fail('a closed watch calls nobody'));
  closed.close();
  closed.close();
  t.equal(native.signalPid(pid, 15), true);
  await gone;
  await new Promise((resolve) =>
    child.exitCode === null && child.signalCode === null ? child.once('exit', resolve) : resolve(null),
  );
  t.equal(calls, 1);
  t.equal(native.signalPid(pid, 15), false);
  t.throws(() => native.watchPid(pid, () => {}), { code: 'ESRCH', syscall: 'pidfd_open' });
  t.throws(() => native.signalPid(process.pid, 999), { code: 'EINVAL' });
});

t.test('a detached program runs by itself, and is reaped', async (t) => {
  const folder = await temporary(t);
  const out = join(folder, 'out');
  const held = await open(join(folder, 'held'), 'w');
  t.teardown(() => held.close());
  const script = `exec > ${out}; pwd; cut -d' ' -f5,6 /proc/$$/stat; tr '\\0' '\\n' < /proc/$$/environ
    grep -E 'Sig(Blk|Ign)' /proc/$$/status; readlink /proc/$$/fd/*`;
  const pid = await native.spawnDetached('/bin/sh', ['-c', script]);
  await new Promise<void>((resolve) => void native.watchPid(pid, resolve));
  const lines = (await readFile(out, 'utf8')).trim().split('\n');
  t.same(lines.slice(0, 2), ['/', `${pid} ${pid}`], 'it leads a session, and its environment is empty');
  t.match(lines.slice(2, 4), [/^SigBlk:\t0{16}$/, /^SigIgn:\t\d{9}0{7}$/], 'it has the usual signals');
  t.same(lines.slice(4).filter((path) => path === '/dev/null').length, 2);
  t.notOk(lines.includes(join(folder, 'held')), 'it has no descriptor of ours');
  while (existsSync(`/proc/${pid}`)) await setTimeout(5);

  const absent = { code: 'ENOENT', syscall: 'posix_spawn', path: '/no/such' };
  await t.rejects(native.spawnDetached('/no/such', []), absent);
  await t.rejects(native.spawnDetached(folder, []), { code: 'EACCES' });
  const alone = runInside(`await native.spawnDetached('/bin/sleep', ['1']); console.log('ended')`, { mounts: false });
  t.same(alone, { status: 0, out: 'ended\n' });
});

t.test('a lock is held until its process ends', async (t) => {
  const folder = await temporary(t);
  const path = join(folder, 'lock');
  t.equal(native.lockIsHeld(path), false, 'there is no such file');
  const script = `import { native } from ${JSON.stringify(ADDON)}; native.acquireLock(${JSON.stringify(path)});
    console.log('held'); setInterval(() => {}, 1000);`;
  const holder = spawn(process.execPath, ['--input-type=module', '-e', script]);
  await new Promise((resolve) => holder.stdout.once('data', resolve));
  t.equal(native.lockIsHeld(path), true);
  t.throws(() => native.acquireLock(path), { code: 'EAGAIN', path });
  const ended = new Promise((resolve) => holder.once('exit', resolve));
  holder.kill('SIGKILL');
  await ended;
  t.equal(native.lockIsHeld(path), false);
});

t.test('bind mounts are read-only when asked, and errors name what is wrong', async (t) => {
  const folder = await temporary(t);
  const [from, to] = [join(folder, 'from'), join(folder, 'to')];
  await mkdir(from);
  await mkdir(to);
  await writeFile(join(from, 'file'), 'content');
  const inside = runInside(
    `import { readFileSync, writeFileSync } from 'node:fs';
     native.bindMount(${JSON.stringify(from)}, ${JSON.stringify(to)}, { readonly: true });
     console.log(readFileSync(${JSON.stringify(join(to, 'file'))}, 'utf8'));
     try { writeFileSync(${JSON.stringify(join(to, 'file'))}, 'x'); } catch (error) { console.log(error.code); }
     native.unmount(${JSON.stringify(to)});
     try { native.unmount(${JSON.stringify(to)}); } catch (error) { console.log(error.code, error.path); }`,
    { mounts: true },
  );
  t.equal(inside.out, `content\nEROFS\nEINVAL ${to}\n`);
  t.throws(() => native.bindMount('/no/such', to, { readonly: true }), {
    code: 'ENOENT',
    path: '/no/such',
    syscall: 'mount',
  });
});

t.test('systemd is told when it asked to be', async (t) => {
  t.equal(native.sdNotify('READY=1'), false, 'nobody asked');
  const folder = await temporary(t);
  const path = join(folder, 'notify');
  // Node has no datagram sockets in the file system; Perl is on every Debian.
  const listen = `use IO::Socket::UNIX; $| = 1; my $s = IO::Socket::UNIX->new(Type => SOCK_DGRAM, Local => $ARGV[0]) or die;
    print "bound\n"; $s->recv(my $text, 100); print $text`;
  const listener = spawn('perl', ['-e', listen, path], { stdio: ['ignore', 'pipe', 'inherit'] });
  let heard = '';
  const done = new Promise((resolve) => listener.once('exit', resolve));
  const bound = new Promise<void>((resolve) => {
    listener.stdout.on('data', (chunk: Buffer) => {
      heard += chunk.toString();
      resolve();
    });
  });
  await bound;
  process.env.NOTIFY_SOCKET = path;
  t.teardown(() => {
    delete process.env.NOTIFY_SOCKET;
  });
  t.equal(native.sdNotify('READY=1'), true);
  await done;
  t.match(heard, /READY=1/);
  process.env.NOTIFY_SOCKET = `/${'x'.repeat(200)}`;
  t.throws(() => native.sdNotify('READY=1'), { code: 'ENAMETOOLONG' });
});

t.test('CPU time by BPF is exact: it equals what the scheduler itself accounted', async (t) => {
  const mount = ['/sys/fs/cgroup', '/sys/fs/cgroup/unified'].find((path) => mountedAt(path) === 'cgroup2');
  if (mount === undefined) throw new Error('cgroup v2 is mounted nowhere on this host');
  const cgroup = join(mount, `shoal-native-test-${process.pid}`);
  await mkdir(cgroup);
  const profiler = native.createProfiler();
  t.teardown(async () => {
    profiler.close();
    await rmdir(cgroup);
  });
  t.throws(() => profiler.watch(cgroup), { message: /not started/ });
  profiler.start();
  profiler.watch(cgroup);
  profiler.cost();
  t.throws(() => profiler.watch(join(cgroup, 'none')), { code: 'ENOENT' });
  const figures = async () => {
    const accounted = Number(/usage_usec (\d+)/.exec(await readFile(join(cgroup, 'cpu.stat'), 'utf8'))?.[1]) / 1e6;
    return { accounted, seconds: profiler.read().get(cgroup)?.cpuSeconds ?? 0 };
  };
  // BPF sees a task in its new cgroup from its next switch on. What it runs until then, which on a machine that others
  // hold up may be long, is left out: both are compared from where it waits to be told.
  const spin =
    'echo $$ > $0/cgroup.procs; sleep 0.01; echo in; read go; i=0; while [ $i -lt 1600000 ]; do i=$((i+1)); done';
  const run = async () => {
    const child = spawn('sh', ['-c', spin, cgroup], { stdio: ['pipe', 'pipe', 'inherit'] });
    const ended = new Promise((resolve) => child.once('exit', resolve));
    await new Promise((resolve) => child.stdout.once('data', resolve));
    const start = await figures();
    child.stdin.end('go\n');
    await ended;
    // A task that has told its parent of its end still has to leave its CPU, and only then is its last turn counted.
    for (let i = 0; ; i += 1) {
      const now = await figures();
      const accounted = now.accounted - start.accounted;
      const seconds = now.seconds - start.seconds;
      const equal = Math.abs(seconds - accounted) < 0.02 * accounted + 0.02;
      if (equal || i === 100) return { equal, accounted, seconds };
      await setTimeout(20);
    }
  };
  // Where other guests hold a virtual machine up, now and then one of the two clocks goes on and the other does not.
  let result = await run();
  for (let tries = 1; tries < 8 && !result.equal; tries += 1) result = await run();
  const { equal, accounted, seconds } = result;
  t.ok(accounted > 0.05, `${accounted} s`);
  t.ok(equal, `BPF ${seconds} s, scheduler ${accounted} s`);
  t.ok(profiler.cost().runs > 0);
  profiler.unwatch(cgroup);
  t.equal(profiler.read().has(cgroup), false);
});
