import { spawn } from 'node:child_process';
import { access, mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { LabError } from '../../scripts/lib/lab/errors.js';
import { bootRack, CHECKOUT, type Rack } from '../../scripts/lib/lab/rack.js';
import { until } from '../../scripts/lib/until.js';

/** Emulated on a busy machine all is slow; no test waits so long when all is well. */
const STEP_MS_MAX = 120_000;
const TRIES_MAX = 3;

t.test('a rack of two machines', async (t) => {
  const rack = await bootRack({ hosts: 2 });
  t.teardown(() => rack.stop());
  const sh = (host: string, script: string) => rack.run(host, ['sh', '-c', script], { timeMs: STEP_MS_MAX });
  t.same(rack.hosts, ['h1', 'h2']);

  await t.test('each is a host with pure cgroup v2, BTF, soft-RoCE and unlimited locked memory', async (t) => {
    const found = await sh(
      'h2',
      'cat /sys/fs/cgroup/cgroup.controllers; ulimit -l; hostname; stat -f -c %T /sys/fs/cgroup',
    );
    const [controllers = '', locked, name, type] = found.stdout.split('\n');
    for (const each of ['cpu', 'io', 'memory', 'pids']) t.ok(controllers.split(' ').includes(each), each);
    t.same([locked, name, type], ['unlimited', 'h2', 'cgroup2fs']);
    t.equal((await sh('h1', 'test -s /sys/kernel/btf/vmlinux && test -c /dev/infiniband/uverbs0')).code, 0);
    t.match((await sh('h1', 'rdma link show rxe0/1')).stdout, /state ACTIVE .* netdev eth0/);
  });

  await t.test('words go in and output, exit code and core dump come back as they are', async (t) => {
    const words = [`it's`, '"two"  words\n', '$HOME', 'é', ''];
    const echoed = await rack.run('h1', ['printf', '%s|', ...words], { env: { QUOTED: `'` }, cwd: '/' });
    t.same(echoed, { code: 0, stdout: words.map((word) => `${word}|`).join(''), stderr: '' });
    const failed = await rack.run('h2', ['sh', '-c', 'pwd; echo "$GREETING" >&2; exit 7'], {
      env: { GREETING: `'hi'` },
    });
    t.same(failed, { code: 7, stdout: `${CHECKOUT}\n`, stderr: `'hi'\n` });
    t.equal((await rack.run('h1', ['/no/such/program'])).code, 127);
    t.equal((await sh('h2', 'kill -SEGV $$')).code, 139);
    t.match(await rack.cores(), [/\/cores\/h2-sh-\d+$/]);
  });

  await t.test('what a machine writes is its own, and the host sees nothing of it', async (t) => {
    const file = join(CHECKOUT, 'build/written-in-the-lab');
    t.equal((await sh('h1', `echo x >${file} && cat ${file}`)).stdout, 'x\n');
    t.equal((await sh('h2', `test -e ${file}`)).code, 1);
    await t.rejects(access(file));
  });

  await t.test('one runs a command on another', async (t) => {
    const result = await rack.run('h1', ['on', 'h2', 'sh', '-c', 'hostname; echo "$1" >&2; exit 5', 'sh', `a 'b'`]);
    t.same(result, { code: 5, stdout: 'h2\n', stderr: `a 'b'\n` });
    t.match(await rack.run('h1', ['on', 'h9', 'true']), { code: 125, stderr: /no machine h9/ });
  });

  await t.test('real verbs work between them, both ends to their end', async (t) => {
    const pingpong = await pair(rack, ['ibv_rc_pingpong', '-d', 'rxe0', '-g', '1', '-n', '100', '-e']);
    for (const end of pingpong) t.match(end, { code: 0, stdout: /100 iters in/ });
    // Two busy-polling ends need a CPU each; this one waits for events.
    const latency = await pair(rack, ['ib_send_lat', '-d', 'rxe0', '-x', '1', '-n', '100', '-s', '64', '-F', '-e']);
    for (const end of latency) t.match(end, { code: 0, stdout: /^ 64 +100 +\d+\.\d+/m });
  });

  await t.test('a command that hangs is killed, with a clear error, and the machine goes on', async (t) => {
    const hangs = rack.run('h1', ['sh', '-c', 'echo soon; sleep 3210; echo late'], { timeMs: 3_000 });
    await t.rejects(hangs, {
      name: 'LabError',
      kind: 'time',
      message: /^h1: sh -c .* did not end within 3 s and was killed; it said: \nsoon$/m,
    });
    t.equal((await sh('h1', 'ps -eo args | grep "[s]leep 3210"')).code, 1, 'nothing of it is left');
  });

  await t.test('a machine that ends under a command is told apart, and the other goes on', async (t) => {
    await t.rejects(sh('h2', 'echo c >/proc/sysrq-trigger; sleep 100'), {
      kind: 'lost',
      message: /sysrq triggered crash/,
    });
    await t.rejects(sh('h2', 'true'), { kind: 'lost', message: /ended under a command/ });
    t.equal((await sh('h1', 'true')).code, 0);
  });

  await rack.stop();
  t.same(await processesOf(rack.folder), [], 'no process is left');
  await t.rejects(access(rack.folder), { code: 'ENOENT' }, 'no file either');
});

t.test('a machine that does not come up in time is an error, and nothing is left', async (t) => {
  for (const bootMs of [1, 500]) {
    await t.rejects(bootRack({ bootMs }), { name: 'LabError', kind: 'boot', message: /^h1 did not come up/ });
  }
});

t.test('a driver that is killed takes its machines along', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'shoal-lab-test-'));
  t.teardown(() => rm(folder, { recursive: true }));
  const out = join(folder, 'out');
  const words = [join(CHECKOUT, 'dist/scripts/lab.js'), 'run', '--out', out, '--', 'true'];
  const driver = spawn(process.execPath, words, {
    stdio: 'ignore',
    // A killed driver cannot remove its sockets.
    env: { ...process.env, TMPDIR: folder },
  });
  const ended = new Promise((resolve) => driver.once('exit', resolve));
  await until(async () => (await processesOf(out)).some((args) => args.startsWith('qemu')));
  driver.kill('SIGKILL');
  await ended;
  await until(async () => (await processesOf(out)).length === 0);
  t.pass('they are gone');
});

