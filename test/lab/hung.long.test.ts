import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { bootRack } from '../../scripts/lib/lab/rack.js';
import { until } from '../../scripts/lib/until.js';
import { runs } from '../agent/rig.js';
import { STEP_MS_MAX } from './guest.js';

const DISK_MIB = 256;

t.test('a machine that hangs as it boots is booted once more', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'shoal-lab-hung-'));
  t.teardown(() => rm(folder, { recursive: true }));
  const booting = bootRack({ hosts: 2, folder, diskMib: DISK_MIB, bootMs: STEP_MS_MAX });
  let hung: number | undefined;
  await until(async () => {
    hung = await qemuOf('h2', folder);
    return hung !== undefined;
  });
  process.kill(hung as number, 'SIGSTOP');
  const rack = await booting;
  t.teardown(() => rack.stop());
  t.notOk(await runs(hung as number), 'the one that hung has ended');
  const script = 'test -b /dev/vda && busybox ping -c 1 -W 60 10.0.0.1 >/dev/null && hostname';
  const { stdout } = await rack.run('h2', ['sh', '-c', script], { timeMs: STEP_MS_MAX });
  t.equal(stdout, 'h2\n', 'another one has its disk and its place in the network');
  t.equal((await rack.run('h1', ['true'], { timeMs: STEP_MS_MAX })).code, 0);
});

/** The process id of the machine with that name of the rack with that folder, once there is one. */
async function qemuOf(name: string, folder: string): Promise<number | undefined> {
  for (const id of (await readdir('/proc')).filter((each) => /^\d+$/.test(each))) {
    const args = (await readFile(`/proc/${id}/cmdline`, 'utf8').catch(() => '')).split('\0');
    const isOfRack = args[0]?.startsWith('qemu') && args.some((each) => each.includes(folder));
    if (isOfRack && args[args.indexOf('-name') + 1] === name) return Number(id);
  }
  return undefined;
}
