import { readdir, readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { Cluster } from '../../scripts/lib/demo/cluster.js';
import { until } from '../../scripts/lib/until.js';
import { runCli, startCli } from './run-cli.js';

const CLI = fileURLToPath(new URL('../../cli/main.js', import.meta.url));
const APP = `app: t
components:
  idle: { rootfs: host, command: [sleep, "1000"], count: 1 }
`;

t.test('a command runs inside, with the rights of the instance, and nothing of it stays behind', async (t) => {
  const cluster = await Cluster.start(CLI);
  t.teardown(() => cluster.close());
  await cluster.put('/v1/apps/t', 'application/yaml', APP);
  await cluster.until('the instance is ready', 30_000, async () => {
    const all = await cluster.get<{ id: string; phase: string }[]>('/v1/instances');
    return all.some(({ id, phase }) => id === 't-idle-0' && phase === 'ready');
  });
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

/** How many processes of this machine sleep for so long. */
async function sleepers(seconds: string): Promise<number> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const commands = await Promise.all(pids.map((pid) => readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')));
  return commands.filter((command) => command === `sleep\0${seconds}\0`).length;
}
