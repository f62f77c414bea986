import { readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pino } from 'pino';
import t from 'tap';
import { createApi } from '../../coordinator/api/server.js';
import { Tokens, tokenLine } from '../../coordinator/api/tokens.js';
import { desiredFor } from '../../coordinator/cluster.js';
import { SecretBox } from '../../coordinator/secret-box.js';
import { changeOf, withChange } from '../../protocol/desired-change.js';
import type { SecretView } from '../../protocol/http.js';
import { runCli } from '../cli/run-cli.js';
import { CoordinatorRig } from './rig.js';

const VALUE = 'correct horse battery staple';
const APP = `app: shop
components:
  web: { rootfs: host, command: [node, main.js], secrets: [db-password] }
  other: { rootfs: host, command: [node, other.js] }
`;
const YAML = { 'content-type': 'application/yaml' };
const BYTES = { 'content-type': 'application/octet-stream' };

async function withApp(t: { teardown(action: () => Promise<void>): void }) {
  const rig = await CoordinatorRig.make();
  t.teardown(() => rig.close());
  await rig.addHost('h1');
  const apply = () => rig.api.inject({ method: 'PUT', url: '/v1/apps/shop', payload: APP, headers: YAML });
  return { rig, apply };
}

t.test('a value goes to the hosts that need it and to nobody else, and is sealed in the store', async (t) => {
  const { rig, apply } = await withApp(t);
  const put = (value: string) =>
    rig.api.inject({ method: 'PUT', url: '/v1/apps/shop/secrets/db-password', payload: value, headers: BYTES });
  t.match((await put(VALUE)).json<SecretView>(), { version: 1, usedBy: [] }, 'before its app is there');
  const applied = await apply();
  t.equal(applied.statusCode, 200, applied.body);
  await rig.second('h1', {});
  const box = new SecretBox(join(rig.folder, 'secret.key'), false);
  const desired = () =>
    desiredFor(
      rig.coordinator.state,
      'h1',
      () => null,
      (key, { sealed }) => box.unseal(key, sealed).toString('base64'),
    );
  const first = desired();
  t.equal(Buffer.from(first.secrets?.shop?.['db-password'] ?? '', 'base64').toString(), VALUE);
  t.equal(desiredFor(rig.coordinator.state, 'h2', undefined, () => 'eA==').secrets, undefined, 'it runs nothing of it');
  t.same(first.apps.shop?.web?.secretVersions, [1]);

  const web = () => rig.coordinator.state.instances.byComponent.get('shop/web') ?? [];
  const other = () => rig.coordinator.state.instances.byComponent.get('shop/other') ?? [];
  const [webs, others] = [web().map(({ id }) => id), other().map(({ id }) => id)];
  t.match((await put('changed')).json<SecretView>(), { version: 2, usedBy: ['web'] });
  for (let i = 0; i < 10; i += 1) await rig.second('h1', {});
  t.notSame(
    web().map(({ id }) => id),
    webs,
    'those that have it are replaced',
  );
  t.same(
    other().map(({ id }) => id),
    others,
    'others are not',
  );
  const change = changeOf(first, desired());
  t.equal(
    withChange(first, change)?.secrets?.shop?.['db-password'],
    Buffer.from('changed').toString('base64'),
    'a change has it too',
  );

  await put(VALUE);
  for (const url of [
    '/v1/apps',
    '/v1/apps/shop',
    '/v1/apps/shop/components',
    '/v1/apps/shop/secrets',
    '/v1/instances',
    '/v1/events',
    '/metrics',
  ]) {
    const { body, statusCode } = await rig.api.inject(url);
    t.equal(statusCode, 200);
    t.notOk(body.includes(VALUE) || body.includes(Buffer.from(VALUE).toString('base64')), url);
  }
  const one = await rig.api.inject('/v1/apps/shop/secrets/db-password');
  t.equal(one.statusCode, 404, 'there is no way to read it');
  t.notOk(rig.log.some((line) => line.includes(VALUE)));
  const data = join(rig.folder, 'data');
  for (const name of await readdir(data)) {
    const stored = await readFile(join(data, name));
    t.notOk(stored.includes(VALUE) || stored.includes(Buffer.from(VALUE).toString('base64')), name);
  }
  t.equal((await stat(join(rig.folder, 'secret.key'))).mode & 0o777, 0o600);

  const used = await rig.api.inject({ method: 'DELETE', url: '/v1/apps/shop/secrets/db-password' });
  t.equal(used.statusCode, 409);
  t.match(used.json().detail, /shop\/web has the secret/);
  t.equal((await put('')).statusCode, 400);
  t.equal((await put('x'.repeat(70_000))).statusCode, 400);
});

