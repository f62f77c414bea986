import { fileURLToPath } from 'node:url';
import t from 'tap';
import type { ComponentView, InstanceView } from '../../protocol/http.js';
import { shardOfKey } from '../../protocol/shard.js';
import { Cluster, freePort } from '../../scripts/lib/demo/cluster.js';

const CLI = fileURLToPath(new URL('../../cli/main.js', import.meta.url));
const COMPONENTS = fileURLToPath(new URL('../agent/components', import.meta.url));
const HOT_KEYS = 6;

function manifestOf(port: number): string {
  const each = (file: string) => `rootfs: host, directory: ${COMPONENTS}, command: [node, ${file}]`;
  return `app: heat
components:
  front: { ${each('front.mjs')}, calls: [store, pool], ports: [{ name: http, host: ${port} }] }
  store: { ${each('weigh.mjs')}, state: partitioned, count: { min: 2, max: 2 }, size: { cpu: { min: 300m, max: 300m } } }
  pool: { ${each('weigh.mjs')}, count: { min: 2, max: 2 } }
`;
}

t.test('under real calls hot shards part and a slow instance gets fewer calls', async (t) => {
  const cluster = await Cluster.start(CLI);
  t.teardown(() => cluster.close());
  const port = await freePort();
  await cluster.put('/v1/apps/heat', 'application/yaml', manifestOf(port));
  const component = (name: string) => cluster.get<ComponentView>(`/v1/apps/heat/components/${name}`);
  await cluster.until('all are ready', 60_000, async () => {
    const views = await Promise.all(['front', 'store', 'pool'].map(component));
    return views.every(({ count }) => count.ready === count.desired && count.ready > 0);
  });
  const ask = async (path: string): Promise<unknown> => {
    const response = await fetch(`http://127.0.0.1:${port}${path}`, { signal: AbortSignal.timeout(10_000) });
    const { answer, code } = (await response.json()) as { answer?: unknown; code?: string };
    if (code !== undefined) throw new Error(`${path}: ${code}`);
    return answer;
  };
  await cluster.until('calls are answered', 30_000, async () => Number(await ask('/store/burn?key=first&value=0')) > 0);

  const shards = (await component('store')).shards ?? [];
  const owner = shards.find((each) => each.owner !== null)?.owner ?? '';
  const hot = new Map<number, string>();
  for (let i = 0; hot.size < HOT_KEYS; i += 1) {
    const shard = shardOfKey(`k${i}`, shards.length);
    if (shards[shard]?.owner === owner && !hot.has(shard)) hot.set(shard, `k${i}`);
  }

  let running = true;
  const made = new Map<string, number>();
  const failures: string[] = [];
  const load = async (each: () => Promise<void>) => {
    while (running) {
      await each().catch((error: Error) => failures.push(error.message));
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  };
  const keys = [...hot.values()];
  const burning = keys.map((key) =>
    load(async () => {
      const count = Number(await ask(`/store/burn?key=${key}&value=2`));
      made.set(key, (made.get(key) ?? 0) + 1);
      if (count !== made.get(key)) failures.push(`${key}: ${count} instead of ${made.get(key)}`);
    }),
  );
  const waiting = [1, 2].map(() => load(async () => void (await ask('/pool/wait?value=5'))));

  await cluster.until('the hot shards are shared', 120_000, async () => {
    const now = (await component('store')).shards ?? [];
    return new Set([...hot.keys()].map((shard) => now[shard]?.owner)).size === 2;
  });
  const heated = (await component('store')).shards ?? [];
  const hottest = heated.toSorted((a, b) => b.cpu - a.cpu).slice(0, HOT_KEYS);
  t.ok(
    hottest.every(({ shard }) => hot.has(shard)),
    'the hottest are those that are called',
  );
  t.ok(hottest.every(({ cpu, callsPerSecond }) => cpu > 0 && callsPerSecond > 0));

  const pool = async () =>
    (await cluster.get<InstanceView[]>('/v1/instances')).filter((each) => each.component === 'pool');
  await cluster.until('the slow one has a lower weight', 120_000, async () => {
    const slow = (await pool()).find(({ id }) => id.endsWith('-1'));
    return slow !== undefined && slow.weight <= 0.6;
  });
  t.equal((await pool()).find(({ id }) => id.endsWith('-0'))?.weight, 1);
  running = false;
  await Promise.all([...burning, ...waiting]);
  t.same(failures, [], 'no call failed and no state was lost when shards moved');
});
