import { createServer } from 'node:http';
import { connect } from 'shoal/sdk';

/**
 * `GET /<handler>?key=…&value=…&ms=…` calls the handler of the component `store`, and answers its result or error in JSON.
 * `ms`: how long it waits. With `keys=…` it asks any instance, by a call without a key.
 */
const app = await connect();

async function call(handler: string, parameters: URLSearchParams): Promise<unknown> {
  const key = parameters.get('key') ?? '';
  const deadlineMs = Number(parameters.get('ms') ?? 5_000);
  try {
    const keys = parameters.get('keys');
    if (keys !== null) return { answer: await app.call('store', handler, keys, { deadlineMs }) };
    return { answer: await app.call('store', handler, Number(parameters.get('value')), { key, deadlineMs }) };
  } catch (error) {
    const { code, message } = error as { code?: string; message: string };
    return { code, message };
  }
}

const server = createServer((request, response) => {
  const { pathname, searchParams } = new URL(request.url ?? '/', 'http://inside');
  void call(pathname.slice(1), searchParams).then((result) => response.end(JSON.stringify(result)));
});
await app.listen('http', server);
await app.ready();
