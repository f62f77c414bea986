import type { FastifyInstance } from 'fastify';
import { hostsOfInstance, instanceViews } from '../views.js';
import { found, type Know } from './apps.js';
import { type LogAccess, sendLog } from './logs.js';
import { answers, INSTANCE, INSTANCE_ID, LOG_QUERY, listOf, NAME } from './schemas.js';

const ID_PARAMS = { type: 'object', properties: { id: INSTANCE_ID }, required: ['id'] };

interface IdParams {
  id: string;
}

/** Instances with their logs. */
export async function instanceRoutes(server: FastifyInstance, know: Know, logs: LogAccess): Promise<void> {
  server.get<{ Querystring: { app?: string; component?: string } }>(
    '/instances',
    {
      schema: {
        summary: 'Instances, of one app or component if asked',
        querystring: { type: 'object', properties: { app: NAME, component: NAME }, additionalProperties: false },
        response: answers(listOf(INSTANCE)),
      },
    },
    async ({ query: { app, component } }) =>
      instanceViews(know()).filter(
        (each) => (app ?? each.app) === each.app && (component ?? each.component) === each.component,
      ),
  );
  const one = (id: string) =>
    found(
      instanceViews(know()).find((each) => each.id === id),
      `instance ${id}`,
    );
  server.get<{ Params: IdParams }>(
    '/instances/:id',
    { schema: { summary: 'One instance', params: ID_PARAMS, response: answers(INSTANCE) } },
    async ({ params: { id } }) => one(id),
  );
  server.get<{ Params: IdParams; Querystring: { follow?: string; tail?: string } }>(
    '/instances/:id/logs',
    {
      schema: {
        summary: 'Output of an instance, one line each: time, stream, text',
        params: ID_PARAMS,
        querystring: LOG_QUERY,
        produces: ['text/plain'],
      },
    },
    async ({ params: { id }, query }, reply) => {
      one(id);
      return sendLog(logs, { kind: 'instance', id, hosts: () => hostsOfInstance(know(), id), query, reply });
    },
  );
}
