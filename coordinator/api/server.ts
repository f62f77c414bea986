import type { IncomingMessage } from 'node:http';
import swagger from '@fastify/swagger';
import Fastify, { type FastifyInstance } from 'fastify';
import type { Logger } from 'pino';
import { ShoalError } from '../../protocol/errors.js';
import type { ClusterView } from '../../protocol/http.js';
import { LIMITS } from '../../protocol/limits.js';
import { MANIFEST_SCHEMA } from '../../protocol/manifest-schema.js';
import type { LogSource, ProfileSource } from '../agent-questions.js';
import type { ExecSource } from '../exec-tickets.js';
import type { Coordinator } from '../loop.js';
import { RefusalLog } from '../refusal-log.js';
import type { SecretBox } from '../secret-box.js';
import { type Access, ANYBODY, assertAccess, STRANGER, WEBHOOK } from './access.js';
import { appRoutes, componentRoutes, type Know } from './apps.js';
import { buildRoutes } from './builds.js';
import { decisionRoutes } from './decisions.js';
import { eventRoutes } from './events.js';
import { execRoutes } from './exec.js';
import { hookRoutes } from './hooks.js';
import { hostRoutes } from './hosts.js';
import { instanceRoutes } from './instances.js';
import { type JoinOptions, joinRoutes } from './join.js';
import { knownEventRoutes } from './known-events.js';
import { metricsText } from './metrics.js';
import { modeRoutes } from './modes.js';
import { pauseRoutes } from './pauses.js';
import { sendProblem } from './problem.js';
import { profileRoutes } from './profiles.js';
import { secretRoutes } from './secrets.js';
import { stateRoutes } from './state.js';
import { type Caller, roleFor } from './tokens.js';

export interface ApiOptions extends Access, JoinOptions {
  coordinator: Coordinator;
  /** The agents' profiles. */
  profiles: ProfileSource;
  /** The agents' logs. */
  logs: LogSource;
  secrets: SecretBox;
  /** Runs commands in instances. */
  exec: ExecSource;
  /** The agent's state folder on this host, for logs that its agent cannot be asked for. */
  run: string;
  version: string;
  /** What this coordinator knows of itself and of who leads. */
  cluster?: () => ClusterView;
  log: Logger;
}

export const REQUEST_MS_MAX = 30_000;
/** The first status that says that nothing was done. */
const FAILED = 400;
const METHODS_SEEN = new Set(['GET', 'HEAD', 'PUT', 'DELETE', 'POST', 'PATCH']);

