import { createPublicKey, verify, X509Certificate } from 'node:crypto';
import type { FastifyInstance } from 'fastify';
import type { Authority } from '../../identity/authority.js';
import { HOST_CERTIFICATE_DAYS, hostOf } from '../../identity/host-certificate.js';
import {
  authorityHash,
  formatJoinToken,
  newJoinToken,
  parseJoinToken,
  secretDigest,
} from '../../identity/join-token.js';
import { SERIAL_PATTERN } from '../../identity/serials.js';
import { ShoalError } from '../../protocol/errors.js';
import type { HostBounds, JoinAnswer, JoinTokenView, RevokedView } from '../../protocol/http.js';
import { LIMITS } from '../../protocol/limits.js';
import { LABEL_PATTERN } from '../../protocol/manifest-schema.js';
import { own } from '../cluster.js';
import {
  addJoinToken,
  assertMayJoin,
  isVoid,
  noteJoined,
  removeJoinToken,
  validFromLeast,
  validFromNext,
  voidCertificates,
} from '../joining.js';
import type { Coordinator } from '../loop.js';
import { revoke } from '../revoking.js';
import { answers } from './schemas.js';

export interface JoinOptions {
  coordinator: Coordinator;
  /** Signs hosts' certificates; undefined: it is not on this coordinator's host. */
  authority?: Authority | undefined;
  /** Where agents of other hosts dial, HOST:PORT. */
  link?: string | null | undefined;
}

const HOST_NAME = { type: 'string', pattern: '^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$' } as const;
const SERIAL = { type: 'string', pattern: SERIAL_PATTERN } as const;
const PEM = { type: 'string', maxLength: 8_192 } as const;
const LABEL = { type: 'string', pattern: LABEL_PATTERN, maxLength: LIMITS.nameLengthMax } as const;
const BOUNDS = {
  type: 'object',
  properties: {
    labels: {
      ...{ type: 'object', maxProperties: LIMITS.labelsMax },
      ...{ propertyNames: LABEL, additionalProperties: LABEL },
    },
    taints: { type: 'array', maxItems: LIMITS.labelsMax, uniqueItems: true, items: LABEL },
    cores: { type: 'number', exclusiveMinimum: 0, maximum: 1_000_000 },
    memoryBytes: { type: 'integer', minimum: 1, maximum: Number.MAX_SAFE_INTEGER },
  },
  additionalProperties: false,
} as const;

function body(properties: Record<string, object>, optional: Record<string, object> = {}) {
  return {
    type: 'object',
    properties: { ...properties, ...optional },
    required: Object.keys(properties),
    additionalProperties: false,
  };
}

interface TokenBody {
  name: string;
  host: string | null;
  bounds?: HostBounds;
  seconds: number;
  uses: number;
}

