import { fileURLToPath } from 'node:url';
import t from 'tap';
import { ReplicaWatch } from '../../../scripts/lib/state/replica-watch.js';
import { StateCluster } from '../../../scripts/lib/state/state-cluster.js';

const DIST = fileURLToPath(new URL('../../..', import.meta.url));
const KEYS = ['a', 'b', 'c', 'd', 'e', 'f'];
const STALENESS_MS = 500;
/** A machine for tests may be ten times slower than this takes. */
const PATIENCE_MS = 60_000;
const MORE = 20;

t.test(
  'what is read at any instance is no older than the manifest allows, whatever is killed or stands still',
  async (t) => {
    const cluster = await StateCluster.start({
      ...{ dist: DIST, hosts: 3, shards: 4, replicas: 1, count: 3, countMax: 3, staleness: `${STALENESS_MS}ms` },
    });
    const watch = new ReplicaWatch(cluster, KEYS, STALENESS_MS);
    t.teardown(async () => {
      await watch.stop();
      await cluster.close();
    });
    await cluster.replicated(PATIENCE_MS);
    watch.start();
    const untilMore = async (when: string) => {
      const since = watch.written;
      await cluster.until(`writes go on ${when}`, async () => watch.written >= since + MORE, PATIENCE_MS);
      t.same(watch.wrong, [], when);
    };
    const copyReads = async () => {
      const metrics = await cluster.getText('/metrics');
      return Number(/^shoal_state_copy_reads_total\{[^}]*\} (\d+)/m.exec(metrics)?.[1] ?? 0);
    };
    const untilCopiesAreRead = async (when: string) => {
      const before = await copyReads();
      await cluster.until(`copies are read ${when}`, async () => (await copyReads()) > before + MORE, PATIENCE_MS);
      t.same(watch.wrong, [], when);
    };
    await untilMore('at first');
    await untilCopiesAreRead('at first');

    const [first] = await cluster.instances();
    if (first === undefined) throw new Error('there are no instances');
    cluster.killInstance(first);
    await untilMore('after the SIGKILL of an instance');

    await cluster.kill(first.host);
    cluster.startAgent(first.host);
    await untilMore('after the SIGKILL of an agent');
    await untilCopiesAreRead('after the SIGKILL of an agent');

    // Its instance goes on, and hears nothing of what others write from then on.
    for (const host of cluster.hosts) {
      await cluster.stop(host);
      await new Promise((resolve) => setTimeout(resolve, 4 * STALENESS_MS));
      await cluster.resume(host);
      t.same(watch.wrong, [], `while ${host} stood still`);
    }
    await untilMore('after each agent has stood still');
    await untilCopiesAreRead('after each agent has stood still');
  },
);
