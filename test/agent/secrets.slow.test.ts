import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { AgentRig, component, instance } from './rig.js';

const VALUE = 'correct horse battery staple';
const LOOK = `cat /run/secrets/db-password; echo
stat -c '%a %u:%g' /run/secrets/db-password
touch /run/secrets/new 2>&1 | grep -o 'Read-only file system'
grep ' /run/secrets ' /proc/self/mountinfo | grep -o ' - tmpfs '
exec sleep 1000`;

t.test(
  'a secret is a file that its instance alone can read, in memory; a value that was not set is named',
  async (t) => {
    const rig = await AgentRig.make();
    const web = component('x', { command: ['sh', '-c', LOOK], secrets: ['db-password'], secretVersions: [1] });
    rig.desire(() => ({ apps: { t: { web } }, instances: [instance('web', 0)] }));
    await rig.until('what is missing is named', () =>
      (rig.status('t-web-0')?.exit?.reason ?? '').includes('shoal secret set t/db-password'),
    );
    rig.desire(() => ({ secrets: { t: { 'db-password': Buffer.from(VALUE).toString('base64') } } }));
    await rig.until('it runs', () => rig.status('t-web-0')?.phase === 'ready', 40_000);
    const log = await readFile(join(rig.run, 'instances/t-web-0/log'), 'utf8');
    const said = log
      .split('\n')
      .filter(Boolean)
      .map((line) => line.replace(/^\S+ stdout /, ''));
    t.same(said, [VALUE, '400 0:0', 'Read-only file system', ' - tmpfs ']);
    t.same(await readdir(join(rig.run, 'secrets')).catch(() => []), [], 'nobody outside of the agent sees the files');
    t.notOk(rig.output.includes(VALUE));
    t.notOk(JSON.stringify(rig.events).includes(VALUE));

    await rig.killAgent('SIGKILL');
    rig.startAgent();
    const pid = rig.status('t-web-0')?.pid as number;
    rig.statuses = [];
    await rig.until('a new agent has adopted it', () => rig.status('t-web-0')?.phase === 'ready');
    process.kill(pid, 'SIGKILL');
    await rig.until('it was started anew', () => {
      const status = rig.status('t-web-0');
      return status?.phase === 'ready' && status.pid !== pid;
    });
    const again = await readFile(join(rig.run, 'instances/t-web-0/log'), 'utf8');
    t.equal(again.split(VALUE).length - 1, 2, 'with its secret');
    t.same(await rig.close(), []);
  },
);
