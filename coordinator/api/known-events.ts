import type { FastifyInstance } from 'fastify';
import { ShoalError } from '../../protocol/errors.js';
import type { KnownEventBody, KnownEventView } from '../../protocol/http.js';
import { LIMITS } from '../../protocol/limits.js';
import {
  addKnownEvent,
  freeEventId,
  type KnownEffect,
  type KnownEventRecord,
  knownEventsOf,
  nextOccurrence,
  removeKnownEvent,
} from '../known-events.js';
import type { Coordinator } from '../loop.js';
import { found } from './apps.js';
import { answers, KNOWN_EVENT, listOf, NAME, TIME } from './schemas.js';

const PARAMS = { type: 'object', properties: { app: NAME, component: NAME }, required: ['app', 'component'] };
const BODY = {
  type: 'object',
  properties: {
    id: { ...NAME, description: 'made up if absent' },
    from: TIME,
    to: TIME,
    factor: { type: 'number', minimum: 0, maximum: 1_000, description: 'so many times the usual demand' },
    requestsPerSecond: {
      type: 'number',
      minimum: 0,
      maximum: 1e9,
      description: 'at least so many; in place of factor',
    },
    note: { type: 'string', maxLength: LIMITS.knownEventNoteLengthMax, default: '' },
    repeat: { type: 'string', enum: ['daily', 'weekly'], description: 'every 24 hours or 7 days; absent: once' },
  },
  required: ['from', 'to'],
  additionalProperties: false,
};

interface Params {
  app: string;
  component: string;
}

/** What operators announce of a component's demand; it is planned for in advance. */
export async function knownEventRoutes(server: FastifyInstance, coordinator: Coordinator): Promise<void> {
  const path = '/apps/:app/components/:component/known-events';
  const listed = ({ app, component }: Params): KnownEventView[] => {
    const nowMs = coordinator.now();
    return knownEventsOf(coordinator.state, app, component).map((event) => viewOf(event, nowMs));
  };
  server.get<{ Params: Params }>(
    path,
    { schema: { summary: 'Known events of a component', params: PARAMS, response: answers(listOf(KNOWN_EVENT)) } },
    async ({ params }) => listed(params),
  );
  server.post<{ Params: Params; Body: KnownEventBody }>(
    path,
    {
      schema: {
        summary: 'Announce an event that will change the demand of a component: planned for in advance',
        params: PARAMS,
        body: BODY,
        response: answers(KNOWN_EVENT),
      },
    },
    async ({ params, body }) => {
      const { app, component } = params;
      const event = recordOf(body);
      let id = '';
      await coordinator.change((state) => {
        id = body.id ?? freeEventId(state, app, component);
        return addKnownEvent(state, app, component, { id, ...event }, coordinator.now());
      });
      const added = listed(params).find((each) => each.id === id);
      return found(added, `known event ${id} of ${app}/${component}`);
    },
  );
  server.delete<{ Params: Params & { id: string } }>(
    `${path}/:id`,
    {
      schema: {
        summary: 'Take a known event back',
        params: { ...PARAMS, properties: { ...PARAMS.properties, id: NAME }, required: [...PARAMS.required, 'id'] },
        response: answers(listOf(KNOWN_EVENT)),
      },
    },
    async ({ params }) => {
      const { app, component, id } = params;
      await coordinator.change((state) => removeKnownEvent(state, app, component, id));
      return listed(params);
    },
  );
}

function recordOf(body: KnownEventBody): Omit<KnownEventRecord, 'id'> {
  const { from, to, note = '', repeat = null } = body;
  return { fromMs: timeIn('from', from), toMs: timeIn('to', to), effect: effectOf(body), note, repeat };
}

function effectOf({ factor, requestsPerSecond }: KnownEventBody): KnownEffect {
  if (factor !== undefined && requestsPerSecond === undefined) return { kind: 'factor', factor };
  if (factor === undefined && requestsPerSecond !== undefined)
    return { kind: 'requests', perSecond: requestsPerSecond };
  throw new ShoalError('SHOAL_E_USAGE', 'give either factor or requestsPerSecond: what the event does to the demand');
}

function timeIn(name: string, text: string): number {
  const atMs = Date.parse(text);
  if (Number.isFinite(atMs)) return atMs;
  throw new ShoalError('SHOAL_E_USAGE', `${name} must be a date and time that exists, not ${JSON.stringify(text)}`);
}

function viewOf(event: KnownEventRecord, nowMs: number): KnownEventView {
  const { id, fromMs, toMs, effect, note, repeat } = event;
  const next = nextOccurrence(event, nowMs);
  return {
    id,
    from: new Date(fromMs).toISOString(),
    to: new Date(toMs).toISOString(),
    ...(effect.kind === 'factor' ? { factor: effect.factor } : { requestsPerSecond: effect.perSecond }),
    note,
    ...(repeat === null ? {} : { repeat }),
    next: next === null ? null : { fromMs: next.fromMs, toMs: next.toMs },
  };
}
