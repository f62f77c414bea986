import t from 'tap';
import { newsOf } from '../../protocol/instance-news.js';
import type { InstanceStatus } from '../../protocol/link.js';
import { CoordinatorRig } from './rig.js';

const COMPONENT = 'rootfs: host, directory: /srv, command: [node, main.js], count: 2';

/** Instances in one phase each, of a component whose owner has failed. */
async function ownerOf(mode: 'replicated' | 'partitioned', phases: InstanceStatus['phase'][]): Promise<string | null> {
  const rig = await CoordinatorRig.make();
  try {
    await rig.addHost('h1');
    const payload = `app: a\ncomponents:\n  c: { ${COMPONENT}, state: { mode: ${mode}, replicas: 0 } }\n`;
    const headers = { 'content-type': 'application/yaml' };
    const answer = await rig.api.inject({ method: 'PUT', url: '/v1/apps/a', headers, payload });
    if (answer.statusCode >= 300) throw new Error(answer.body);
    await rig.coordinator.tick();
    const owner = async (): Promise<string | null> =>
      (await rig.api.inject('/v1/apps/a/components/c')).json().shards[0].owner;
    const first = await owner();
    const other = first === 'a-c-0' ? 'a-c-1' : 'a-c-0';
    const statuses = phases.map((phase, i): InstanceStatus => {
      const size = { cpu: 1, memory: 2 ** 28 };
      return { id: [first ?? '', other][i] as string, app: 'a', component: 'c', phase, size, restarts: 3, shards: [] };
    });
    rig.coordinator.report('h1', { ...newsOf(statuses), revision: 1, events: [] });
    await rig.coordinator.tick();
    const now = await owner();
    return now === first ? 'the first' : now === other ? 'the other' : now;
  } finally {
    await rig.close();
  }
}

t.test('replicated entries whose owner has failed go to an instance that starts: all wait for an owner', async (t) => {
  t.equal(await ownerOf('replicated', ['failed', 'starting']), 'the other');
  t.equal(await ownerOf('replicated', ['failed', 'ready']), 'the other');
});

t.test(
  'shards of partitioned state stay until an instance is ready: one that starts may have hooks to set',
  async (t) => {
    t.equal(await ownerOf('partitioned', ['failed', 'starting']), 'the first');
    t.equal(await ownerOf('partitioned', ['failed', 'ready']), 'the other');
  },
);
