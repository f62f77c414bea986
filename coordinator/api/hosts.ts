import type { FastifyInstance } from 'fastify';
import { setCordon } from '../cluster.js';
import type { Coordinator } from '../loop.js';
import { hostViews } from '../views.js';
import { found, type Know } from './apps.js';
import { answers, HOST, listOf } from './schemas.js';

const HOST_PARAMS = {
  type: 'object',
  properties: { name: { type: 'string', maxLength: 253 } },
  required: ['name'],
};

interface HostParams {
  name: string;
}

/** Hosts, and what they may be used for. */
export async function hostRoutes(server: FastifyInstance, coordinator: Coordinator, know: Know): Promise<void> {
  const one = (name: string) =>
    found(
      hostViews(know()).find((each) => each.name === name),
      `host ${name}`,
    );
  server.get('/hosts', { schema: { summary: 'All hosts', response: answers(listOf(HOST)) } }, async () =>
    hostViews(know()),
  );
  server.get<{ Params: HostParams }>(
    '/hosts/:name',
    { schema: { summary: 'One host', params: HOST_PARAMS, response: answers(HOST) } },
    async ({ params: { name } }) => one(name),
  );
  server.put<{ Params: HostParams; Body: { drain: boolean } }>(
    '/hosts/:name/cordon',
    {
      schema: {
        summary: 'Keep new instances off the host; with drain, bring those that it has elsewhere as well',
        params: HOST_PARAMS,
        body: {
          type: 'object',
          properties: { drain: { type: 'boolean' } },
          required: ['drain'],
          additionalProperties: false,
        },
        response: answers(HOST),
      },
    },
    async ({ params: { name }, body: { drain } }) => {
      one(name);
      const sinceMs = coordinator.now();
      await coordinator.change((state) => setCordon(state, name, { drain, sinceMs }));
      return one(name);
    },
  );
  server.delete<{ Params: HostParams }>(
    '/hosts/:name/cordon',
    { schema: { summary: 'Open the host again', params: HOST_PARAMS, response: answers(HOST) } },
    async ({ params: { name } }) => {
      one(name);
      await coordinator.change((state) => setCordon(state, name, null));
      return one(name);
    },
  );
}