t.test(
  'the password of a cache goes to the hosts of its component, and nothing is replaced when it changes',
  async (t) => {
    const { rig } = await withApp(t);
    const state = '{ mode: cache, server: redis://cache.example, password: cache-password }';
    const payload = `app: shop\ncomponents:\n  carts: { rootfs: host, command: [node, main.js], state: ${state} }\n`;
    const put = (value: string) =>
      rig.api.inject({ method: 'PUT', url: '/v1/apps/shop/secrets/cache-password', payload: value, headers: BYTES });
    const applied = await rig.api.inject({ method: 'PUT', url: '/v1/apps/shop', payload, headers: YAML });
    t.equal(applied.statusCode, 200, applied.body);
    await put(VALUE);
    for (let i = 0; i < 3; i += 1) await rig.second('h1', {});
    const ids = () => (rig.coordinator.state.instances.byComponent.get('shop/carts') ?? []).map(({ id }) => id);
    const told = () => desiredFor(rig.coordinator.state, 'h1', undefined, (_key, { version }) => `${version}`).secrets;
    const before = ids();
    t.ok(before.length > 0);
    t.same(told(), { shop: { 'cache-password': '1' } });
    t.match((await put('changed')).json<SecretView>(), { version: 2, usedBy: ['carts'] });
    for (let i = 0; i < 10; i += 1) await rig.second('h1', {});
    t.same(ids(), before);
    t.same(told(), { shop: { 'cache-password': '2' } });
    const used = await rig.api.inject({ method: 'DELETE', url: '/v1/apps/shop/secrets/cache-password' });
    t.match(used.json().detail, /shop\/carts has the secret cache-password for its cache/);
  },
);

t.test('who may only read may set none; without a key there are none, and another key opens none', async (t) => {
  const { rig } = await withApp(t);
  const file = join(rig.folder, 'tokens');
  const tokens = { olga: 'operator-token-0123456789', rita: 'reader-token-0123456789' };
  await writeFile(
    file,
    tokenLine({ name: 'olga', role: 'operate' }, tokens.olga) + tokenLine({ name: 'rita', role: 'read' }, tokens.rita),
  );
  const { coordinator, profiles, logs } = rig;
  const nobody = {
    exec: () => Promise.reject(new Error('nobody asks')),
    openState: () => Promise.reject(new Error('nobody asks')),
  };
  const api = await createApi({
    coordinator,
    profiles,
    logs,
    exec: nobody,
    secrets: new SecretBox(null, false),
    run: rig.folder,
    version: '0',
    token: null,
    tokens: new Tokens(file),
    loopback: true,
    log: pino({ level: 'silent' }),
  });
  t.teardown(() => api.close());
  const put = (who: keyof typeof tokens) =>
    api.inject({
      method: 'PUT',
      url: '/v1/apps/shop/secrets/x',
      payload: VALUE,
      headers: { ...BYTES, authorization: `Bearer ${tokens[who]}` },
    });
  t.equal((await put('rita')).statusCode, 403);
  const none = await put('olga');
  t.equal(none.statusCode, 501);
  t.match(none.json().detail, /no key for secrets: .*--secret-key FILE/);

  const sealed = new SecretBox(join(rig.folder, 'one'), true).seal('shop/x', Buffer.from(VALUE));
  const open = (key: string, name: string) => new SecretBox(join(rig.folder, key), false).unseal(name, sealed);
  t.equal(open('one', 'shop/x').toString(), VALUE);
  t.throws(() => open('one', 'shop/y'), { code: 'SHOAL_E_HOST' }, 'one cannot be passed off as another');
  new SecretBox(join(rig.folder, 'other'), true).seal('shop/x', Buffer.from(VALUE));
  t.throws(() => open('other', 'shop/x'), { code: 'SHOAL_E_HOST' });
});

t.test('shoal secret takes a value from a file or standard input', async (t) => {
  const { rig, apply } = await withApp(t);
  await apply();
  const server = ['--server', await rig.api.listen({ host: '127.0.0.1', port: 0 })];
  const file = join(rig.folder, 'value');
  await writeFile(file, VALUE);
  t.match(await runCli(['secret', 'set', 'shop/db-password', '-f', file, ...server]), {
    code: 0,
    out: /version 1: of web, replaced/,
  });
  t.match(await runCli(['secret', 'set', 'shop/spare', ...server], { input: VALUE }), { code: 0, out: /no component/ });
  const list = await runCli(['secret', 'list', 'shop', ...server]);
  t.match(list.out, /shop\/db-password +1 .* web\n/);
  t.notMatch(list.out, VALUE);
  t.match(await runCli(['secret', 'delete', 'shop/spare', ...server]), { code: 0 });
  t.match(await runCli(['secret', 'delete', 'shop/db-password', ...server]), { code: 4, err: /out of the manifest/ });
  t.match(await runCli(['secret', 'set', 'shop', ...server]), { code: 2 });
});
