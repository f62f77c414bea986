import { createHmac } from 'node:crypto';
import { join } from 'node:path';
import { pino } from 'pino';
import t from 'tap';
import { createApi } from '../../coordinator/api/server.js';
import { SecretBox } from '../../coordinator/secret-box.js';
import { CoordinatorRig } from './rig.js';

const TOKEN = 'a token that nobody guesses';
const SECRET = 'known to the forge';
const APP = `app: shop
components:
  web: { build: 'https://example.com/web.git' }
  other: { rootfs: host, command: [node, other.js] }
`;
const PUSH = '{"ref":"refs/heads/main"}';
const authorization = `Bearer ${TOKEN}`;
const signed = (body: string, secret = SECRET) => ({
  'x-hub-signature-256': `sha256=${createHmac('sha256', secret).update(body).digest('hex')}`,
  'content-type': 'application/json',
});

t.test('a webhook that shows it knows the app’s secret has the source looked at; no other does', async (t) => {
  const rig = await CoordinatorRig.make();
  t.teardown(() => rig.close());
  const nobody = () => Promise.reject(new Error('nobody asks'));
  const { coordinator, profiles, logs } = rig;
  const lines: string[] = [];
  const api = await createApi({
    coordinator,
    profiles,
    logs,
    exec: { exec: nobody, openState: nobody },
    secrets: new SecretBox(join(rig.folder, 'secret.key'), true),
    run: rig.folder,
    version: '0',
    token: TOKEN,
    loopback: true,
    log: pino({ level: 'info' }, { write: (line: string) => lines.push(line) }),
  });
  t.teardown(() => api.close());
  const admin = (method: 'PUT' | 'DELETE', url: string, type: string, payload: string) =>
    api.inject({ method, url, payload, headers: { authorization, 'content-type': type } });
  const hook = async (headers: Record<string, string>, payload = PUSH, url = '/v1/hooks/shop/web') =>
    (await api.inject({ method: 'POST', url, payload, headers })).statusCode;
  const looks = () => coordinator.state.apps.shop?.looks?.web ?? 0;

  t.equal((await admin('PUT', '/v1/apps/shop', 'application/yaml', APP)).statusCode, 200);
  t.equal(await hook(signed(PUSH)), 401, 'the app has no such secret');
  const put = await admin('PUT', '/v1/apps/shop/secrets/build-hook', 'application/octet-stream', SECRET);
  t.equal(put.statusCode, 200, put.body);
  t.equal(looks(), 0);

  t.equal(await hook(signed(PUSH)), 200, 'GitHub, Gitea, Forgejo');
  t.equal(await hook({ ...signed(PUSH), 'content-type': 'application/x-www-form-urlencoded' }), 200, 'of any type');
  t.equal(await hook({ 'x-gitlab-token': SECRET }), 200, 'GitLab');
  t.equal(looks(), 3);
  t.equal(await hook(signed(PUSH), PUSH, '/v1/hooks/shop/other'), 409, 'it is not built');
  t.equal(await hook(signed(PUSH), PUSH, '/v1/hooks/shop/none'), 404, 'only who knows the secret learns that');

  lines.length = 0;
  const wrong = [
    {},
    signed(`${PUSH} `),
    signed(PUSH, 'another'),
    { 'x-gitlab-token': `${SECRET}x` },
    { 'x-gitlab-token': '' },
  ];
  for (const headers of wrong) t.equal(await hook(headers as Record<string, string>), 401);
  t.equal(await hook(signed(PUSH), PUSH, '/v1/hooks/none/web'), 401);
  t.equal(lines.filter((line) => line.includes('a webhook was refused')).length, wrong.length + 1);
  const large = await hook({ 'content-type': 'text/plain' }, 'x'.repeat(2 ** 20 + 1));
  t.equal(large, 413);
  t.notOk(
    lines.some((line) => line.includes('a change was asked for')),
    'nothing of it is a change',
  );
  for (const url of ['/v1/hooks/shop', '/v1/hooks/shop/web/x', '/v1/hooks/shop/%77eb', '/v1/hooks//shop/web'])
    t.equal(await hook(signed(PUSH), PUSH, url), 401, `${url} needs a token`);
  t.equal((await api.inject({ method: 'GET', url: '/v1/hooks/shop/web' })).statusCode, 401);
  t.equal(looks(), 3);
});
