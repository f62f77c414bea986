import t, { type Test } from 'tap';
import { loadCluster } from '../../coordinator/persist.js';
import type { ComponentView, Problem } from '../../protocol/http.js';
import { CoordinatorRig } from './rig.js';

const YAML = { 'content-type': 'application/yaml' };
const JSON_TYPE = { 'content-type': 'application/json' };
const manifest = (mode: string) => `app: shop
components:
  web: { rootfs: host, command: [x], count: { min: 1, max: 9 }, size: { cpu: { min: 0.1, max: 1 } }, mode: ${mode} }
  cart: { rootfs: host, command: [x] }
`;

async function setUp(t: Test, mode: string): Promise<CoordinatorRig> {
  const rig = await CoordinatorRig.make();
  t.teardown(() => rig.close());
  await rig.addHost('h1');
  const put = await rig.api.inject({ method: 'PUT', url: '/v1/apps/shop', headers: YAML, payload: manifest(mode) });
  t.equal(put.statusCode, 200, put.body);
  return rig;
}

t.test('in mode observe the plan is made and shown, and nothing is changed', async (t) => {
  const rig = await setUp(t, 'observe');
  const seen = async () => (await rig.api.inject('/v1/apps/shop/components/web')).json<ComponentView>();
  for (let i = 0; i < 10; i += 1) await rig.second('h1', { 'shop/web': 5 });
  const idle = await seen();
  t.match(idle, { count: { desired: 1 }, size: { cpu: 1 }, mode: { mode: 'observe', by: 'manifest' } });
  t.ok((idle.wouldBe?.count ?? 0) > 1, `it would have more: ${JSON.stringify(idle.wouldBe)}`);
  t.match(
    (await rig.api.inject('/metrics')).body,
    /shoal_component_instances_would_be\{app="shop",component="web"\} [2-9]/,
  );

  const put = { method: 'PUT', url: '/v1/apps/shop/components/web/mode', headers: JSON_TYPE } as const;
  const set = await rig.api.inject({ ...put, payload: '{"mode":"act"}' });
  t.match(set.json<ComponentView>(), { mode: { mode: 'act', by: 'component' }, wouldBe: null });
  for (let i = 0; i < 3; i += 1) await rig.second('h1', { 'shop/web': 5 });
  t.ok((await seen()).count.desired > 1, 'now it is acted on');
});

t.test(
  'by hand it is set for an app or a component, which goes first; it is durable and goes with the app',
  async (t) => {
    const rig = await setUp(t, 'act');
    const ask = (method: 'PUT' | 'DELETE', url: string, payload?: string) =>
      rig.api.inject({ method, url, ...(payload === undefined ? {} : { headers: JSON_TYPE, payload }) });
    const modes = async () =>
      (await rig.api.inject('/v1/apps/shop/components'))
        .json<ComponentView[]>()
        .map(({ mode }) => `${mode.mode} ${mode.by}`);
    t.equal((await ask('PUT', '/v1/apps/shop/mode', '{"mode":"observe"}')).statusCode, 200);
    t.strictSame(await modes(), ['observe app', 'observe app']);
    await ask('PUT', '/v1/apps/shop/components/web/mode', '{"mode":"act"}');
    t.strictSame(await modes(), ['act component', 'observe app']);
    t.strictSame((await loadCluster(rig.store)).modes, { shop: 'observe', 'shop/web': 'act' });
    const { revision } = rig.coordinator.state;
    await ask('PUT', '/v1/apps/shop/mode', '{"mode":"observe"}');
    t.equal(rig.coordinator.state.revision, revision, 'the same again changes nothing');
    await ask('DELETE', '/v1/apps/shop/mode');
    t.strictSame(await modes(), ['act component', 'act manifest']);

    for (const [url, payload, status] of [
      ['/v1/apps/nope/mode', '{"mode":"act"}', 404],
      ['/v1/apps/shop/components/nope/mode', '{"mode":"act"}', 404],
      ['/v1/apps/shop/mode', '{"mode":"watch"}', 400],
      ['/v1/apps/shop/mode', '{}', 400],
      ['/v1/apps/shop/mode', '{"mode":"act","x":1}', 400],
    ] as const) {
      const answer = await ask('PUT', url, payload);
      t.equal(answer.statusCode, status, `${url} ${payload}`);
      t.match(answer.json<Problem>().code, /^SHOAL_E_/);
    }
    await rig.api.inject({ method: 'DELETE', url: '/v1/apps/shop' });
    t.strictSame((await loadCluster(rig.store)).modes, {});
  },
);
