import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { Paths } from '../../../agent/paths.js';
import { processesByInstance } from '../../../scripts/lib/soak/host.js';
import { StateCluster } from '../../../scripts/lib/state/state-cluster.js';

const DIST = fileURLToPath(new URL('../../..', import.meta.url));

t.test('a run that ends in the middle of faults leaves nothing of its hosts behind', async (t) => {
  const cluster = await StateCluster.start({ dist: DIST, hosts: 2, shards: 8, count: 2, countMax: 2 });
  t.teardown(() => cluster.close());
  const running = async () => {
    const found = await Promise.all(cluster.folders.map((folder) => processesByInstance(folder)));
    return found.flatMap((each) => [...each.keys()]);
  };
  t.same((await running()).sort(), ['t-caller-0', 't-store-0', 't-store-1']);
  // One agent is dead, its instances go on; another one stands still.
  await cluster.kill('h0');
  await cluster.stop('h1');
  await cluster.close();
  t.same(await running(), []);
  for (const folder of cluster.folders) t.notOk(existsSync(new Paths(folder).shared), `memory of ${folder}`);
});
