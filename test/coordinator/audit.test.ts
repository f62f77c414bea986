import { join } from 'node:path';
import { pino } from 'pino';
import t from 'tap';
import { createApi } from '../../coordinator/api/server.js';
import { Tokens } from '../../coordinator/api/tokens.js';
import { SecretBox } from '../../coordinator/secret-box.js';
import type { EventView } from '../../protocol/http.js';
import { createToken } from './create-token.js';
import { CoordinatorRig } from './rig.js';

const CHANGES = ['put', 'post', 'delete', 'patch'] as const;
type Change = (typeof CHANGES)[number];
/** What hosts show there is no token of the API: whoever asks is a stranger in the audit log. */
const STRANGERS = ['/v1/hooks/{app}/{component}', '/v1/join', '/v1/renew'];

t.test(
  'whatever changes something, by the table of routes, stands in the audit log with who and what',
  { timeout: 120_000 },
  async (t) => {
    const rig = await CoordinatorRig.make();
    t.teardown(() => rig.close());
    const file = join(rig.folder, 'tokens');
    const [admin, reader] = [await createToken(file, 'ann', 'admin'), await createToken(file, 'eve', 'read')];
    const lines: { audit?: boolean }[] = [];
    const nobody = () => Promise.reject(new Error('nobody asks'));
    const { coordinator } = rig;
    const api = await createApi({
      profiles: { hosts: () => [], ask: nobody },
      logs: rig.logs,
      exec: { exec: nobody, openState: nobody },
      secrets: new SecretBox(null, false),
      coordinator,
      run: rig.folder,
      version: '0',
      token: null,
      tokens: new Tokens(file),
      loopback: true,
      log: pino({ level: 'info' }, { write: (line: string) => lines.push(JSON.parse(line)) }),
    });
    t.teardown(() => api.close());
    const { paths } = (
      await api.inject({ url: '/v1/openapi.json', headers: { authorization: `Bearer ${admin}` } })
    ).json<{
      paths: Record<string, object>;
    }>();
    const changes = Object.entries(paths).flatMap(([path, methods]) =>
      CHANGES.filter((method) => method in methods).map((method) => ({ method, path })),
    );
    t.ok(changes.length > 20, `${changes.length} routes`);

    /** What the audit log says of one request of this kind. */
    const audited = async (method: Change, url: string, token: string) => {
      const from = lines.length;
      const { statusCode: status } = await api.inject({ method, url, headers: { authorization: `Bearer ${token}` } });
      return { status, entries: lines.slice(from).filter(({ audit }) => audit === true) };
    };
    for (const { method, path } of changes) {
      const url = path.replaceAll(/\{\w+\}/g, 'nothing');
      const isOfStrangers = STRANGERS.includes(path);
      const [asked, refused] = [await audited(method, url, admin), await audited(method, url, reader)];
      // Of strangers nobody knows who it is.
      const who = isOfStrangers ? { from: '127.0.0.1' } : { who: 'ann', role: 'admin' };
      const what = { method: method.toUpperCase(), url };
      t.match(asked.entries.at(-1), { ...who, ...what, status: asked.status }, `${method} ${path}`);
      if (isOfStrangers) continue;
      t.equal(refused.status, 403, `${method} ${path} is not for those who may read`);
      t.match(refused.entries, [{ who: 'eve', role: 'read', from: '127.0.0.1', ...what, code: 'SHOAL_E_ROLE' }]);
      const events = coordinator.events.since(0) as EventView[];
      const told = `ann (admin): ${what.method} ${url}: ${asked.status}`;
      t.ok(
        events.some(({ kind, message }) => kind === 'audit' && message === told),
        `an event tells: ${told}`,
      );
    }
    const stranger = await audited('delete', '/v1/apps/nothing', 'x'.repeat(43));
    t.match(stranger.entries, [
      { from: '127.0.0.1', method: 'DELETE', url: '/v1/apps/nothing', code: 'SHOAL_E_UNAUTHORIZED' },
    ]);
    t.notOk('who' in (stranger.entries[0] ?? {}), 'who asks with no token is not known');
  },
);
