/** By hand, `node dist/test/lab/systemd.js`: it takes over five minutes, too long for the suite. */
import { execFile } from 'node:child_process';
import { cp, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import t from 'tap';
import { bootRack, CHECKOUT } from '../../scripts/lib/lab/rack.js';
import { busyApp, shoal, succeed } from './guest.js';

/** Ends when the coordinator says that an agent is connected. */
const UNTIL_CONNECTED = `
  const look = async () => (await (await fetch('http://127.0.0.1:7946/v1/hosts')).text()).includes('"connected":true');
  const again = () => look().catch(() => false).then((is) => is || setTimeout(again, 500));
  again();
`;

t.test('the package under a real systemd: installed, its agent killed, upgraded', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'shoal-package-'));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  const versions = ['0.1.0', '0.1.1'];
  const build = (version: string) =>
    promisify(execFile)(join(CHECKOUT, 'scripts/package'), ['--built', '--version', version, folder]);
  const [rack] = await Promise.all([bootRack({ systemd: true }), ...versions.map(build)]);
  t.teardown(() => rack.stop());
  await cp(folder, rack.folder, { recursive: true });
  const inside = (...argv: string[]) => succeed(rack, argv);
  const sh = (script: string) => inside('sh', '-c', script);
  const units = ['shoal-coordinator', 'shoal-agent'];

  t.equal(await inside('systemctl', 'is-system-running', '--wait'), 'running\n');
  const install = (version: string) => inside('sh', '-c', `dpkg -i /run/lab/shoal_${version}_*.deb`);
  await install('0.1.0');
  t.equal(await sh('systemctl is-active shoal-agent shoal-coordinator || true'), 'inactive\ninactive\n');
  await inside('systemctl', 'start', ...units);
  t.equal(await inside('systemctl', 'is-active', ...units), 'active\nactive\n');

  await writeFile(join(rack.folder, 'shoal.yaml'), busyApp(1, 64));
  await inside('node', '-e', UNTIL_CONNECTED);
  await inside(...shoal('apply', '-f', '/run/lab/shoal.yaml', '--wait', '200'));
  const instance = () => sh('cd /sys/fs/cgroup/shoal/*/lab-busy-0 && cat cpu.max memory.max cgroup.procs');
  const before = await instance();
  t.match(before, /^100000 100000\n67108864\n\d+\n$/, 'an instance runs with its limits');

  // All of the service: what belongs to instances is not of it.
  await inside('systemctl', 'kill', '--signal', 'KILL', 'shoal-agent');
  await sh(
    'until [ "$(systemctl show -P NRestarts -P ActiveState shoal-agent | xargs)" = "1 active" ]; do sleep 0.5; done',
  );
  t.equal(await instance(), before, 'it outlives the killed agent, which systemd starts again');

  t.equal(await inside('systemctl', 'show', '-P', 'NRestarts', 'shoal-coordinator'), '0\n', 'the watchdog is fed');
  const pids = () => inside('systemctl', 'show', '-P', 'MainPID', ...units);
  const old = (await pids()).trim().split(/\s+/);
  await install('0.1.1');
  const upgraded = (await pids()).trim().split(/\s+/);
  t.equal(
    upgraded.filter((pid) => pid !== '0' && !old.includes(pid)).length,
    2,
    'both parts are those of the new version',
  );
  await inside('node', '-e', UNTIL_CONNECTED);
  t.equal(await instance(), before, 'and the instance is the same after an upgrade');

  await inside('systemctl', 'stop', 'shoal-agent');
  t.equal(await instance(), before, 'and the stopped one');
  await inside('systemctl', 'daemon-reload');
  t.equal(await instance(), before, 'and keeps its limits then');
});
