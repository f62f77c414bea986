import { fileURLToPath } from 'node:url';
import t from 'tap';
import { StateCluster } from '../../../scripts/lib/state/state-cluster.js';

const DIST = fileURLToPath(new URL('../../..', import.meta.url));
const KEYS = 60;

t.test('state goes along to another host and back, and nothing of an earlier stay is seen', async (t) => {
  const cluster = await StateCluster.start({ dist: DIST, hosts: 2, shards: 16, count: 1, countMax: 4 });
  t.teardown(() => cluster.close());
  const wanted = new Map<string, number>();
  const add = async (key: string, value: number) => {
    wanted.set(key, (wanted.get(key) ?? 0) + value);
    t.match(await cluster.call('add', key, value), { answer: wanted.get(key) }, `add ${key}`);
  };
  const check = async (when: string) => {
    const wrong: string[] = [];
    for (const [key, value] of wanted) {
      const reply = await cluster.call('get', key);
      if (reply.answer !== value) wrong.push(`${key}: ${JSON.stringify(reply)} in place of ${value}`);
    }
    t.same(wrong, [], when);
  };
  for (let i = 0; i < KEYS; i += 1) await add(`k${i}`, i + 1);
  for (const [round, count] of [2, 1, 2].entries()) {
    await cluster.setCount(count);
    await cluster.settled();
    const hosts = new Set((await cluster.instances()).map(({ host }) => host));
    t.equal(hosts.size, count, `round ${round}: on ${count} hosts`);
    await check(`round ${round}: nothing is lost with ${count} owners`);
    for (let i = 0; i < KEYS; i += 1) await add(`k${i}`, 1000);
  }
  t.notOk((await cluster.events()).some(({ kind }) => kind === 'state-lost'));
});
