import type { FastifyInstance } from 'fastify';
import { ShoalError } from '../../protocol/errors.js';
import type { SecretView } from '../../protocol/http.js';
import { LIMITS } from '../../protocol/limits.js';
import { own } from '../cluster.js';
import type { Coordinator } from '../loop.js';
import type { SecretBox } from '../secret-box.js';
import { deleteSecret, namesOf, secretKey, setSecret, usersOf } from '../secrets.js';
import { answers, listOf, NAME, objectOf } from './schemas.js';

const PARAMS = { type: 'object', properties: { app: NAME, secret: NAME }, required: ['app', 'secret'] };
const SECRET = objectOf({
  app: { type: 'string' },
  name: { type: 'string' },
  version: { type: 'number' },
  changedAtMs: { type: 'number' },
  usedBy: { ...listOf({ type: 'string' }), description: 'components that have it as a file' },
});

interface Params {
  app: string;
  secret: string;
}

/** Secrets of apps. A value goes in and never comes out: no route, event or log has it. */
export async function secretRoutes(server: FastifyInstance, coordinator: Coordinator, box: SecretBox): Promise<void> {
  server.addContentTypeParser('application/octet-stream', { parseAs: 'buffer' }, (_request, body, done) =>
    done(null, body),
  );
  const view = (app: string, name: string): SecretView => {
    const { secrets, apps } = coordinator.state;
    const { version, changedAtMs } = own(secrets, secretKey(app, name)) ?? { version: 0, changedAtMs: 0 };
    const record = own(apps, app);
    const users = record === undefined ? [] : usersOf(record.manifest, name);
    return { app, name, version, changedAtMs, usedBy: users.map(([component]) => component) };
  };
  server.get<{ Params: { app: string } }>(
    '/apps/:app/secrets',
    {
      schema: {
        summary: 'Secrets of an app: their names, never their values',
        params: { type: 'object', properties: { app: NAME }, required: ['app'] },
        response: answers(listOf(SECRET)),
      },
    },
    async ({ params: { app } }) => namesOf(coordinator.state, app).map((name) => view(app, name)),
  );
  server.put<{ Params: Params; Body: unknown }>(
    '/apps/:app/secrets/:secret',
    {
      schema: {
        summary: 'Set a secret to the bytes of the body; instances that have it as a file are replaced one by one',
        params: PARAMS,
        consumes: ['application/octet-stream'],
        response: answers(SECRET),
      },
    },
    async ({ params: { app, secret }, body }) => {
      if (!Buffer.isBuffer(body) || body.length === 0 || body.length > LIMITS.secretBytesMax) {
        const most = `1 to ${LIMITS.secretBytesMax} bytes`;
        throw new ShoalError('SHOAL_E_BODY', `a secret is ${most}, sent as application/octet-stream`);
      }
      const sealed = box.seal(secretKey(app, secret), body);
      await coordinator.change((state) => setSecret(state, app, secret, sealed, coordinator.now()));
      return view(app, secret);
    },
  );
  server.delete<{ Params: Params }>(
    '/apps/:app/secrets/:secret',
    {
      schema: { summary: 'Forget a secret that no component has as a file', params: PARAMS, response: answers(SECRET) },
    },
    async ({ params: { app, secret } }) => {
      await coordinator.change((state) => deleteSecret(state, app, secret));
      return view(app, secret);
    },
  );
}
