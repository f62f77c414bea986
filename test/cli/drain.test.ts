import t from 'tap';
import { desiredFor } from '../../coordinator/cluster.js';
import { newsOf } from '../../protocol/instance-news.js';
import { CoordinatorRig } from '../coordinator/rig.js';
import { runCli } from './run-cli.js';

const APP = `app: shop
components:
  web: { rootfs: host, command: [node, main.js], count: 2 }
`;

t.test('shoal host drain: others are made and ready elsewhere first, then those of the host end', async (t) => {
  const rig = await CoordinatorRig.make();
  t.teardown(() => rig.close());
  const server = await rig.api.listen({ host: '127.0.0.1', port: 0 });
  const shoal = async (...words: string[]) => {
    const { code, out, err } = await runCli([...words, '--server', server]);
    t.equal(code, 0, err);
    return out;
  };
  const on = (host: string) =>
    [...(rig.coordinator.state.instances.byComponent.get('shop/web') ?? [])].filter((each) => each.host === host);
  const leaving = (host: string) => on(host).filter((each) => each.draining !== undefined).length;

  await rig.addHost('h1');
  await rig.api.inject({
    method: 'PUT',
    url: '/v1/apps/shop',
    payload: APP,
    headers: { 'content-type': 'application/yaml' },
  });
  await rig.second('h1', {});
  await rig.addHost('h2');
  t.equal(on('h1').length, 2);

  await shoal('host', 'cordon', 'h1');
  await rig.second('h1', {});
  t.equal(on('h2').length + leaving('h1'), 0, 'a cordon alone moves nothing');

  t.match(await shoal('host', 'drain', 'h1'), /leave as soon as others are ready elsewhere/);
  await rig.second('h1', {});
  t.same([on('h2').length, leaving('h1')], [2, 0], 'others are made, and the old ones serve until they are ready');
  await rig.second('h2', {});
  t.equal(leaving('h1'), 2, 'then they leave');
  // The agent has ended them.
  const { revision } = desiredFor(rig.coordinator.state, 'h1');
  rig.coordinator.report('h1', { ...newsOf([]), revision, events: [] });
  await rig.second('h2', {});
  t.same([on('h1').length, on('h2').length], [0, 2]);
  t.match(await shoal('get', 'hosts'), /h1 .*drained/);

  await shoal('host', 'uncordon', 'h1');
  await rig.second('h2', {});
  t.same([on('h1').length, on('h2').length], [0, 2], 'an open host is not moved to for its own sake');
});
