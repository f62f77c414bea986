import type { FastifyInstance } from 'fastify';
import { ShoalError } from '../../protocol/errors.js';
import { STATE_PROTOCOL } from '../../protocol/state-transfer.js';
import { componentOf } from '../cluster.js';
import type { ExecSource } from '../exec-tickets.js';
import { COMPONENT_PARAMS, type ComponentParams, found, type Know } from './apps.js';
import { type Audit, becomeStream, join, wantedProtocol } from './exec.js';
import { PROBLEM } from './schemas.js';

const TASKS = ['export', 'import'] as const;

interface Query {
  host: string;
  task: (typeof TASKS)[number];
}

/**
 * The entries of state shards. The connection becomes one to the agent of the host: what is then said on it is in
 * protocol/state-transfer.ts.
 */
export async function stateRoutes(
  server: FastifyInstance,
  know: Know,
  source: ExecSource,
  audit: Audit,
): Promise<void> {
  server.post<{ Params: ComponentParams; Querystring: Query }>(
    '/apps/:app/components/:component/state',
    {
      schema: {
        summary: `Read or write state shards that a host owns; with \`Upgrade: ${STATE_PROTOCOL}\``,
        params: COMPONENT_PARAMS,
        querystring: {
          type: 'object',
          properties: {
            host: { type: 'string', description: 'the owner of the state shards' },
            task: { type: 'string', enum: TASKS, description: 'export: nothing is written' },
          },
          required: ['host', 'task'],
          additionalProperties: false,
        },
        response: { '4xx': PROBLEM, '5xx': PROBLEM },
      },
    },
    async ({ params: { app, component }, query: { host, task }, raw }, reply) => {
      if (wantedProtocol(raw) !== STATE_PROTOCOL)
        throw new ShoalError('SHOAL_E_USAGE', `ask with \`Upgrade: ${STATE_PROTOCOL}\``);
      const name = `${app}/${component}`;
      const { state } = found(componentOf(know().state, app, component), `component ${name}`);
      if (state !== 'partitioned') {
        const why = `${name} has \`state: ${state}\``;
        throw new ShoalError('SHOAL_E_STATE_MODE', `${why}, and only partitioned state is exported and imported`);
      }
      audit(raw, `${task} of the state of ${name} on ${host}`);
      const there = await source.openState(host, { app, component, writes: task === 'import' });
      reply.hijack();
      becomeStream(reply.raw, raw.socket, STATE_PROTOCOL);
      join(raw.socket, there);
    },
  );
}
