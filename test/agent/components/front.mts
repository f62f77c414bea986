import { createServer } from 'node:http';
import { connect } from 'shoal/sdk';

/**
 * `GET /<component>/<handler>?key=…&value=…` makes the call and answers with its result in JSON, or the error and the time of
 * day at which it came; with `&keep` it answers at once, and `GET /kept` the results so far. `GET /` answers what this
 * instance knows of those that it may call.
 */
const app = await connect();
const kept: unknown[] = [];

async function call(component: string, handler: string, parameters: URLSearchParams): Promise<unknown> {
  const key = parameters.get('key');
  try {
    return { answer: await app.call(component, handler, parameters.get('value'), key === null ? {} : { key }) };
  } catch (error) {
    const { code, message } = error as { code?: string; message: string };
    return { code, message, atMs: performance.timeOrigin + performance.now() };
  }
}

async function answer({ pathname, searchParams }: URL): Promise<unknown> {
  const [, component = '', handler = ''] = pathname.split('/');
  if (component === '') return app.peers();
  if (component === 'kept') return kept;
  const result = call(component, handler, searchParams);
  if (!searchParams.has('keep')) return result;
  void result.then((each) => kept.push(each));
  return {};
}

const server = createServer((request, response) => {
  void answer(new URL(request.url ?? '/', 'http://inside')).then((result) => response.end(JSON.stringify(result)));
});
await app.listen('http', server);
await app.ready();
