import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { connect } from 'shoal/sdk';

/** Flags that each instance has whole in its own memory: reading one asks nobody, setting one goes to their owner. */
const app = await connect();
const flags = app.state<string>('flags');

async function answer(method: string, url: string): Promise<{ status: number; body: unknown }> {
  const { pathname, searchParams } = new URL(url, 'http://inside');
  const name = decodeURIComponent(pathname.slice(1));
  if (name === '') return { status: 404, body: 'GET /NAME, PUT /NAME?to=VALUE or DELETE /NAME' };
  if (method === 'PUT') {
    const value = searchParams.get('to') ?? 'on';
    await flags.set(name, value);
    return { status: 200, body: value };
  }
  if (method === 'DELETE') return { status: 200, body: await flags.delete(name) };
  const value = await flags.get(name);
  return { status: value === undefined ? 404 : 200, body: { value: value ?? null, by: app.identity.instance } };
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