/** Tokens for joining, and what a new host asks with one. */
export async function joinRoutes(server: FastifyInstance, options: JoinOptions): Promise<void> {
  const { coordinator } = options;

  server.get(
    '/ca',
    { schema: { summary: "Certificate of the cluster's authority, for those who have its hash" } },
    async () => ({
      ca: await authorityOf(options).certificate(),
    }),
  );

  server.get('/join-tokens', { schema: { summary: 'Tokens with which hosts may join' } }, async () =>
    Object.entries(coordinator.state.joinTokens).map(
      ([id, { name, host, bounds = {}, usesLeft, expiresAtMs }]): JoinTokenView => ({
        ...{ id, name, host, bounds, usesLeft, expiresAtMs },
      }),
    ),
  );

  server.post<{ Body: TokenBody }>(
    '/join-tokens',
    {
      schema: {
        summary: 'A new token; it is shown in this answer only',
        body: body(
          {
            name: { type: 'string', pattern: '^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$' },
            host: { anyOf: [HOST_NAME, { type: 'null' }] },
            seconds: { type: 'integer', minimum: 1, maximum: LIMITS.joinTokenSecondsMax },
            uses: { type: 'integer', minimum: 1, maximum: LIMITS.joinTokenUsesMax },
          },
          { bounds: BOUNDS },
        ),
      },
    },
    async ({ body: { name, host, bounds, seconds, uses } }) => {
      const token = newJoinToken(authorityHash(await authorityOf(options).certificate()));
      const nowMs = coordinator.now();
      const expiresAtMs = nowMs + seconds * 1_000;
      const digest = secretDigest(token.secret);
      const record = { name, digest, host, ...(bounds === undefined ? {} : { bounds }), usesLeft: uses, expiresAtMs };
      await coordinator.change((state) => addJoinToken(state, token.id, record, nowMs));
      return { id: token.id, token: formatJoinToken(token), expiresAtMs };
    },
  );

  server.delete<{ Params: { id: string } }>(
    '/join-tokens/:id',
    { schema: { summary: 'Make a token void' } },
    async ({ params: { id } }, reply) => {
      await coordinator.change((state) => removeJoinToken(state, id));
      return reply.code(204).send();
    },
  );

  server.post<{ Body: { token: string; host: string; request: string } }>(
    '/join',
    {
      schema: {
        summary: 'A certificate for a new host, by a token for joining',
        body: body({ token: { type: 'string', maxLength: 256 }, host: HOST_NAME, request: PEM }),
        response: answers({ type: 'object', additionalProperties: true }),
      },
    },
    async ({ body: { token: text, host, request } }): Promise<JoinAnswer> => {
      const token = parseJoinToken(text);
      const authority = authorityOf(options);
      const link = linkOf(options);
      const allowed = () =>
        assertMayJoin(coordinator.state, token, host, coordinator.observed.hosts.has(host), coordinator.now());
      // Before anything is computed for whoever asks; and again, since others may have joined meanwhile.
      allowed();
      // Dated by the clock on the wall, which the coordinator's own follows without jumps.
      const notBeforeMs = validFromNext(coordinator.state, host, Date.now());
      const certificate = await authority.sign('agent', host, request, HOST_CERTIFICATE_DAYS, { notBeforeMs });
      const validFromMs = Date.parse(new X509Certificate(certificate).validFrom);
      await coordinator.change((state) => {
        const known = coordinator.observed.hosts.has(host);
        assertMayJoin(state, token, host, known, coordinator.now());
        return noteJoined(state, token.id, host, validFromMs, coordinator.now());
      });
      coordinator.note('host-joined', `${host} by token ${token.id}`);
      return { certificate, ca: await authority.certificate(), links: [link] };
    },
  );

  server.post<{ Body: { certificate: string; request: string; signature: string } }>(
    '/renew',
    {
      schema: {
        summary: 'A new certificate for a host that has one',
        body: body({ certificate: PEM, request: PEM, signature: { type: 'string', maxLength: 512 } }),
        response: answers({ type: 'object', additionalProperties: true }),
      },
    },
    async ({ body: { certificate, request, signature } }): Promise<JoinAnswer> => {
      const authority = authorityOf(options);
      const link = linkOf(options);
      const { host, validFromMs, serial } = hostOf(certificate, await authority.certificate(), Date.now());
      const isRevoked = own(coordinator.state.revoked, serial) !== undefined || (await authority.revoked()).has(serial);
      const voided = isRevoked || isVoid(coordinator.state, host, validFromMs);
      const signed = Buffer.from(signature, 'base64');
      const key = createPublicKey(certificate);
      if (voided || !verify('sha256', Buffer.from(request), key, signed)) {
        const why = voided ? 'is void' : 'is not of whoever asks: the signature is not by its key';
        throw new ShoalError('SHOAL_E_UNAUTHORIZED', `the certificate of ${host} ${why}`);
      }
      const notBeforeMs = validFromLeast(coordinator.state, host);
      const fresh = await authority.sign('agent', host, request, HOST_CERTIFICATE_DAYS, { notBeforeMs });
      coordinator.note('certificate-renewed', host);
      return { certificate: fresh, ca: await authority.certificate(), links: [link] };
    },
  );

  server.get('/revoked', { schema: { summary: 'Certificates that are revoked' } }, async () =>
    Object.entries(coordinator.state.revoked).map(
      ([serial, { name, atMs, validToMs }]): RevokedView => ({ serial, name, atMs, validToMs }),
    ),
  );

  server.put<{ Params: { serial: string }; Body: { name: string; validToMs: number } }>(
    '/revoked/:serial',
    {
      schema: {
        summary: 'Make a certificate void: all coordinators and agents are told',
        params: body({ serial: SERIAL }),
        body: body({
          name: { type: 'string', minLength: 1, maxLength: 200 },
          validToMs: { type: 'integer', minimum: 0, maximum: Number.MAX_SAFE_INTEGER },
        }),
      },
    },
    async ({ params: { serial }, body: { name, validToMs } }, reply) => {
      await coordinator.change((state) => revoke(state, serial, { name, validToMs, atMs: coordinator.now() }));
      coordinator.note('certificate-revoked', `${serial} of ${name}`);
      return reply.code(204).send();
    },
  );

  server.delete<{ Params: { name: string } }>(
    '/hosts/:name/certificate',
    {
      schema: {
        summary: 'Make all certificates of a host void; its name may join again',
        params: body({ name: HOST_NAME }),
      },
    },
    async ({ params: { name } }, reply) => {
      await coordinator.change((state) => voidCertificates(state, name, Date.now()));
      return reply.code(204).send();
    },
  );
}

function authorityOf({ authority }: JoinOptions): Authority {
  if (authority !== undefined) return authority;
  const remedy = 'start it with --authority, or make certificates with `shoal cert`';
  throw new ShoalError('SHOAL_E_HOST', `the coordinator that leads has no authority to sign with: ${remedy}`);
}

function linkOf({ link }: JoinOptions): string {
  if (link !== undefined && link !== null) return link;
  throw new ShoalError('SHOAL_E_CONFLICT', 'the coordinator takes no agents of other hosts: start it with --link');
}
