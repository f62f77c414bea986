import type { FastifyInstance } from 'fastify';
import { ShoalError } from '../../protocol/errors.js';
import type { Coordinator } from '../loop.js';
import { askForBuild, buildsOf, cancelBuild } from '../releases.js';
import { componentView } from '../views.js';
import type { Know } from './apps.js';
import { type LogAccess, sendLog } from './logs.js';
import { answers, BUILD, BUILD_ID, COMPONENT, LOG_QUERY, listOf, NAME } from './schemas.js';

const COMPONENT_PARAMS = {
  type: 'object',
  properties: { app: NAME, component: NAME },
  required: ['app', 'component'],
};

/** Builds of components from code, with their logs; asking for one, as a webhook does. */
export async function buildRoutes(
  server: FastifyInstance,
  coordinator: Coordinator,
  know: Know,
  logs: LogAccess,
): Promise<void> {
  server.get<{ Querystring: { app?: string; component?: string } }>(
    '/builds',
    {
      schema: {
        summary: 'The last builds, the latest first, of one app or component if asked',
        querystring: { type: 'object', properties: { app: NAME, component: NAME }, additionalProperties: false },
        response: answers(listOf(BUILD)),
      },
    },
    async ({ query: { app, component } }) =>
      buildsOf(know().observed).filter(
        (each) => (app ?? each.app) === each.app && (component ?? each.component) === each.component,
      ),
  );
  server.get<{ Params: { id: string }; Querystring: { follow?: string; tail?: string } }>(
    '/builds/:id/logs',
    {
      schema: {
        summary: 'Output of a build, one line each: time, stream, text',
        params: { type: 'object', properties: { id: BUILD_ID }, required: ['id'] },
        querystring: LOG_QUERY,
        produces: ['text/plain'],
      },
    },
    async ({ params: { id }, query }, reply) => {
      const hosts = () => buildsOf(know().observed).flatMap((each) => (each.id === id ? [each.host] : []));
      if (hosts().length === 0) throw new ShoalError('SHOAL_E_NOT_FOUND', `there is no build ${id}`);
      return sendLog(logs, { kind: 'build', id, hosts, query, reply });
    },
  );
  server.post<{ Params: { app: string; component: string } }>(
    '/apps/:app/components/:component/build',
    {
      schema: {
        summary: 'Look for a new revision of the source now, and build it; what has failed is tried again',
        params: COMPONENT_PARAMS,
        response: answers(COMPONENT),
      },
    },
    async ({ params: { app, component } }) => {
      await coordinator.change((state) => askForBuild(state, app, component));
      return componentView(know(), app, component);
    },
  );
  server.post<{ Params: { app: string; component: string } }>(
    '/apps/:app/components/:component/build/cancel',
    {
      schema: {
        summary: 'End the build that is under way, everywhere; what runs goes on',
        params: COMPONENT_PARAMS,
        response: answers(COMPONENT),
      },
    },
    async ({ params: { app, component } }) => {
      await coordinator.change((state) => cancelBuild(state, know().observed, app, component));
      return componentView(know(), app, component);
    },
  );
}
