import t from 'tap';
import { desiredFor } from '../../coordinator/cluster.js';
import type { ComponentView } from '../../protocol/http.js';
import { runCli } from '../cli/run-cli.js';
import { CoordinatorRig } from './rig.js';

const APP = `app: shop
components:
  web: { rootfs: host, command: [node, main.js], count: { min: 1, max: 8 } }
  cart: { rootfs: host, command: [node, cart.js], state: { mode: partitioned, shards: 64 } }
`;

t.test('what is paused is told its host, is not planned for, and is remembered', async (t) => {
  const rig = await CoordinatorRig.make();
  t.teardown(() => rig.close());
  await rig.addHost('h1');
  const headers = { 'content-type': 'application/yaml' };
  const put = await rig.api.inject({ method: 'PUT', url: '/v1/apps/shop', payload: APP, headers });
  t.equal(put.statusCode, 200, put.body);
  await rig.second('h1', {});
  const paused = () =>
    desiredFor(rig.coordinator.state, 'h1')
      .instances.filter((each) => each.paused === true)
      .map(({ id }) => id);
  const web = '/v1/apps/shop/components/web';
  const set = (method: 'PUT' | 'DELETE', url: string) => rig.api.inject({ method, url: `${url}/pause` });
  const count = async () => (await rig.api.inject(web)).json<ComponentView>().count.desired;

  const { revision } = rig.coordinator.state;
  t.match((await set('PUT', web)).json<ComponentView>(), { paused: true, wouldBe: null });
  t.same(paused(), ['shop-web-0']);
  t.ok(rig.coordinator.state.revision > revision, 'its host is told');
  for (let i = 0; i < 5; i += 1) await rig.second('h1', { 'shop/web': 5 });
  t.equal(await count(), 1, 'the plan is held');
  await rig.restart();
  t.same(paused(), ['shop-web-0'], 'also by the next coordinator');
  await rig.addHost('h1');
  t.match((await set('DELETE', web)).json<ComponentView>(), { paused: false });
  t.same(paused(), []);

  t.equal((await set('PUT', '/v1/instances/shop-web-0')).statusCode, 200);
  t.same(paused(), ['shop-web-0']);
  await rig.restart();
  t.same(paused(), ['shop-web-0']);
  await rig.addHost('h1');
  await rig.api.inject({
    method: 'PUT',
    url: '/v1/hosts/h1/cordon',
    payload: { drain: true },
  });
  await rig.addHost('h2');
  await rig.second('h2', {});
  await rig.second('h2', {});
  t.same(paused(), [], 'one that is to drain goes on, so that it can');

  const alone = await set('PUT', '/v1/instances/shop-cart-0');
  t.equal(alone.statusCode, 409);
  t.match(alone.json().detail, /pause shop\/cart as a whole/);
  t.equal((await set('PUT', '/v1/instances/shop-web-99')).statusCode, 404);
  t.equal((await set('PUT', '/v1/apps/shop/components/nope')).statusCode, 404);
});

t.test('shoal pause and shoal resume', async (t) => {
  const rig = await CoordinatorRig.make();
  t.teardown(() => rig.close());
  const server = await rig.api.listen({ host: '127.0.0.1', port: 0 });
  await rig.addHost('h1');
  const headers = { 'content-type': 'application/yaml' };
  await rig.api.inject({ method: 'PUT', url: '/v1/apps/shop', payload: APP, headers });
  await rig.second('h1', {});
  const shoal = (...words: string[]) => runCli([...words, '--server', server]);
  t.match(await shoal('pause', 'shop/web'), { code: 0, out: 'shop/web is paused\n' });
  t.match((await shoal('describe', 'component', 'shop/web')).out, /all its instances are frozen/);
  t.match(await shoal('resume', 'shop/web'), { code: 0, out: 'shop/web goes on\n' });
  t.match(await shoal('pause', 'shop-web-0'), { code: 0 });
  t.match(await shoal('pause', 'shop-web-7'), { code: 3 });
});
