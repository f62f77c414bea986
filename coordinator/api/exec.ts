import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { FastifyInstance } from 'fastify';
import { ShoalError } from '../../protocol/errors.js';
import { EXEC_PROTOCOL, isCommand, parseTerminalSize } from '../../protocol/exec.js';
import { LIMITS } from '../../protocol/limits.js';
import { STATE_PROTOCOL } from '../../protocol/state-transfer.js';
import type { ExecSource } from '../exec-tickets.js';
import { instanceViews } from '../views.js';
import { found, type Know } from './apps.js';
import { INSTANCE_ID, PROBLEM } from './schemas.js';

/** Tells the audit log of a command that is about to run: what the answer's status says comes when it has ended. */
export type Audit = (request: IncomingMessage, what: string) => void;

interface Params {
  id: string;
}

/** Commands in instances. The connection becomes that of the command: what is then said on it is in protocol/exec.ts. */
export async function execRoutes(server: FastifyInstance, know: Know, source: ExecSource, audit: Audit): Promise<void> {
  server.post<{ Params: Params; Querystring: { word: string | string[]; terminal?: string } }>(
    '/instances/:id/exec',
    {
      schema: {
        summary: `Run a command in an instance; with \`Upgrade: ${EXEC_PROTOCOL}\``,
        params: { type: 'object', properties: { id: INSTANCE_ID }, required: ['id'] },
        querystring: {
          type: 'object',
          properties: {
            word: {
              description: 'each word of the command, in order',
              anyOf: [{ type: 'string' }, { type: 'array', items: { type: 'string' } }],
            },
            terminal: { type: 'string', description: 'give it a terminal of this size: COLUMNSxROWS' },
          },
          required: ['word'],
          additionalProperties: false,
        },
        response: { '4xx': PROBLEM, '5xx': PROBLEM },
      },
    },
    async ({ params: { id }, query: { word, terminal }, raw }, reply) => {
      const command = typeof word === 'string' ? [word] : word;
      if (wantedProtocol(raw) !== EXEC_PROTOCOL)
        throw new ShoalError('SHOAL_E_USAGE', `ask with \`Upgrade: ${EXEC_PROTOCOL}\``);
      if (!isCommand(command)) {
        const most = `at most ${LIMITS.execWordsMax} words of ${LIMITS.execCommandBytesMax} bytes together`;
        throw new ShoalError('SHOAL_E_USAGE', `a command has a first word that is not empty, and ${most}`);
      }
      const size = terminal === undefined ? null : parseTerminalSize(terminal);
      if (terminal !== undefined && size === null) {
        throw new ShoalError('SHOAL_E_USAGE', 'a terminal has from 1x1 to 65535x65535 columns and rows, such as 80x24');
      }
      const { host } = found(
        instanceViews(know()).find((each) => each.id === id),
        `instance ${id}`,
      );
      audit(raw, `exec in ${id}: ${JSON.stringify(command)}`);
      const there = await source.exec(host, { instance: id, command, terminal: size });
      reply.hijack();
      becomeStream(reply.raw, raw.socket, EXEC_PROTOCOL);
      join(raw.socket, there);
    },
  );
}

/** What a connection can become. */
export const UPGRADES = [EXEC_PROTOCOL, STATE_PROTOCOL] as const;
export type Upgrade = (typeof UPGRADES)[number];

/** What the request asks that its connection become; undefined: nothing of these. */
export function wantedProtocol({ headers }: Pick<IncomingMessage, 'headers'>): Upgrade | undefined {
  return UPGRADES.find((each) => each === headers.upgrade?.toLowerCase());
}

/** Says that the connection now speaks another protocol (RFC 9110, 7.8). */
export function becomeStream(response: ServerResponse, socket: Socket, protocol: Upgrade): void {
  response.detachSocket(socket);
  socket.write(`HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: ${protocol}\r\n\r\n`);
}

/** Carries what each side says to the other, no faster than it is read there; when one side is gone, so is the other. */
export function join(one: Socket, other: Socket): void {
  for (const [from, to] of [
    [one, other],
    [other, one],
  ] as const) {
    from.setTimeout(0);
    from.on('error', () => from.destroy());
    from.once('close', () => to.destroySoon());
    if (from.destroyed) to.destroy();
    else from.pipe(to);
  }
}
