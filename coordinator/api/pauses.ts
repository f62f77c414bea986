import type { FastifyInstance } from 'fastify';
import { pauseInstance, setPause } from '../cluster.js';
import type { Coordinator } from '../loop.js';
import { componentView, instanceViews } from '../views.js';
import { found, type Know } from './apps.js';
import { answers, COMPONENT, INSTANCE, INSTANCE_ID, NAME } from './schemas.js';

const OF_COMPONENT = {
  type: 'object',
  properties: { app: NAME, component: NAME },
  required: ['app', 'component'],
};
const OF_INSTANCE = { type: 'object', properties: { id: INSTANCE_ID }, required: ['id'] };

/** Freezing instances by hand, one or all of a component, and letting them go on. */
export async function pauseRoutes(server: FastifyInstance, coordinator: Coordinator, know: Know): Promise<void> {
  for (const [method, paused] of [
    ['PUT', true],
    ['DELETE', false],
  ] as const) {
    server.route<{ Params: { app: string; component: string } }>({
      method,
      url: '/apps/:app/components/:component/pause',
      schema: {
        summary: paused
          ? 'Freeze all instances of a component and hold its plan'
          : 'Let all instances of a component go on, but those that were paused one by one',
        params: OF_COMPONENT,
        response: answers(COMPONENT),
      },
      handler: async ({ params: { app, component } }) => {
        const pause = paused ? { sinceMs: coordinator.now() } : null;
        await coordinator.change((state) => setPause(state, app, component, pause));
        return componentView(know(), app, component);
      },
    });
    server.route<{ Params: { id: string } }>({
      method,
      url: '/instances/:id/pause',
      schema: {
        summary: paused ? 'Freeze one instance' : 'Let an instance go on that was paused by itself',
        params: OF_INSTANCE,
        response: answers(INSTANCE),
      },
      handler: async ({ params: { id } }) => {
        await coordinator.change((state) => pauseInstance(state, id, paused));
        return found(
          instanceViews(know()).find((each) => each.id === id),
          `instance ${id}`,
        );
      },
    });
  }
}
