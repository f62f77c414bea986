import t from 'tap';
import { freePort } from '../../scripts/lib/demo/cluster.js';
import { AgentRig, component, instance, shardMap } from './rig.js';

const KEYS = 100;

interface Reply {
  answer?: unknown;
  code?: string;
}

t.test('state outlives the SIGKILL of its owner, of the agent and of both, and goes with its component', async (t) => {
  const rig = await AgentRig.make();
  const port = await freePort();
  const ask = async (path: string) => (await (await fetch(`http://127.0.0.1:${port}${path}`)).json()) as Reply;
  rig.desire(() => ({
    apps: {
      t: {
        store: component('store', { state: 'partitioned' }),
        front: component('front', { calls: ['store'], ports: [{ name: 'http', host: port }] }),
      },
    },
    instances: [instance('store', 0), instance('store', 1), instance('front', 0)],
    shards: { 't/store': shardMap(1, ['t-store-0', 't-store-1']) },
  }));
  const owned = () => rig.status('t-store-0')?.shards.length === 32 && rig.status('t-store-1')?.shards.length === 32;
  await rig.until('the shards are owned', owned);
  const listens = () => rig.ports.some(({ host }) => host === port);
  await rig.until('the host port listens', listens);
  for (let i = 0; i < KEYS; i += 1) t.same(await ask(`/store/set?key=k${i}&value=v${i}`), {});
  const check = async (when: string) => {
    const wrong: string[] = [];
    for (let i = 0; i < KEYS; i += 1) {
      const { answer } = await ask(`/store/get?key=k${i}`);
      if (answer !== `v${i}`) wrong.push(`k${i}: ${JSON.stringify(answer)}`);
    }
    t.same(wrong, [], when);
  };

  // By its pid on the host: inside it is the first process, which cannot end itself so.
  process.kill(rig.status('t-store-0')?.pid ?? 0, 'SIGKILL');
  await rig.until('the owner is started again', () => rig.statuses.some(({ restarts }) => restarts === 1) && owned());
  await check('after the SIGKILL of an owner');

  await rig.killAgent('SIGKILL');
  rig.statuses = [];
  rig.ports = [];
  rig.startAgent();
  await rig.until('the next agent has taken over', () => owned() && listens());
  await check('after the SIGKILL of the agent');

  const pids = ['t-store-0', 't-store-1'].map((id) => rig.status(id)?.pid ?? 0);
  await rig.killAgent('SIGKILL');
  for (const pid of pids) process.kill(pid, 'SIGKILL');
  rig.statuses = [];
  rig.ports = [];
  rig.startAgent();
  await rig.until('all owners are started again', () => owned() && listens());
  await check('after the SIGKILL of agent and owners together');
  t.same(await rig.close(), [], 'no segment is left of a component that is gone');
});
