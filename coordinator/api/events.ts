import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { EventView } from '../../protocol/http.js';
import type { EventLog } from '../events.js';
import { numberIn } from './apps.js';
import { answers, EVENT, listOf } from './schemas.js';

const HEARTBEAT_MS = 15_000;
/** A client that lets so much wait is cut off; it comes back with its last id and misses nothing. */
const WAITING_BYTES_MAX = 1024 * 1024;

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
      if (!(request.headers.accept ?? '').includes('text/event-stream')) return events.since(after);
      stream(request, reply, events, after);
      return reply;
    },
  );
}

function stream(request: FastifyRequest, reply: FastifyReply, events: EventLog, after: number): void {
  reply.hijack();
  const { raw } = reply;
  raw.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store', connection: 'keep-alive' });
  const send = (text: string) => {
    raw.write(text);
    if (raw.writableLength > WAITING_BYTES_MAX) raw.destroy();
  };
  send(': shoal events\n\n');
  for (const event of events.since(after)) send(format(event));
  const stop = events.subscribe((event) => send(format(event)));
  const heartbeat = setInterval(() => send(': alive\n\n'), HEARTBEAT_MS);
  request.raw.socket.once('close', () => {
    stop();
    clearInterval(heartbeat);
    raw.destroy();
  });
}

function format(event: EventView): string {
  return `id: ${event.id}\nevent: ${event.kind}\ndata: ${JSON.stringify(event)}\n\n`;
}
