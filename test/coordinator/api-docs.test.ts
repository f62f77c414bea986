import { readFileSync } from 'node:fs';
import t from 'tap';
import { roleFor } from '../../coordinator/api/tokens.js';
import { CoordinatorRig } from './rig.js';

/** Answered by what listens, and not by what leads. */
const IN_FRONT = 'GET /v1/cluster';
/** What shows who asks there is no token of the API. */
const OPEN = ['GET /healthz', 'GET /v1/ca', 'POST /v1/hooks/:app/:component', 'POST /v1/join', 'POST /v1/renew'];

t.test('docs/api.md lists every route that the server has, with the role that it needs, and no other', async (t) => {
  const rig = await CoordinatorRig.make();
  t.teardown(() => rig.close());
  const { paths } = (await rig.api.inject('/v1/openapi.json')).json<{ paths: Record<string, object> }>();
  const served = Object.entries(paths).flatMap(([path, methods]) =>
    Object.keys(methods).map((method) => `${method.toUpperCase()} ${path.replaceAll(/\{(\w+)\}/g, ':$1')}`),
  );
  const roleOf = (route: string) => {
    const [method = '', path = ''] = route.split(' ');
    // As it is asked for: the names in it are any.
    return OPEN.includes(route) ? 'none' : roleFor(method, path.replaceAll(/:\w+/g, 'x'));
  };
  const page = readFileSync(new URL('../../../docs/api.md', import.meta.url), 'utf8');
  const written = [...page.matchAll(/^\| `([A-Z]+ \/\S*)` +\| (\w+) +\|/gm)].map(
    ([, route, role]) => `${route} ${role}`,
  );
  const expected = [IN_FRONT, ...served].map((route) => `${route} ${roleOf(route)}`);
  t.same(written.sort(), expected.sort());
});
