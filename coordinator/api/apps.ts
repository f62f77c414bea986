import { isAbsolute } from 'node:path';
import type { FastifyInstance } from 'fastify';
import { ShoalError } from '../../protocol/errors.js';
import { LIMITS } from '../../protocol/limits.js';
import type { Manifest, Source } from '../../protocol/manifest.js';
import { isRemote } from '../../protocol/manifest-build.js';
import { parseManifest } from '../../protocol/manifest-parse.js';
import { applyManifest, componentKey, componentOf, deleteApp, own, setOverride } from '../cluster.js';
import { forecastIntervals, forecastView } from '../forecast-view.js';
import type { Coordinator } from '../loop.js';
import { PACE } from '../planner.js';
import { newMemory } from '../planner-memory.js';
import { appView, componentView, type Knowledge } from '../views.js';
import { ManifestRefused } from './problem.js';
import { APP, answers, COMPONENT, FORECAST, listOf, NAME, objectOf } from './schemas.js';

const APP_PARAMS = { type: 'object', properties: { app: NAME }, required: ['app'] };
export const COMPONENT_PARAMS = {
  type: 'object',
  properties: { app: NAME, component: NAME },
  required: ['app', 'component'],
};

interface AppParams {
  app: string;
}
export interface ComponentParams extends AppParams {
  component: string;
}

export type Know = () => Knowledge;

/** Apps and their components. */
export async function appRoutes(server: FastifyInstance, coordinator: Coordinator, know: Know): Promise<void> {
  // A manifest is taken as text, so that errors name its lines.
  server.removeContentTypeParser(['application/json', 'text/plain']);
  const types = ['application/json', 'application/yaml', 'application/x-yaml', 'text/yaml', 'text/plain'];
  server.addContentTypeParser(types, { parseAs: 'string' }, (_request, body, done) => done(null, body));

  server.put<{ Params: AppParams; Body: string }>(
    '/apps/:app',
    {
      schema: {
        summary: 'Apply a manifest (YAML or JSON): create the app or change it',
        params: APP_PARAMS,
        consumes: types,
        response: answers(APP),
      },
    },
    async ({ params, body }) => {
      const manifest = readManifest(body, params.app);
      await coordinator.change((state) => applyManifest(state, manifest));
      return appView(know(), params.app);
    },
  );
  server.get('/apps', { schema: { summary: 'All apps', response: answers(listOf(APP)) } }, async () => {
    const known = know();
    return Object.keys(known.state.apps).map((app) => appView(known, app));
  });
  server.get<{ Params: AppParams }>(
    '/apps/:app',
    { schema: { summary: 'One app', params: APP_PARAMS, response: answers(APP) } },
    async ({ params }) => found(appView(know(), params.app), `app ${params.app}`),
  );
  server.delete<{ Params: AppParams }>(
    '/apps/:app',
    { schema: { summary: 'Delete an app and end its instances', params: APP_PARAMS, response: answers(objectOf({})) } },
    async ({ params }) => {
      await coordinator.change((state) => deleteApp(state, params.app));
      return { app: params.app, deleted: true };
    },
  );
}

