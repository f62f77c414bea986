/** What callers may write in place of a path, and what comes of it: the router reads more than one path as the same. */
import { createServer, type IncomingMessage, request, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { pino } from 'pino';
import t, { type Test } from 'tap';
import { type Behind, createFront } from '../../coordinator/api/front.js';
import { createApi } from '../../coordinator/api/server.js';
import { Tokens } from '../../coordinator/api/tokens.js';
import { SecretBox } from '../../coordinator/secret-box.js';
import { createToken } from './create-token.js';
import { CoordinatorRig, MANIFEST } from './rig.js';

const log = pino({ level: 'silent' });
const nobody = () => Promise.reject(new Error('nobody asks'));
const unasked = () => {
  throw new Error('nobody asks');
};

async function listening(t: Test, server: Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => {
    server.close();
    server.closeAllConnections();
  });
  return (server.address() as AddressInfo).port;
}

/** Asks for just that path, whatever it is; answers the status. */
function ask(port: number, method: string, path: string, token: string, body = ''): Promise<number> {
  const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/yaml', host: '127.0.0.1' };
  return new Promise((resolve, reject) => {
    const asked = request({ port, host: '127.0.0.1', method, path, headers, agent: false }, (answer) => {
      answer.resume().once('end', () => resolve(answer.statusCode ?? 0));
    });
    asked.once('error', reject).end(body);
  });
}

t.test('a role goes by the route that answers, however its path is written', async (t) => {
  const rig = await CoordinatorRig.make();
  t.teardown(() => rig.close());
  const file = join(rig.folder, 'tokens');
  const [admin, operator] = [await createToken(file, 'ann', 'admin'), await createToken(file, 'ci', 'operate')];
  const access = { token: null, tokens: new Tokens(file), loopback: true, log };
  const api = await createApi({
    ...access,
    profiles: { hosts: () => [], ask: nobody },
    logs: rig.logs,
    exec: { exec: nobody, openState: nobody },
    secrets: new SecretBox(null, false),
    coordinator: rig.coordinator,
    run: rig.folder,
    version: '0',
  });
  t.teardown(() => api.close());
  const behind: Behind = { api, leads: true, leaderApi: null, onLeaderChange: () => undefined, view: unasked };
  const port = await listening(t, createFront({ ...access, behind }) as Server);
  for (const path of ['/v1/apps/shop', '/v1/%61pps/shop', '/v1/apps/shop#/x', 'http://a/v1/apps/shop']) {
    t.equal(await ask(port, 'PUT', path, operator, MANIFEST), 403, `${path} is not for those who may operate`);
    t.equal(await ask(port, 'PUT', path, admin, MANIFEST), 200, `${path} is that of the app`);
  }
});

t.test('what a follower forwards goes to the leader, whatever host its path names', async (t) => {
  const heard = (name: string, urls: string[]) =>
    createServer(({ url }: IncomingMessage, response) => {
      urls.push(`${name} ${url}`);
      response.end();
    });
  const urls: string[] = [];
  const leader = await listening(t, heard('leader', urls));
  const other = await listening(t, heard('other', urls));
  const behind: Behind = {
    ...{ api: null, leads: false, onLeaderChange: () => undefined, view: unasked },
    leaderApi: `http://127.0.0.1:${leader}`,
  };
  const token = 'x'.repeat(32);
  const port = await listening(t, createFront({ token, loopback: true, behind, log }) as Server);
  const paths = [`http://127.0.0.1:${other}/v1/apps`, `//127.0.0.1:${other}/v1/apps`, '/v1/apps?a=%2e#b'];
  for (const path of paths) t.equal(await ask(port, 'GET', path, token), 200);
  t.same(
    urls,
    paths.map((path) => `leader ${path}`),
    'just as it was asked for',
  );
});
