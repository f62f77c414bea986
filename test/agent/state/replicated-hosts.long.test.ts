import { fileURLToPath } from 'node:url';
import t from 'tap';
import type { InstanceView } from '../../../protocol/http.js';
import { ReplicaWatch } from '../../../scripts/lib/state/replica-watch.js';
import { StateCluster } from '../../../scripts/lib/state/state-cluster.js';

const DIST = fileURLToPath(new URL('../../..', import.meta.url));
const KEYS = ['a', 'b', 'c'];
/** A machine for tests may be ten times slower than this takes. */
const PATIENCE_MS = 60_000;
const MORE = 20;

t.test('replicated state on three hosts: processes and a host go and come, and what is promised holds', async (t) => {
  const cluster = await StateCluster.start({
    ...{ dist: DIST, mode: 'replicated', hosts: 3, shards: 1, replicas: 1, count: 2, countMax: 3 },
  });
  const watch = new ReplicaWatch(cluster, KEYS);
  t.teardown(async () => {
    await watch.stop();
    await cluster.close();
  });
  const owner = async (): Promise<InstanceView> => {
    let found: InstanceView | undefined;
    await cluster.until('there is an owner', async () => {
      found = (await cluster.instances()).find(({ shards }) => shards.length > 0);
      return found !== undefined;
    });
    return found as InstanceView;
  };
  /** Writes are acknowledged again, and each instance is read in a process that is not one of these. */
  const untilAllServe = async (when: string, count: number, gone: readonly string[] = []) => {
    await cluster.settled(PATIENCE_MS);
    await cluster.replicated(PATIENCE_MS);
    const since = watch.written;
    const areWell = async () => {
      const living = watch.processes.filter((each) => !gone.includes(each)).map((each) => each.split(' ')[0]);
      const all = await cluster.instances();
      const isWell =
        watch.written >= since + MORE && all.length === count && all.every(({ id }) => living.includes(id));
      if (isWell) return true;
      throw new Error(
        `${watch.written - since} writes; read were ${living}; the last write failed by ${watch.lastFailure}`,
      );
    };
    await cluster.until(`writes go on and all are read ${when}`, areWell, PATIENCE_MS);
    t.same(watch.wrong, [], when);
  };
  const processesOf = ({ id }: InstanceView) => watch.processes.filter((each) => each.startsWith(`${id} `));

  watch.start();
  await untilAllServe('at first', 2);
  await cluster.setCount(3);
  await untilAllServe('after a third has joined', 3);

  const first = await owner();
  const killed = processesOf(first);
  cluster.killInstance(first);
  await untilAllServe('after the SIGKILL of the owner', 3, killed);

  const second = await owner();
  await cluster.kill(second.host);
  cluster.startAgent(second.host);
  await untilAllServe("after the SIGKILL of the agent of the owner's host", 3, killed);

  const all = watch.processes;
  for (const each of await cluster.instances()) cluster.killInstance(each);
  await untilAllServe('after the SIGKILL of all instances at once', 3, all);

  const { host } = await owner();
  const burnt = (await cluster.instances()).filter((each) => each.host === host).flatMap(processesOf);
  await cluster.lose(host, await cluster.instances());
  const since = watch.written;
  await cluster.until('writes go on without the host', async () => watch.written >= since + MORE, PATIENCE_MS);
  cluster.startAgent(host);
  await untilAllServe("after the owner's host has burnt", 3, [...all, ...burnt]);

  await watch.stop();
  const last = new Map<string, readonly number[]>();
  await cluster.until('all have the same', async () => {
    const read = await watch.read();
    if (read !== null) last.set(read.who.split(' ')[0] as string, read.values);
    if (last.size >= 3 && new Set([...last.values()].map(String)).size === 1) return true;
    throw new Error(
      `read were ${JSON.stringify([...last])}, last with a lag of ${read?.lagMs} ms; ${watch.lastFailure}`,
    );
  });
  t.same(watch.wrong, []);
  t.same(
    watch.wrongInTheEnd([...last.values()][0] ?? []),
    [],
    'nothing acknowledged is lost, and nothing is done twice',
  );
  t.notOk((await cluster.events()).some(({ kind }) => kind === 'state-lost'));
});
