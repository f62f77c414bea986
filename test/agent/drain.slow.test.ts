import { request } from 'node:http';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import type { ComponentView, InstanceView } from '../../protocol/http.js';
import { Cluster, freePort } from '../../scripts/lib/demo/cluster.js';
import { COMPONENTS } from './rig.js';

const CLI = fileURLToPath(new URL('../../cli/main.js', import.meta.url));
const CLIENTS = 12;
const MIN_MAX = 'count: { min: 1, max: 4 }, size: { cpu: 0.5, memory: 128Mi }';

t.test('counts that go down under load lose no call in flight, between components and at a host port', async (t) => {
  const port = await freePort();
  const cluster = await Cluster.start(CLI);
  t.teardown(() => cluster.close());
  const app = `app: t
components:
  front:
    { rootfs: host, directory: ${COMPONENTS}, command: [node, /app/front.mjs], calls: [work], ports: [{ name: http, host: ${port} }], ${MIN_MAX} }
  work: { rootfs: host, directory: ${COMPONENTS}, command: [node, /app/weigh.mjs], ${MIN_MAX} }
`;
  await cluster.put('/v1/apps/t', 'application/yaml', app);
  const scale = async (component: string, count: number) => {
    const path = `/v1/apps/t/components/${component}`;
    await cluster.put(`${path}/scale`, 'application/json', JSON.stringify({ count }));
    await cluster.until(`${count} of ${component} are there`, 60_000, async () => {
      const { ready } = (await cluster.get<ComponentView>(path)).count;
      const all = await cluster.get<unknown[]>(`/v1/instances?app=t&component=${component}`);
      return ready === count && all.length === count;
    });
  };
  await scale('front', 1);
  await scale('work', 1);
  await cluster.until('it answers', 30_000, async () => (await ask(port)).ok);

  let over = false;
  let answered = 0;
  const lost: string[] = [];
  const instances = new Set<string>();
  const clients = Array.from({ length: CLIENTS }, async () => {
    while (!over) {
      const { ok, said } = await ask(port);
      answered += 1;
      if (ok) instances.add(said);
      else lost.push(said);
    }
  });
  for (const [front, work] of [
    [1, 3],
    [3, 1],
    [1, 3],
    [2, 1],
    [1, 2],
    [1, 1],
  ] as const) {
    await Promise.all([scale('front', front), scale('work', work)]);
    const before = answered;
    const there = await cluster.get<InstanceView[]>('/v1/instances?app=t&component=work');
    const allAnswer = () => there.every(({ id }) => instances.has(id));
    await cluster.until('each answers calls', 60_000, async () => answered >= before + 2 * CLIENTS && allAnswer());
  }
  over = true;
  await Promise.all(clients);
  t.same(lost, [], `of ${answered} calls none was lost`);
  t.equal(instances.size, 6, `they were answered by ${[...instances].join(', ')}`);
});

interface Answer {
  ok: boolean;
  /** By which instance, or what went wrong. */
  said: string;
}

/** One call that takes a while, by a connection of its own. */
function ask(port: number): Promise<Answer> {
  return new Promise((resolve) => {
    const asked = request({ host: '127.0.0.1', port, path: '/work/wait?value=20', agent: false }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (more: string) => {
        text += more;
      });
      response.on('error', (error) => resolve({ ok: false, said: error.message }));
      response.on('end', () => {
        const { answer } = JSON.parse(text || '{}') as { answer?: string };
        resolve(answer === undefined ? { ok: false, said: text } : { ok: true, said: answer });
      });
    });
    asked.setTimeout(30_000, () => asked.destroy(new Error('no answer within 30 s')));
    asked.on('error', (error) => resolve({ ok: false, said: error.message }));
    asked.end();
  });
}
