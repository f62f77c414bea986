import type { FastifyInstance } from 'fastify';
import type { EventView } from '../../protocol/http.js';
import type { EventLog } from '../events.js';
import { numberIn } from './apps.js';
import { answers, EVENT, listOf } from './schemas.js';
import { sseEvent, stream, wantsStream } from './stream.js';

interface EventQuery {
  after?: string;
}

/** What has happened: a list as JSON, or a live stream as server-sent events (WHATWG HTML, section 9.2). */
export async function eventRoutes(server: FastifyInstance, events: EventLog): Promise<void> {
  server.get<{ Querystring: EventQuery }>(
    '/events',
    {
      schema: {
        summary: 'Events, as JSON or with `Accept: text/event-stream` live',
        querystring: {
          type: 'object',
          properties: { after: { type: 'string', description: 'only events with a greater id' } },
          additionalProperties: false,
        },
        response: answers(listOf(EVENT)),
      },
    },
    async (request, reply) => {
      const last = request.headers['last-event-id'];
      const after = numberIn(
        'after',
        request.query.after ?? (typeof last === 'string' ? last : '0'),
        0,
        Number.MAX_SAFE_INTEGER,
      );
      if (!wantsStream(request)) return events.since(after);
      stream(request, reply, {
        past: events.since(after).map(format),
        subscribe: (send) => events.subscribe((event) => send(format(event))),
      });
      return reply;
    },
  );
}

function format(event: EventView): string {
  return sseEvent(event.id, event.kind, event);
}