/** Components: what they need, get and will need. */
export async function componentRoutes(server: FastifyInstance, coordinator: Coordinator, know: Know): Promise<void> {
  server.get<{ Params: AppParams }>(
    '/apps/:app/components',
    { schema: { summary: 'All components of an app', params: APP_PARAMS, response: answers(listOf(COMPONENT)) } },
    async ({ params }) => {
      const known = know();
      const { components } = found(appView(known, params.app), `app ${params.app}`);
      return components.map((name) => componentView(known, params.app, name));
    },
  );
  server.get<{ Params: ComponentParams }>(
    '/apps/:app/components/:component',
    { schema: { summary: 'One component', params: COMPONENT_PARAMS, response: answers(COMPONENT) } },
    async ({ params: { app, component } }) =>
      found(componentView(know(), app, component), `component ${app}/${component}`),
  );
  server.get<{ Params: ComponentParams; Querystring: { horizon?: string } }>(
    '/apps/:app/components/:component/forecast',
    {
      schema: {
        summary: 'Demand in cores, forecast from one second ahead to the horizon',
        params: COMPONENT_PARAMS,
        querystring: { type: 'object', properties: { horizon: { type: 'string', description: 'seconds, 1 to 3600' } } },
        response: answers(FORECAST),
      },
    },
    async ({ params: { app, component }, query }) => {
      const horizon = numberIn('horizon', query.horizon ?? '60', 1, LIMITS.forecastSecondsMax);
      const { state, memory, nowMs } = know();
      found(componentOf(state, app, component), `component ${app}/${component}`);
      const key = componentKey(app, component);
      const seen = memory.get(key) ?? newMemory(0, PACE);
      const events = own(state.knownEvents, key) ?? [];
      const view = forecastView(seen, horizon, nowMs, events);
      return { ...view, intervals: forecastIntervals(seen, horizon, nowMs, events) };
    },
  );
  server.put<{ Params: ComponentParams; Body: { count: number } }>(
    '/apps/:app/components/:component/scale',
    {
      schema: {
        summary: 'Set the count by hand, until it is given back to the plan',
        params: COMPONENT_PARAMS,
        body: {
          type: 'object',
          properties: { count: { type: 'integer', minimum: 0 } },
          required: ['count'],
          additionalProperties: false,
        },
        response: answers(COMPONENT),
      },
    },
    async ({ params: { app, component }, body }) => {
      await coordinator.change((state) => setOverride(state, app, component, body.count));
      return componentView(know(), app, component);
    },
  );
  server.delete<{ Params: ComponentParams }>(
    '/apps/:app/components/:component/scale',
    { schema: { summary: 'Give the count back to the plan', params: COMPONENT_PARAMS, response: answers(COMPONENT) } },
    async ({ params: { app, component } }) => {
      await coordinator.change((state) => setOverride(state, app, component, null));
      return componentView(know(), app, component);
    },
  );
}

export function found<T>(value: T | null | undefined, what: string): T {
  if (value !== null && value !== undefined) return value;
  throw new ShoalError('SHOAL_E_NOT_FOUND', `there is no ${what}`);
}

/** A whole number given as text; throws SHOAL_E_USAGE outside of the bounds. */
export function numberIn(name: string, given: string, min: number, max: number): number {
  const value = /^\d{1,16}$/.test(given) ? Number(given) : Number.NaN;
  if (value >= min && value <= max) return value;
  throw new ShoalError(
    'SHOAL_E_USAGE',
    `${name} must be a whole number from ${min} to ${max}, not ${JSON.stringify(given)}`,
  );
}

/** Paths of the host that it names. */
function pathsIn(source: Source): Record<string, string | undefined> {
  if (source.kind === 'image') return {};
  if (source.kind === 'build') return { build: isRemote(source.build) ? undefined : source.build };
  return { rootfs: source.rootfs === 'host' ? undefined : source.rootfs, directory: source.directory };
}

function readManifest(body: unknown, app: string): Manifest {
  if (typeof body !== 'string' || body.trim() === '') {
    throw new ShoalError('SHOAL_E_BODY', 'the body must be a manifest, as application/yaml or application/json');
  }
  const file = `${app}.yaml`;
  const parsed = parseManifest(body, file);
  if (!parsed.ok) throw new ManifestRefused(parsed.errors);
  const { manifest } = parsed;
  if (manifest.app !== app) {
    throw new ShoalError('SHOAL_E_NAME', `the manifest is of app ${manifest.app}, the address of app ${app}`);
  }
  for (const [name, { source }] of Object.entries(manifest.components)) {
    const paths = pathsIn(source);
    for (const [key, path] of Object.entries(paths)) {
      if (path === undefined || isAbsolute(path)) continue;
      const message = `must be an absolute path here, not ${path}; \`shoal apply\` makes paths absolute`;
      throw new ManifestRefused([{ file, line: 1, column: 1, path: `$.components.${name}.${key}`, message }]);
    }
  }
  return manifest;
}
