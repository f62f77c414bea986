import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { StateCluster } from '../../scripts/lib/state/state-cluster.js';
import { runCli } from './run-cli.js';

const DIST = fileURLToPath(new URL('../..', import.meta.url));
const KEYS = Array.from({ length: 60 }, (_, i) => `k${i}`);
const PATIENCE_MS = 60_000;

t.test('state with replicas is exported and imported while shards change hosts and processes are killed', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'shoal-moving-'));
  const cluster = await StateCluster.start({
    ...{ dist: DIST, hosts: 3, shards: 16, replicas: 1, count: 2, countMax: 3 },
  });
  t.teardown(async () => {
    await cluster.close();
    await rm(folder, { recursive: true, force: true });
  });
  const path = join(folder, 'numbers.state');
  /** Until it is done: what is set is the same however often. */
  const set = (key: string, value: number) =>
    cluster.until(`${key} is set`, async () => (await cluster.call('set', key, value)).code === undefined, PATIENCE_MS);
  const read = async () => {
    const values = new Map<string, unknown>();
    const readOne = (key: string) =>
      cluster.until(
        `${key} is read`,
        async () => {
          const { code, answer } = await cluster.call('get', key);
          if (code === undefined) values.set(key, answer);
          return code === undefined;
        },
        PATIENCE_MS,
      );
    await Promise.all(KEYS.map(readOne));
    return KEYS.filter((key, i) => values.get(key) !== i + 1).map((key) => `${key} is ${values.get(key)}`);
  };
  const state = async (...words: string[]) => {
    const done = await runCli(['state', ...words, '--server', cluster.server]);
    t.equal(done.code, 0, `${words.join(' ')}: ${done.err}`);
    return done.out;
  };
  /** Shards go to another host, an instance and then an agent are killed, all while that is under way. */
  const unrest = async (count: number) => {
    await cluster.setCount(count);
    const [first] = await cluster.instances();
    if (first === undefined) throw new Error('there are no instances');
    cluster.killInstance(first);
    await cluster.kill(first.host);
    cluster.startAgent(first.host);
  };
  await cluster.replicated(PATIENCE_MS);
  await Promise.all(KEYS.map((key, i) => set(key, i + 1)));

  const [out] = await Promise.all([state('export', 't/store', '-o', path), unrest(3)]);
  t.match(out, `${KEYS.length} entries of 16 state shards`, 'each entry once, wherever its shard was');
  await cluster.settled(PATIENCE_MS);
  await cluster.replicated(PATIENCE_MS);
  t.same(await read(), [], 'all is there after the unrest');

  await Promise.all(KEYS.map((key) => set(key, 0)));
  await Promise.all([state('import', 't/store', path, '--replace'), unrest(2)]);
  t.same(await read(), [], 'all is as in the file, though owners have changed and died meanwhile');

  await cluster.replicated(PATIENCE_MS);
  const [owner] = await cluster.instances();
  if (owner === undefined) throw new Error('there are no instances');
  await cluster.lose(owner.host, await cluster.instances());
  t.same(await read(), [], 'and held by a replica: the host of an owner has burnt');
  t.notOk((await cluster.events()).some(({ kind }) => kind === 'state-lost'));
});
