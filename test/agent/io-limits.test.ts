import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { Cgroup } from '../../agent/cgroup.js';
import { disksOf, ioMaxLines } from '../../agent/io-limits.js';

t.test('a limit is one line for each disk, and lifts what it does not name', async (t) => {
  t.same(ioMaxLines({ readBytes: 4096, writeOps: 7 }, ['8:0', '254:16']), [
    '8:0 rbps=4096 wbps=max riops=max wiops=7',
    '254:16 rbps=4096 wbps=max riops=max wiops=7',
  ]);
});

t.test('disks are those that have a device behind them', async (t) => {
  const sys = await mkdtemp(join(tmpdir(), 'shoal-io-'));
  t.teardown(() => rm(sys, { recursive: true }));
  await t.rejects(disksOf({}, sys), { code: 'SHOAL_E_START', message: /io\.devices/ });
  for (const [name, numbers] of [
    ['loop0', '7:0'],
    ['vda', '254:0'],
  ] as const) {
    await mkdir(join(sys, 'block', name), { recursive: true });
    await writeFile(join(sys, 'block', name, 'dev'), `${numbers}\n`);
  }
  await mkdir(join(sys, 'block/vda/device'));
  t.same(await disksOf({}, sys), ['254:0']);
});

t.test('what is no disk is refused by its name', async (t) => {
  await t.rejects(disksOf({ devices: ['/dev/null'] }), { code: 'SHOAL_E_START', message: /\/dev\/null/ });
});

t.test('without the io controller nothing is written, and that is told', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'shoal-io-'));
  t.teardown(() => rm(folder, { recursive: true }));
  const cgroup = new Cgroup(folder);
  t.equal(await cgroup.hasIo, false);
  t.equal(await cgroup.limitIo(['8:0 rbps=1']), false);
});
