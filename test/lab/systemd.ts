/** Alone, at the end of `scripts/test --long`: seven minutes, and twice that beside anything else. */
import { execFile } from 'node:child_process';
import { cp, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import t from 'tap';
import { bootRack, CHECKOUT } from '../../scripts/lib/lab/rack.js';
import { shoal, succeed } from './guest.js';

const UNITS = ['shoal-coordinator.service', 'shoal-agent.service', 'shoal-renew.timer'];
const [COORDINATOR = '', AGENT = ''] = UNITS;
const PORT = 8080;
/** To unpack thousands of files, where all is emulated and the host busy. */
const STEP_MS_MAX = 400_000;
/** Keeps its count in state, of which there are snapshots on the disk. */
const MANIFEST = `
app: lab
components:
  visits:
    rootfs: host
    directory: ${CHECKOUT}/dist/test/agent/components
    command: [node, visits.mjs]
    ports: [{ name: http, host: ${PORT} }]
    state: { mode: partitioned, shards: 1, snapshot: { every: 1s } }
    count: 1
    size: { cpu: 1, memory: 128Mi }
`;

/** A program that asks until the answer has the pattern, and prints it. */
const asking = (url: string, pattern: RegExp) => `
  const ask = async () => {
    const signal = AbortSignal.timeout(30_000);
    const text = await fetch('${url}', { signal }).then((answer) => answer.text()).catch(() => '');
    if (${pattern}.test(text)) process.stdout.write(text);
    else setTimeout(ask, 500);
  };
  ask();
`;
const UNTIL_CONNECTED = asking('http://127.0.0.1:7946/v1/hosts', /"connected":true/);
const VISIT = asking(`http://127.0.0.1:${PORT}/`, /^\d+$/);

/**
 * What has Shoal's name: files, of all that the machine wrote and of those in memory, cgroups, mounts, units, processes; and
 * lists of users. Not what systemd keeps of units: it goes with this boot, or with the next, by systemd-tmpfiles.
 */
const TRACES = `
  mount -t ext4 /dev/vda /mnt
  find /mnt/files /run /dev/shm /sys/fs/cgroup \\( -path /run/lab -o -path /run/systemd -o -name 'systemd-private-*' \\) -prune -o -name '*shoal*' ! -type c -print
  find /mnt/files/etc ! -type c \\( -name 'passwd*' -o -name 'group*' -o -name 'sub[ug]id*' -o -name 'shadow*' \\)
  umount /mnt
  grep -h shoal /proc/[0-9]*/mounts | sort -u
  systemctl list-units --all --no-legend --plain | grep shoal
  ps -eo args= | grep -E '^(crun|/usr/bin/env node|node|/usr/lib/shoal)'
  true
`;

/** What there is to see when a step fails. */
const STATE = `
  journalctl --no-pager -o cat -n 80 -u ${COORDINATOR} -u ${AGENT}
  tail -n 40 /run/shoal/instances/*/log
  timeout 60 shoal describe component lab/visits
  timeout 20 node -e "fetch('http://127.0.0.1:${PORT}/').then((answer) => answer.text()).then(console.log, console.log)"
  ps -eo pid,stat,etimes,wchan:32,args
  true
`;

t.test('the package under a real systemd: agent killed, upgraded, the machine rebooted, purged', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'shoal-package-'));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  const versions = ['0.1.0', '0.1.1'];
  const build = (version: string) =>
    promisify(execFile)(join(CHECKOUT, 'scripts/package'), ['--built', '--version', version, folder]);
  const [rack] = await Promise.all([bootRack({ systemd: true, diskMib: 2_048 }), ...versions.map(build)]);
  t.teardown(() => rack.stop());
  await cp(folder, rack.folder, { recursive: true });
  const inside = async (...argv: string[]) => {
    try {
      return await succeed(rack, argv, STEP_MS_MAX);
    } catch (error) {
      const state = await succeed(rack, ['sh', '-c', STATE]).catch((reason: Error) => reason.message);
      throw new Error(`${(error as Error).message}\n${state}`);
    }
  };
  const sh = (script: string) => inside('sh', '-c', script);

  t.equal(await inside('systemctl', 'is-system-running', '--wait'), 'running\n');
  t.equal(await sh(TRACES), '', 'nothing is there before');
  const install = (version: string) => sh(`dpkg --force-unsafe-io -i /run/lab/shoal_${version}_*.deb`);
  await install('0.1.0');
  t.equal(await sh(`systemctl is-active ${UNITS.join(' ')} || true`), 'inactive\ninactive\ninactive\n');
  await sh('echo OPTIONS= >/etc/shoal/agent.env');
  await inside('systemctl', 'enable', '--now', ...UNITS);
  t.equal(await inside('systemctl', 'is-active', ...UNITS), 'active\nactive\nactive\n');

  await writeFile(join(rack.folder, 'shoal.yaml'), MANIFEST);
  await inside('node', '-e', UNTIL_CONNECTED);
  await inside(...shoal('apply', '-f', '/run/lab/shoal.yaml', '--wait', '200'));
  const instance = () => sh('cd /sys/fs/cgroup/shoal/*/lab-visits-0 && cat cpu.max memory.max cgroup.procs');
  const before = await instance();
  t.match(before, /^100000 100000\n134217728\n\d+\n$/, 'an instance runs with its limits');
  t.equal(await inside('node', '-e', VISIT), '1');

  // All of the service: what belongs to instances is not of it.
  await inside('systemctl', 'kill', '--signal', 'KILL', AGENT);
  await sh(
    `until [ "$(systemctl show -P NRestarts -P ActiveState ${AGENT} | xargs)" = "1 active" ]; do sleep 0.5; done`,
  );
  t.equal(await instance(), before, 'it outlives the killed agent, which systemd starts again');

  t.equal(await inside('systemctl', 'show', '-P', 'NRestarts', COORDINATOR), '0\n', 'the watchdog is fed');
  const pids = () => inside('systemctl', 'show', '-P', 'MainPID', COORDINATOR, AGENT);
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
  await inside('systemctl', 'daemon-reload');
  t.equal(await instance(), before, 'and keeps its limits then');

  const snapshots = '$(ls /var/lib/shoal-snapshots/lab/visits/0 2>/dev/null)';
  const first = (await sh(`while [ -z "${snapshots}" ]; do sleep 0.2; done; echo "${snapshots}"`)).trim();
  t.equal(await inside('node', '-e', VISIT), '2');
  await sh(`while [ "${snapshots}" = "${first}" ]; do sleep 0.2; done`);
  await rack.reboot('h1');
  t.equal(await inside('node', '-e', VISIT), '3', 'after a reboot all comes up by itself, with what was counted');
  t.equal(await inside('systemctl', 'is-active', ...UNITS), 'active\nactive\nactive\n');
  const refits = `journalctl -o cat -u ${COORDINATOR} | grep -c 'the refit of a forecast failed' || true`;
  t.equal(await sh(refits), '0\n', 'forecasts are fitted within what the unit permits');
  t.match(await inside('shoal', 'version', '--json'), /"server":\s*"0.1.1"/);

  t.match(await sh(TRACES), /var\/lib\/shoal\b.*\/dev\/shm\/shoal-.*shoal-agent\.service/s, 'what is there is found');
  await inside('dpkg', '--purge', 'shoal');
  t.equal(await sh(TRACES), '', 'purged, it leaves nothing');
});