/** The HTTP API of a coordinator, not listening: its `routing` answers requests. */
export async function createApi(options: ApiOptions): Promise<FastifyInstance> {
  const { coordinator, token, version, refusals = new RefusalLog(options.log) } = options;
  const server = Fastify({
    logger: false,
    bodyLimit: LIMITS.httpBodyBytesMax,
    requestTimeout: REQUEST_MS_MAX,
    forceCloseConnections: true,
    routerOptions: { maxParamLength: 256 },
    // "5" is not 5, and what is not known is refused rather than dropped.
    ajv: { customOptions: { coerceTypes: false, removeAdditional: false, allErrors: true } },
  });
  const know: Know = () => ({
    state: coordinator.state,
    observed: coordinator.observed,
    memory: coordinator.memory,
    nowMs: coordinator.now(),
    waiting: coordinator.waiting,
    gaveWay: coordinator.gaveWay,
    measured: coordinator.measured,
  });

  const logs = { source: options.logs, run: options.run, leads: () => coordinator.leads() };

  /** Who asks, and for the audit log who has asked. */
  const callers = new WeakMap<IncomingMessage, Caller>();
  server.addHook('onRequest', async (request) => {
    callers.set(request.raw, assertAccess(options, request.raw, refusals, request.routeOptions.url));
  });
  server.addHook('onResponse', async ({ raw, method, url }, reply) => {
    const caller = callers.get(raw);
    if (caller === undefined || roleFor(method, '') === 'read') return;
    const { statusCode: status } = reply;
    // Who shows no token can ask as fast as it likes, and has changed nothing then.
    if ((caller === WEBHOOK || caller === STRANGER) && status >= FAILED) {
      const [path] = url.split('?');
      refusals.warn(
        raw.socket.remoteAddress ?? '',
        { audit: true, method, url: path, status },
        `${caller.name} was refused`,
      );
      return;
    }
    options.log.info(
      { audit: true, who: caller.name, role: caller.role, method, url, status },
      'a change was asked for',
    );
    if (caller !== ANYBODY) tellAudit(caller, `${method} ${url}: ${status}`);
  });
  const tellAudit = ({ name, role }: Caller, what: string) => {
    const nothing = { app: '', component: '', instance: '', kind: 'audit' };
    coordinator.events.append({ atMs: coordinator.now(), ...nothing, message: `${name} (${role}): ${what}` });
  };
  /** For what lasts: told when it begins, also of whoever asks where no token is needed. */
  const audit = (request: IncomingMessage, what: string) => {
    const caller = callers.get(request);
    if (caller === undefined) return;
    options.log.info({ audit: true, who: caller.name, role: caller.role, what }, 'was asked for');
    tellAudit(caller, what);
  };
  server.setErrorHandler(async (error, request, reply) => {
    const status = (error as { status?: number }).status ?? 500;
    if (status >= 500) options.log.error({ err: error, url: request.url }, 'a request failed');
    await sendProblem(reply, error);
  });
  server.setNotFoundHandler(async (request, reply) => {
    const known = METHODS_SEEN.has(request.method) ? '' : ` ${request.method} is no method of this API.`;
    const detail = `there is no ${request.method} ${request.url.split('?')[0]};${known} see /v1/openapi.json`;
    await sendProblem(reply, new ShoalError('SHOAL_E_NOT_FOUND', detail));
  });

  await server.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: { title: 'Shoal coordinator', version, description: 'Apps, components, instances and hosts of a cluster.' },
      components: { securitySchemes: { token: { type: 'http', scheme: 'bearer' } } },
      security: token === null && options.tokens === undefined ? [] : [{ token: [] }],
    },
  });
  await server.register(
    async (v1) => {
      await v1.register((each) => appRoutes(each, coordinator, know));
      await v1.register((each) => componentRoutes(each, coordinator, know));
      await v1.register((each) => decisionRoutes(each, coordinator));
      await v1.register((each) => knownEventRoutes(each, coordinator));
      await v1.register((each) => modeRoutes(each, coordinator, know));
      await v1.register((each) => pauseRoutes(each, coordinator, know));
      await v1.register((each) => secretRoutes(each, coordinator, options.secrets));
      await v1.register((each) => instanceRoutes(each, know, logs));
      await v1.register((each) => execRoutes(each, know, options.exec, audit));
      await v1.register((each) => stateRoutes(each, know, options.exec, audit));
      await v1.register((each) => buildRoutes(each, coordinator, know, logs));
      await v1.register((each) => hookRoutes(each, coordinator, options.secrets, options.log));
      await v1.register((each) => hostRoutes(each, coordinator, know));
      await v1.register((each) => profileRoutes(each, options.profiles, coordinator));
      await v1.register((each) => joinRoutes(each, options));
      await v1.register((each) => eventRoutes(each, coordinator.events));
      const { cluster } = options;
      if (cluster !== undefined) {
        v1.get('/cluster', { schema: { summary: 'The coordinator that is asked, and who leads' } }, async () =>
          cluster(),
        );
      }
      v1.get('/version', { schema: { summary: 'Version of the coordinator' } }, async () => ({ version, api: 'v1' }));
      v1.get('/openapi.json', { schema: { summary: 'This API as an OpenAPI document' } }, async () => server.swagger());
      const schema = { summary: 'JSON schema of the manifest' };
      v1.get('/schema/manifest.json', { schema }, async () => MANIFEST_SCHEMA);
    },
    { prefix: '/v1' },
  );
  server.get('/healthz', { schema: { summary: '200 while this coordinator leads' } }, async () => ({ status: 'ok' }));
  server.get('/metrics', { schema: { summary: 'Prometheus metrics' } }, async (_request, reply) => {
    reply.type('text/plain; version=0.0.4');
    return metricsText(know(), coordinator);
  });
  await server.ready();
  return server;
}
