import { createHmac } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';
import type { FastifyInstance } from 'fastify';
import type { Logger } from 'pino';
import { ShoalError } from '../../protocol/errors.js';
import { own } from '../cluster.js';
import type { Coordinator } from '../loop.js';
import { lookAtSource } from '../releases.js';
import type { SecretBox } from '../secret-box.js';
import { secretKey } from '../secrets.js';
import { isSameSecret } from './access.js';
import { answers, NAME, objectOf } from './schemas.js';

/** The app's secret that its repositories' webhooks know. */
export const HOOK_SECRET = 'build-hook';

/**
 * What forges call when something was pushed. They cannot send a token of the API: GitHub, Gitea and Forgejo sign the body with a
 * secret (X-Hub-Signature-256: HMAC-SHA256, as GitHub's "Validating webhook deliveries" has it), GitLab sends the secret itself.
 */
export async function hookRoutes(
  server: FastifyInstance,
  coordinator: Coordinator,
  box: SecretBox,
  log: Logger,
): Promise<void> {
  /** Null also where it cannot be opened: who asks has shown nothing, and is told nothing of why. */
  const secretOf = (app: string): Buffer | null => {
    const key = secretKey(app, HOOK_SECRET);
    const record = own(coordinator.state.secrets, key);
    try {
      return record === undefined ? null : box.unseal(key, record.sealed);
    } catch (error) {
      log.error({ err: error, app }, 'the secret of a webhook cannot be opened');
      return null;
    }
  };
  // The signature is of the bytes, whatever they are.
  server.removeAllContentTypeParsers();
  server.addContentTypeParser('*', { parseAs: 'buffer' }, (_request, body, done) => done(null, body));
  server.post<{ Params: { app: string; component: string }; Body: unknown }>(
    '/hooks/:app/:component',
    {
      schema: {
        summary: `Webhook of a repository, signed with the app's secret ${HOOK_SECRET}: look for a new revision now`,
        params: {
          type: 'object',
          properties: { app: NAME, component: NAME },
          required: ['app', 'component'],
        },
        response: answers(objectOf({ app: { type: 'string' }, component: { type: 'string' } })),
        security: [],
      },
    },
    async ({ params: { app, component }, headers, body }) => {
      const secret = secretOf(app);
      // Before anything is said of the app: whoever asks shows that it knows the secret.
      if (secret === null || !isSigned(secret, headers, Buffer.isBuffer(body) ? body : Buffer.alloc(0))) {
        const remedy = `shoal secret set ${app}/${HOOK_SECRET}, and the same at the repository's webhook`;
        throw new ShoalError('SHOAL_E_UNAUTHORIZED', `the webhook's signature is missing or not right: ${remedy}`);
      }
      await coordinator.change((state) => lookAtSource(state, app, component));
      return { app, component };
    },
  );
}

function isSigned(secret: Buffer, headers: IncomingHttpHeaders, body: Buffer): boolean {
  const { 'x-hub-signature-256': signature, 'x-gitlab-token': given } = headers;
  const signed = `sha256=${createHmac('sha256', secret).update(body).digest('hex')}`;
  if (typeof signature === 'string' && isSameSecret(signature, signed)) return true;
  // As Node has it from the wire.
  return typeof given === 'string' && isSameSecret(Buffer.from(given, 'latin1'), secret);
}
