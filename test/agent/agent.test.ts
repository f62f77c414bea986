import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import t from 'tap';
import { Agent } from '../../agent/agent.js';
import { emptyDesired } from '../../agent/desired.js';
import { ExclusiveCores } from '../../agent/exclusive-cores.js';
import { ImageCounts } from '../../agent/image-store/counts.js';
import { SingletonLease } from '../../agent/lease.js';
import { Paths } from '../../agent/paths.js';
import { RootfsMaker } from '../../agent/rootfs.js';
import { Sources } from '../../agent/sources.js';
import { native } from '../../native/index.js';

t.test('a stored desired state that is damaged is as none, and the next one from the coordinator counts', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'shoal-agent-'));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  const paths = new Paths(join(folder, 'run'), join(folder, 'cgroup'));
  await mkdir(paths.run, { recursive: true });
  await mkdir(paths.cgroupRoot, { recursive: true });
  for (const damaged of ['{"revision":7,"apps":[]', '{"revision":"seven"}', '7', '{"revision":7,"apps":{"a":3}}']) {
    await writeFile(paths.desired, damaged);
    const clock = () => 0;
    const log = pino({ level: 'silent' });
    const images = { folder: paths.rootfs, bytesMax: 1, clock, log, native, counts: new ImageCounts() };
    const cores = new ExclusiveCores([]);
    const builder = {
      folder: join(paths.rootfs, 'builds'),
      logOf: (id: string) => paths.buildLog(id),
      cgroup: paths.buildCgroup,
      cores,
      size: { cpu: 1, memory: 1 },
      base: null,
      platform: '',
      cacheBytesMax: 1,
      log,
    };
    const rootfs = new RootfsMaker(paths, new Sources(paths.sources, native), images, builder);
    const lease = await SingletonLease.open(paths.lease, () => native.bootMs());
    const parts = { shim: '/no/shim', crun: '/no/crun', lease };
    const tools = { perfMap: false, userNamespace: true, paths, rootfs, native, clock, log, cores, ...parts };
    await rootfs.open();
    const nothing = { cpu: null, recorder: null, activity: null, profilerProblems: {} };
    const agent = new Agent(tools, { ...nothing, cpuProblem: null, stacksProblem: null });
    await agent.open();
    t.equal(agent.applied, 0, damaged);
    await agent.apply({ ...emptyDesired(), revision: 1 });
    t.equal(agent.applied, 1, damaged);
    await agent.close();
  }
});
