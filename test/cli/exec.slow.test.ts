import { execFile, spawn } from 'node:child_process';
import { readdir, readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import t from 'tap';
import { Cluster } from '../../scripts/lib/demo/cluster.js';
import { until } from '../../scripts/lib/until.js';
import { runCli, startCli } from './run-cli.js';

const run = promisify(execFile);
const CLI = fileURLToPath(new URL('../../cli/main.js', import.meta.url));
const APP = `app: t
components:
  idle: { rootfs: host, command: [sleep, "1000"], count: 1 }
`;

const cluster = await Cluster.start(CLI);
t.teardown(() => cluster.close());
await cluster.put('/v1/apps/t', 'application/yaml', APP);
await cluster.until('the instance is ready', 30_000, async () => {
  const all = await cluster.get<{ id: string; phase: string }[]>('/v1/instances');
  return all.some(({ id, phase }) => id === 't-idle-0' && phase === 'ready');
});

t.test('a command runs inside, with the rights of the instance, and nothing of it stays behind', async (t) => {
  const given = ['exec', '--server', cluster.server];
  const { code, out, err } = await runCli([
    ...given,
    't-idle-0',
    '--',
    'sh',
    '-c',
    'id -u; hostname; grep CapEff /proc/self/status',
  ]);
  t.equal(code, 0, err);
  t.match(out, /^0\nt-idle-0\nCapEff:\t0000000000000000\n$/);
  t.match(await runCli([...given, 't-idle-0', '--', '/no/such/program']), { err: /no such|not found/i });

  // No other process of this machine sleeps for just so long.
  const seconds = String(500_000 + process.pid);
  const running = startCli([
    ...given,
    't-idle-0',
    '--',
    'sh',
    '-c',
    `sleep ${seconds} & sleep ${seconds} & echo on; wait`,
  ]);
  await running.printed('on');
  await until(async () => (await sleepers(seconds)) === 2);
  running.child.kill('SIGINT');
  t.equal((await running.ended).code, 130);
  await until(async () => (await sleepers(seconds)) === 0);
});

const RIGHTS =
  'grep -E "Cap|NoNewPrivs|Seccomp" /proc/self/status; cat /proc/self/limits /proc/self/uid_map; id; umask; hostname; pwd';

t.test('in a terminal a program has its size, its keys and its exit code, and the rights it has without', async (t) => {
  const exec = `"${process.execPath}" "${CLI}" exec --server ${cluster.server}`;
  const seconds = String(600_000 + process.pid);
  const program = [
    `${RIGHTS}; echo "is <$(tty)>"; stty size; until stty size | grep "44 88"; do sleep 0.1; done`,
    `read word; echo "has <$word>"`,
    `trap "echo struck" INT; sleep ${seconds}; trap - INT; exit 7`,
  ].join('; ');
  const here = `stty cols 77 rows 33; echo "here <$(tty)>"; ${exec} -t t-idle-0 -- sh -c '${program}'; echo "code <$?>"`;
  const user = inTerminal(t, `${here}; stty -a`);
  await user.says(/is <\/dev\/pts\/0>\s+33 77\s/);
  const [, ours = ''] = await user.says(/here <(\S+)>/);
  await run('stty', ['-F', ours, 'cols', '88', 'rows', '44']);
  await user.says(/44 88\s/);
  user.types('hello\r');
  await user.says(/has <hello>/);
  await until(async () => (await sleepers(seconds)) === 1);
  user.types('\x03');
  await user.says(/struck/);
  await user.says(/code <7>/);
  await user.says(/ icanon .* echo /s);
  t.equal(await sleepers(seconds), 0);

  t.match(user.said(), /CapEff:\s+0+\s.*CapBnd:\s+0+\s.*NoNewPrivs:\s+1\s+Seccomp:\s+2\s/s);
  const plain = await runCli(['exec', '--server', cluster.server, 't-idle-0', '--', 'sh', '-c', RIGHTS]);
  const rights = user.said().replaceAll('\r', '');
  t.equal(rights.slice(rights.indexOf('CapInh'), rights.indexOf('is <')), plain.out, 'no more and no less');
  t.match(plain.out, /Max processes +512 +512 .*uid=0\(root\) gid=0\(root\) groups=0\(root\)\s+0022\s+t-idle-0\s/s);
});

t.test('a terminal is given back when the command is interrupted, and needs one to begin with', async (t) => {
  const exec = `"${process.execPath}" "${CLI}" exec --server ${cluster.server}`;
  const seconds = String(700_000 + process.pid);
  for (const [signal, code] of [
    ['TERM', 143],
    ['HUP', 1],
  ] as const) {
    const user = inTerminal(
      t,
      `${exec} -t t-idle-0 -- sh -c 'echo on; sleep ${seconds}' & echo "<$!>"; fg; echo "code <$?>"; stty -a`,
    );
    const [, pid] = await user.says(/<(\d+)>/);
    await until(async () => (await sleepers(seconds)) === 1);
    process.kill(Number(pid), `SIG${signal}`);
    await user.says(new RegExp(`code <${code}>`));
    await user.says(/ icanon .* echo /s);
    await until(async () => (await sleepers(seconds)) === 0);
  }
  t.match(await runCli(['exec', '--server', cluster.server, '-t', 't-idle-0', '--', 'id']), {
    code: 2,
    err: /-t needs a terminal as standard input/,
  });
  const missing = inTerminal(t, `${exec} -t t-idle-0 -- /no/such/program; echo "code <$?>"`);
  await missing.says(/no such.*code <[1-9]/is);
});

/** A user at a terminal, who runs words of bash with job control. */
function inTerminal(t: { teardown(end: () => void): unknown }, words: string) {
  const child = spawn('script', ['-qfec', `exec bash -mc '${words.replaceAll("'", "'\\''")}'`, '/dev/null'], {
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  t.teardown(() => child.kill('SIGKILL'));
  let said = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      said += text;
    });
  }
  return {
    said: () => said,
    types: (text: string) => void child.stdin.write(text),
    async says(what: RegExp): Promise<RegExpExecArray> {
      await until(() => what.test(said)).catch((error: unknown) => {
        throw new Error(`the terminal did not say ${what}: ${said}`, { cause: error });
      });
      const found = what.exec(said);
      if (found === null) throw new Error(`${what} was there`);
      return found;
    },
  };
}

/** How many processes of this machine sleep for so long. */
async function sleepers(seconds: string): Promise<number> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const commands = await Promise.all(pids.map((pid) => readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')));
  return commands.filter((command) => command === `sleep\0${seconds}\0`).length;
}
