import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import t from 'tap';
import { createApi } from '../../coordinator/api/server.js';
import { Tokens } from '../../coordinator/api/tokens.js';
import { SecretBox } from '../../coordinator/secret-box.js';
import type { EventView } from '../../protocol/http.js';
import { runCli } from '../cli/run-cli.js';
import { createToken } from './create-token.js';
import { CoordinatorRig, MANIFEST } from './rig.js';

t.test(
  'a token may do what its role allows, who has changed what is kept, and without its line it is void',
  async (t) => {
    const folder = await mkdtemp(join(tmpdir(), 'shoal-tokens-'));
    const file = join(folder, 'tokens');
    t.teardown(() => rm(folder, { recursive: true, force: true }));
    const [reader, operator, admin] = [
      await createToken(file, 'eve', 'read'),
      await createToken(file, 'ci', 'operate'),
      await createToken(file, 'ann', 'admin'),
    ];
    t.match(await runCli(['token', 'create', 'no name', '--tokens', file]), { code: 2 });
    t.notMatch(await readFile(file, 'utf8'), admin, 'only its hash is kept');

    const rig = await CoordinatorRig.make();
    t.teardown(() => rig.close());
    const lines: string[] = [];
    const log = pino({ level: 'info' }, { write: (line: string) => lines.push(line) });
    const { coordinator } = rig;
    const api = await createApi({
      profiles: { hosts: () => [], ask: () => Promise.reject(new Error('nobody asks')) },
      logs: rig.logs,
      exec: {
        exec: () => Promise.reject(new Error('nobody asks')),
        openState: () => Promise.reject(new Error('nobody asks')),
      },
      secrets: new SecretBox(null, false),
      coordinator,
      run: folder,
      version: '0',
      token: null,
      tokens: new Tokens(file),
      loopback: true,
      log,
    });
    t.teardown(() => api.close());
    const ask = async (
      token: string,
      method: 'GET' | 'PUT' | 'DELETE',
      url: string,
      payload?: string,
      type = 'application/json',
    ) => {
      const headers = { authorization: `Bearer ${token}`, ...(payload === undefined ? {} : { 'content-type': type }) };
      return (await api.inject({ method, url, headers, ...(payload === undefined ? {} : { payload }) })).statusCode;
    };
    const app = '/v1/apps/shop';
    const scale = `${app}/components/web/scale`;
    const may = { reader: [403, 403, 200, 403], operator: [403, 200, 200, 403], admin: [200, 200, 200, 200] };
    t.equal(await ask(admin, 'PUT', app, MANIFEST, 'application/yaml'), 200);
    for (const [who, token] of Object.entries({ reader, operator, admin })) {
      const answers = [
        await ask(token, 'PUT', app, MANIFEST, 'application/yaml'),
        await ask(token, 'PUT', scale, '{"count":2}'),
        await ask(token, 'GET', '/v1/apps'),
        await ask(token, 'DELETE', app),
      ];
      t.same(answers, may[who as keyof typeof may], who);
    }
    t.equal(await ask('x'.repeat(43), 'GET', '/v1/apps'), 401);
    t.equal(await ask('', 'GET', '/v1/apps'), 401);
    const audit = (coordinator.events.since(0) as EventView[]).filter(({ kind }) => kind === 'audit');
    t.ok(audit.some(({ message }) => message === `ci (operate): PUT ${scale}: 200`));
    t.ok(
      lines.some((line) => line.includes('"audit":true') && line.includes('"who":"ann"') && line.includes('DELETE')),
    );

    await writeFile(file, (await readFile(file, 'utf8')).replace(/^operate.*\n/m, ''));
    t.equal(await ask(operator, 'GET', '/v1/apps'), 401, 'without a restart');
    t.throws(() => new Tokens(join(folder, 'none')), { code: 'SHOAL_E_USAGE' });
    await writeFile(file, 'admin ann secret\n');
    t.throws(() => new Tokens(file), { message: /tokens:1: expected ROLE NAME SHA256/ });
  },
);
