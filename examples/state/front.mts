import { randomUUID } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { connect } from 'shoal/sdk';

/** HTTP in front of the three: each call carries a key, and so goes to the instance that keeps the entry. */
const app = await connect();

interface Answer {
  status: number;
  body: unknown;
}

async function answer(method: string, path: string): Promise<Answer> {
  const [what = '', name = ''] = path.split('/').slice(1).map(decodeURIComponent);
  const key = name;
  switch (`${method} ${what}`) {
    case 'POST count':
      return { status: 200, body: await app.call('counter', 'add', 1, { key }) };
    case 'GET count': {
      if (key !== '') return { status: 200, body: await app.call('counter', 'get', null, { key }) };
      const sums = (await app.callShards('counter', 'sum', null)) as number[];
      return { status: 200, body: sums.reduce((sum, each) => sum + each, 0) };
    }
    case 'POST session': {
      const id = randomUUID();
      await app.call('sessions', 'begin', name, { key: id });
      return { status: 201, body: id };
    }
    case 'GET session': {
      const session = await app.call('sessions', 'touch', null, { key });
      return { status: session === null ? 401 : 200, body: session };
    }
    case 'DELETE session':
      return { status: 200, body: await app.call('sessions', 'end', null, { key }) };
    case 'GET limited':
      return (await app.call('limiter', 'take', null, { key }))
        ? { status: 200, body: 'welcome' }
        : { status: 429, body: 'too often' };
    default:
      return { status: 404, body: 'POST or GET /count/NAME, /session/USER or ID, GET /limited/CLIENT' };
  }
}

async function serve({ method = 'GET', url = '/' }: IncomingMessage, response: ServerResponse): Promise<void> {
  const { status, body } = await answer(method, url).catch((error: Error) => ({ status: 503, body: error.message }));
  response.writeHead(status).end(`${JSON.stringify(body)}\n`);
}

await app.listen(
  'http',
  createServer((request, response) => void serve(request, response)),
);
await app.ready();
