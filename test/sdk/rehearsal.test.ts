import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { until } from '../../scripts/lib/until.js';
import { rehearseCalls } from '../../sdk/call-rehearsal.js';
import { Meter } from '../../sdk/meter.js';
import { rehearse } from '../../sdk/rehearsal.js';

const openFiles = async () => (await readdir('/proc/self/fd')).length;

t.test('an activation is played to its end, and leaves neither a socket nor a descriptor', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'shoal-rehearsal-'));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  let told = 0;
  const stats = () => {
    told += 1;
    return { ...new Meter().read(), shards: [], frozen: [], called: {} };
  };
  // The first time other things are opened that stay, such as Node's own.
  await rehearse(folder, stats);
  const before = await openFiles();
  await rehearse(folder, stats);
  t.ok(told > 2, 'more than once each');
  t.same(await readdir(folder), []);
  await until(async () => (await openFiles()) <= before);
});

t.test('calls are answered over rings of which nothing is left', async (t) => {
  const before = await openFiles();
  await rehearseCalls(3);
  await until(async () => (await openFiles()) <= before);
  t.ok((await openFiles()) <= before);
});
