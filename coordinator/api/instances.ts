import type { Socket } from 'node:net';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import type { FastifyInstance, FastifyReply } from 'fastify';
import { ShoalError } from '../../protocol/errors.js';
import { instanceViews } from '../views.js';
import { found, type Know, numberIn } from './apps.js';
import { followLog, logFiles, tailLines } from './logs.js';
import { answers, INSTANCE, INSTANCE_ID, LOG_QUERY, listOf, NAME } from './schemas.js';

const TAIL_LINES_MAX = 100_000;
const ID_PARAMS = { type: 'object', properties: { id: INSTANCE_ID }, required: ['id'] };

interface IdParams {
  id: string;
}

/** Instances with their logs. `run` is the agent's state folder on this host. */
export async function instanceRoutes(server: FastifyInstance, know: Know, run: string): Promise<void> {
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
    async ({ params: { id }, query, raw }, reply) => {
      one(id);
      return sendLog({ what: `instance ${id}`, folder: join(run, 'instances', id), query, socket: raw.socket, reply });
    },
  );
}

interface LogRequest {
  what: string;
  folder: string;
  query: { follow?: string; tail?: string };
  socket: Socket;
  reply: FastifyReply;
}

/** The log in the folder as it is, or followed until the client leaves. */
export async function sendLog({ what, folder, query, socket, reply }: LogRequest): Promise<string | Readable> {
  const tail = numberIn('tail', query.tail ?? String(TAIL_LINES_MAX), 0, TAIL_LINES_MAX);
  const files = await logFiles(folder);
  if (files.length === 0 && query.follow !== '1') {
    throw new ShoalError('SHOAL_E_NOT_FOUND', `${what} has no log on this host yet`);
  }
  reply.type('text/plain; charset=utf-8');
  if (query.follow !== '1') return tailLines(files, tail);
  const gone = new AbortController();
  socket.once('close', () => gone.abort());
  return Readable.from(followLog(folder, tail, gone.signal), { objectMode: false });
}
