import { execFileSync } from 'node:child_process';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import t from 'tap';
import { Paths } from '../../agent/paths.js';
import { AgentRig, component, instance } from './rig.js';

/** For a longer look: SHOAL_CYCLES=10000. */
const CYCLES = Number(process.env.SHOAL_CYCLES ?? 100);
const AT_ONCE = 20;
const SECONDS = 60 + CYCLES;

t.test(`${CYCLES} instances come and go, and nothing of any is left`, { timeout: SECONDS * 1_000 }, async (t) => {
  // The profiler keeps a bounded number of files open, for the names in them.
  const rig = await AgentRig.make('--profile-hertz', '0');
  const command = ['sh', '-c', 'trap "exit 0" TERM; sleep 1000 & wait'];
  rig.desire(() => ({ apps: { t: { one: component('x', { command }) } } }));
  let number = 0;
  const round = async () => {
    const wanted = Array.from({ length: AT_ONCE }, () => instance('one', number++));
    rig.desire(() => ({ instances: wanted }));
    await rig.until('all run', () => wanted.every(({ id }) => rig.status(id)?.pid !== undefined), 60_000);
    rig.desire(() => ({ instances: [] }));
    await rig.until('all are gone', () => rig.statuses.length === 0, 60_000);
  };
  // What is made once, such as mounts for all instances, is there after the first.
  await round();
  const before = await heldBy(rig);
  while (number < CYCLES) await round();
  // The agent closes what it had open of the last ones in its own time.
  const deadline = performance.now() + 10_000;
  while (!isDeepStrictEqual(await heldBy(rig), before) && performance.now() < deadline) await delay(50);
  t.same(await heldBy(rig), before);
  t.equal(rig.events.filter(({ kind }) => kind === 'terminated').length, number);
  t.same(await rig.close(), []);
});

/** What the agent holds, and what of its instances there is. */
async function heldBy(rig: AgentRig) {
  const outer = String(rig.agent?.pid);
  const pid = (await readFile(`/proc/${outer}/task/${outer}/children`, 'utf8')).trim();
  const count = async (path: string) => (await readdir(path)).length;
  const cgroups = `/proc/${pid}/root${new Paths(rig.run).cgroupRoot}`;
  const folders = (await readdir(cgroups, { withFileTypes: true })).filter((entry) => entry.isDirectory());
  const shims = execFileSync('ps', ['-eo', 'args='], { encoding: 'utf8' }).split('\n');
  return {
    descriptors: await count(`/proc/${pid}/fd`),
    // Those of others on this host come and go meanwhile.
    mounts: (await readFile(`/proc/${pid}/mountinfo`, 'utf8')).split('\n').filter((line) => line.includes(rig.run)),
    cgroups: folders.map(({ name }) => name),
    shims: shims.filter((args) => args.includes('shoal-shim') && args.includes(rig.run)),
    instances: await count(join(rig.run, 'instances')),
    containers: await count(join(rig.run, 'crun')),
  };
}