/**
 * Runs a program of RDMA in h2 as the server and in h1 as its client; answers what came of both. Again when they do not end:
 * emulated, one that sleeps until a completion has been seen to miss it.
 */
async function pair(rack: Rack, argv: string[]) {
  for (let tries = 1; ; tries += 1) {
    const server = rack.start('h2', argv, { timeMs: STEP_MS_MAX });
    const listens = 'until ss -ltnH "sport = :18515" | grep -q .; do sleep 0.2; done';
    await rack.run('h2', ['sh', '-c', listens], { timeMs: STEP_MS_MAX });
    try {
      const client = await rack.run('h1', [...argv, 'h2'], { timeMs: STEP_MS_MAX / 2 });
      return [client, await server.result];
    } catch (error) {
      if (tries === TRIES_MAX || !(error instanceof LabError) || error.kind !== 'time') throw error;
      await server.kill('SIGKILL');
      await server.result;
    }
  }
}

/** Arguments of the processes of this host that name the folder in theirs. */
async function processesOf(folder: string): Promise<string[]> {
  const found: string[] = [];
  for (const name of (await readdir('/proc')).filter((each) => /^\d+$/.test(each))) {
    const args = (await readFile(`/proc/${name}/cmdline`, 'utf8').catch(() => '')).split('\0');
    if (Number(name) !== process.pid && args.some((arg) => arg.includes(`${folder}`))) found.push(args.join(' '));
  }
  return found;
}
