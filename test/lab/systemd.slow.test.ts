import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { bootRack, CHECKOUT } from '../../scripts/lib/lab/rack.js';
import { busyApp, shoal, succeed } from './guest.js';

/** Ends when the coordinator says that an agent is connected. */
const UNTIL_CONNECTED = `
  const look = async () => (await (await fetch('http://127.0.0.1:7946/v1/hosts')).text()).includes('"connected":true');
  const again = () => look().catch(() => false).then((is) => is || setTimeout(again, 500));
  again();
`;

t.test('the units of deploy/ under a real systemd', async (t) => {
  const rack = await bootRack({ systemd: true });
  t.teardown(() => rack.stop());
  const inside = (...argv: string[]) => succeed(rack, argv);
  const sh = (script: string) => inside('sh', '-c', script);
  const units = ['shoal-coordinator', 'shoal-agent'];

  t.equal(await inside('systemctl', 'is-system-running', '--wait'), 'running\n');
  // Where the units expect the package.
  const installed = '/usr/local/lib/node_modules/shoal';
  // Mounted, not linked: services do not see /tmp, /home and /root, where the checkout may be.
  await sh(`mkdir -p ${installed} && mount --bind '${CHECKOUT}' ${installed}`);
  await sh(`cp deploy/*.service /etc/systemd/system/ && systemctl daemon-reload`);
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

  await inside('systemctl', 'stop', 'shoal-agent');
  t.equal(await instance(), before, 'and the stopped one');
  await inside('systemctl', 'daemon-reload');
  t.equal(await instance(), before, 'and keeps its limits then');
});
