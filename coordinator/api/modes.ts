import type { FastifyInstance } from 'fastify';
import type { PlanMode } from '../../protocol/manifest.js';
import { setMode } from '../cluster.js';
import type { Coordinator } from '../loop.js';
import { componentView } from '../views.js';
import type { Know } from './apps.js';
import { answers, COMPONENT, listOf, MODE, NAME } from './schemas.js';

const BODY = {
  type: 'object',
  properties: { mode: MODE },
  required: ['mode'],
  additionalProperties: false,
};

interface Params {
  app: string;
  component?: string;
}

/** Whether plans are acted on or only shown: for a whole app, or for one component, which goes before its app. */
export async function modeRoutes(server: FastifyInstance, coordinator: Coordinator, know: Know): Promise<void> {
  const set = async ({ app, component }: Params, mode: PlanMode | null) => {
    const { apps } = await coordinator.change((state) => setMode(state, app, component ?? null, mode));
    const known = know();
    if (component !== undefined) return componentView(known, app, component);
    return Object.keys(apps[app]?.manifest.components ?? {}).map((name) => componentView(known, app, name));
  };
  const scopes = [
    { path: '/apps/:app/mode', of: 'of all components of an app', names: ['app'], good: listOf(COMPONENT) },
    {
      path: '/apps/:app/components/:component/mode',
      of: 'of one component',
      names: ['app', 'component'],
      good: COMPONENT,
    },
  ];
  for (const { path, of, names, good } of scopes) {
    const params = {
      type: 'object',
      properties: Object.fromEntries(names.map((name) => [name, NAME])),
      required: names,
    };
    server.put<{ Params: Params; Body: { mode: PlanMode } }>(
      path,
      {
        schema: {
          summary: `Set by hand whether the plans ${of} are acted on or only shown`,
          params,
          body: BODY,
          response: answers(good),
        },
      },
      async ({ params, body }) => set(params, body.mode),
    );
    server.delete<{ Params: Params }>(
      path,
      { schema: { summary: `Give the mode ${of} back to the manifest`, params, response: answers(good) } },
      async ({ params }) => set(params, null),
    );
  }
}
