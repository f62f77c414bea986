import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { shardOfKey } from '../../../protocol/shard.js';
import { StateCluster } from '../../../scripts/lib/state/state-cluster.js';

const DIST = fileURLToPath(new URL('../../..', import.meta.url));
const SHARDS = 8;
const KEYS = 40;

t.test('after the end of all hosts at once state is as in the last snapshots, or in those before', async (t) => {
  const cluster = await StateCluster.start({
    dist: DIST,
    hosts: 2,
    shards: SHARDS,
    replicas: 1,
    count: 2,
    countMax: 2,
    snapshot: '1s',
  });
  t.teardown(() => cluster.close());
  const addAll = async (value: number) => {
    for (let i = 0; i < KEYS; i += 1) t.equal((await cluster.call('add', `k${i}`, value)).code, undefined, `k${i}`);
  };
  const filesOn = async (host: string, shard: number) => {
    const folder = join(cluster.snapshotsOf(host), String(shard));
    return (await readdir(folder)).filter((name) => name.endsWith('.state')).map((name) => join(folder, name));
  };
  const files = async (shard: number) => (await Promise.all(cluster.hosts.map((host) => filesOn(host, shard)))).flat();
  const epochOf = (path: string) => Number(/(\d+)-\d+\.state$/.exec(path)?.[1]);
  const lastOf = (path: string) => Number(/-(\d+)\.state$/.exec(path)?.[1]);
  /** On every host: the one before the newest may be of any moment since then, and of none before. */
  const saved = (writes: number) =>
    cluster.until(`snapshots have ${writes} writes`, async () => {
      for (const host of cluster.hosts) {
        let sum = 0;
        for (let shard = 0; shard < SHARDS; shard += 1) sum += Math.max(...(await filesOn(host, shard)).map(lastOf));
        if (sum !== writes) return false;
      }
      return true;
    });
  await cluster.replicated();
  await addAll(1);
  await saved(KEYS);
  await addAll(1_000);
  await saved(2 * KEYS);

  const broken = shardOfKey('k0', SHARDS);
  const newest = Math.max(...(await files(broken)).map(lastOf));
  for (const host of cluster.hosts) {
    const [path = ''] = (await filesOn(host, broken)).toSorted(
      (a, b) => epochOf(b) - epochOf(a) || lastOf(b) - lastOf(a),
    );
    if (lastOf(path) !== newest) continue;
    const bytes = await readFile(path);
    const at = Math.floor(bytes.length / 2);
    bytes[at] = (bytes[at] as number) ^ 1;
    await writeFile(path, bytes);
  }
  // Of others it is damaged on one host alone, whichever will be asked for it.
  for (const [i, host] of cluster.hosts.entries()) {
    const shard = (broken + 1 + i) % SHARDS;
    const [path = ''] = (await filesOn(host, shard)).toSorted((a, b) => lastOf(b) - lastOf(a));
    await writeFile(path, (await readFile(path)).subarray(1));
  }
  const instances = await cluster.instances();
  await cluster.kill('coordinator');
  for (const host of cluster.hosts) await cluster.lose(host, instances);
  cluster.startCoordinator();
  for (const host of cluster.hosts) cluster.startAgent(host);

  const wrong: string[] = [];
  for (let i = 0; i < KEYS; i += 1) {
    let answer: unknown;
    await cluster.until(`k${i} is read`, async () => {
      const reply = await cluster.call('get', `k${i}`);
      answer = reply.answer;
      return reply.code === undefined;
    });
    const isOld = shardOfKey(`k${i}`, SHARDS) === broken;
    if (answer !== 1_001 && !(isOld && answer === 1)) wrong.push(`k${i}: ${answer}`);
  }
  t.same(wrong, [], 'nothing is lost that a snapshot has');
  const kinds = new Set((await cluster.events()).map(({ kind }) => kind));
  t.ok(kinds.has('snapshot-damaged'), 'the damaged one is told');
  t.ok(kinds.has('state-restored'), 'that shards began with snapshots is told');
  t.notOk(kinds.has('state-lost'));
  await cluster.settled();
  await cluster.replicated();
  await cluster.until('writes are answered', async () => (await cluster.call('add', 'k0', 1)).code === undefined);
});

t.test('what one copy alone holds is saved, also after its agent was killed', async (t) => {
  const cluster = await StateCluster.start({
    dist: DIST,
    hosts: 1,
    shards: 1,
    replicas: 0,
    count: 1,
    countMax: 1,
    snapshot: '1s',
  });
  t.teardown(() => cluster.close());
  const [host = ''] = cluster.hosts;
  const saved = async (writes: number) => {
    await cluster.until(`a snapshot has ${writes} writes`, async () => {
      const names = await readdir(join(cluster.snapshotsOf(host), '0'));
      return names.some((name) => name.endsWith(`-${writes}.state`));
    });
    t.pass(`${writes} writes are in a snapshot`);
  };
  const add = () =>
    cluster.until('a write is answered', async () => (await cluster.call('add', 'k0', 1)).code === undefined);
  await cluster.settled();
  await add();
  await saved(1);
  await cluster.kill(host);
  cluster.startAgent(host);
  await cluster.settled();
  await add();
  await saved(2);
  await add();
  await saved(3);
});
