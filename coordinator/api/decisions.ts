import type { FastifyInstance } from 'fastify';
import type { Decision } from '../brain/decision.js';
import { componentKey, componentOf } from '../cluster.js';
import type { Coordinator } from '../loop.js';
import { decisionView } from '../views.js';
import { found, numberIn } from './apps.js';
import { answers, DECISION, listOf, NAME } from './schemas.js';
import { sseEvent, stream, wantsStream } from './stream.js';

interface Route {
  Params: { app: string; component: string };
  Querystring: { since?: string; last?: string };
}

const LAST_MAX = 1_000;

/** Why a component got what it has: its last decisions, as JSON or live. */
export async function decisionRoutes(server: FastifyInstance, coordinator: Coordinator): Promise<void> {
  server.get<Route>(
    '/apps/:app/components/:component/decisions',
    {
      schema: {
        summary:
          'The last decisions on a component, oldest first, in numbers and in words: those that changed something, and those of the last seconds. With `Accept: text/event-stream` the changes live, as `decision` events',
        params: { type: 'object', properties: { app: NAME, component: NAME }, required: ['app', 'component'] },
        querystring: {
          type: 'object',
          properties: {
            since: { type: 'string', description: 'only those at or after this time, ms since the epoch' },
            last: { type: 'string', description: `only the newest, 1 to ${LAST_MAX}` },
          },
          additionalProperties: false,
        },
        response: answers(listOf(DECISION)),
      },
    },
    async (request, reply) => {
      const { app, component } = request.params;
      const { since = '0', last = String(LAST_MAX) } = request.query;
      const sinceMs = numberIn('since', since, 0, Number.MAX_SAFE_INTEGER);
      const count = numberIn('last', last, 1, LAST_MAX);
      found(componentOf(coordinator.state, app, component), `component ${app}/${component}`);
      const key = componentKey(app, component);
      const decisions = coordinator.decisions.of(key).filter(({ explanation }) => explanation.atMs >= sinceMs);
      if (!wantsStream(request)) return decisions.slice(-count).map(decisionView);
      const id = request.headers['last-event-id'];
      const after = typeof id === 'string' ? numberIn('last-event-id', id, 0, Number.MAX_SAFE_INTEGER) : -1;
      const past = decisions.filter(({ changed, explanation }) => changed && explanation.atMs > after);
      stream(request, reply, {
        past: past.slice(-count).map(format),
        subscribe: (send) => coordinator.decisions.subscribe(key, (decision) => send(format(decision))),
      });
      return reply;
    },
  );
}

function format(decision: Decision): string {
  return sseEvent(decision.explanation.atMs, 'decision', decisionView(decision));
}
