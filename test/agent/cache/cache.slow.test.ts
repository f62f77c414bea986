import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import t from 'tap';
import { RedisServer, startCluster } from '../../../scripts/lib/state/redis-server.js';
import { until } from '../../../scripts/lib/until.js';
import { AgentRig, component, instance } from '../rig.js';
import { CacheRig, NEAR, PASSWORD, rigWith } from './cache-rig.js';

const run = promisify(execFile);

t.test('a server that is killed and comes again; one that hangs', async (t) => {
  const { rig, target, server } = await rigWith(t, [], true);
  await rig.want(target, ['a']);
  await until(() => rig.trouble === null);
  const state = rig.instance('a', NEAR).state<string>('words');
  await state.set('k', 'v');
  t.equal(await state.get('k'), 'v');
  await server.kill();
  // Even what is near: nobody would tell that it is stale.
  await until(async () => (await state.get('k').then(() => 'there', errorCode)) === 'SHOAL_E_UNREACHABLE');
  await t.rejects(state.set('k', 'w'), { code: 'SHOAL_E_UNREACHABLE' });
  await server.launch();
  await until(async () => (await state.get('k').catch(errorCode)) === undefined, 20_000);
  await state.set('k', 'w');
  t.equal(await state.get('k'), 'w');

  server.signal('SIGSTOP');
  const codes = await Promise.all([state.set('k', 'x').catch(errorCode), state.set('l', 'x').catch(errorCode)]);
  t.ok(
    codes.every((code) => code === 'SHOAL_E_DEADLINE' || code === 'SHOAL_E_PEER_DIED'),
    `it is not known whether it was written: ${codes}`,
  );
  await until(async () => (await state.get('k').catch(errorCode)) === 'SHOAL_E_UNREACHABLE', 20_000);
  server.signal('SIGCONT');
  await until(async () => (await state.set('k', 'y').catch(errorCode)) === undefined, 20_000);
  t.equal(await state.get('k'), 'y');
});

t.test('a Redis Cluster of three, one of which hangs for a while', async (t) => {
  const servers = await startCluster();
  const rig = await CacheRig.make();
  t.teardown(async () => {
    await rig.close();
    for (const server of servers) await server.close();
  });
  const [first] = servers as [RedisServer];
  await rig.want({ servers: [first.address], isCluster: true, near: true }, ['a', 'b']);
  await until(() => rig.trouble === null, 20_000);
  const near = rig.instance('a', NEAR);
  const mine = near.state<number>('counts');
  const others = rig.instance('b').state<number>('counts');
  const keys = Array.from({ length: 60 }, (_, i) => `key-${i}`);
  for (const key of keys) await mine.update(key, (count = 0) => count + 1);
  const sizes = await Promise.all(servers.map(async (server) => Number(await server.cli('DBSIZE'))));
  t.ok(
    sizes.every((size) => size > 0),
    `keys are on all servers: ${sizes}`,
  );
  for (const key of keys) t.equal(await mine.get(key), 1);
  for (const key of keys) await others.update(key, (count = 0) => count + 1);
  for (const key of keys) await until(async () => (await mine.get(key)) === 2, 20_000);
  t.ok((near.connection.near?.entries ?? 0) > 0);

  const [, second] = servers as [RedisServer, RedisServer];
  second.signal('SIGSTOP');
  await until(
    async () => (await Promise.all(keys.map((key) => others.get(key).catch(errorCode)))).includes(DEADLINE),
    20_000,
  );
  second.signal('SIGCONT');
  await until(async () => {
    const values = await Promise.all(keys.map((key) => mine.get(key).catch(errorCode)));
    return values.every((value) => value === 2);
  }, 30_000);
});

t.test('a server with TLS is believed by the certificate of its authority', async (t) => {
  const rig = await CacheRig.make();
  const folder = rig.folder;
  const [key, cert] = [join(folder, 'key.pem'), join(folder, 'cert.pem')];
  const subject = ['-subj', '/CN=cache', '-addext', 'subjectAltName=IP:127.0.0.1'];
  await run('openssl', [
    'req',
    '-x509',
    '-newkey',
    'rsa:2048',
    '-nodes',
    '-days',
    '1',
    '-keyout',
    key,
    '-out',
    cert,
    ...subject,
  ]);
  const server = await RedisServer.startWithTls(key, cert);
  t.teardown(async () => {
    await rig.close();
    await server.close();
  });
  const target = { servers: [server.address], isCluster: false, near: false };
  await rig.want(target, ['a']);
  const state = rig.instance('a').state<string>('words');
  await until(() => (rig.trouble ?? '').includes('certificate'), 20_000);
  await t.rejects(state.get('k'), { code: 'SHOAL_E_UNREACHABLE', message: /certificate/ });
  await rig.want({ ...target, ca: await readFile(cert, 'utf8') }, ['a']);
  await until(() => rig.trouble === null, 20_000);
  await state.set('k', 'v');
  t.equal(await state.get('k'), 'v');
});

t.test(
  'an instance in its container counts in a cache that it cannot reach itself, and goes on when its agent is new',
  async (t) => {
    const server = await RedisServer.start([], PASSWORD);
    t.teardown(() => server.close());
    const rig = await AgentRig.make();
    const cache = {
      servers: [`redis://127.0.0.1:${server.port}`],
      isCluster: false,
      password: 'cache-password',
      valueBytesMax: 1024,
      near: { bytesMax: 1024 * 1024, entriesMax: 100 },
    };
    const counter = component('cached-counter', { state: 'cache', cache });
    rig.desire(() => ({ apps: { t: { counter } }, instances: [instance('counter', 0), instance('counter', 1)] }));
    await rig.until('the missing secret is named', () =>
      rig.events.some(
        ({ kind, message }) => kind === 'cache-failed' && message.includes('shoal secret set t/cache-password'),
      ),
    );
    rig.desire(() => ({ secrets: { t: { 'cache-password': Buffer.from(`${PASSWORD}\n`).toString('base64') } } }));
    const counted = async () => Number(await server.cli('GET', 'shoal:t/counter:ticks:raw').catch(() => 0));
    await rig.until('both count', async () => (await counted()) > 20, 40_000);

    await rig.killAgent('SIGKILL');
    const before = await counted();
    rig.startAgent();
    await rig.until('they go on', async () => (await counted()) > before + 20, 40_000);
    const config = await readFile(join(rig.run, 'instances/t-counter-0/bundle/config.json'), 'utf8');
    t.notOk(
      config.includes(PASSWORD) || config.includes(String(server.port)),
      'the instance knows neither password nor address',
    );
    t.notOk(rig.output.includes(PASSWORD));
    t.same(await rig.close(), []);
  },
);

const DEADLINE = 'SHOAL_E_DEADLINE';

function errorCode(error: { code?: string }): string | undefined {
  return error.code;
}
