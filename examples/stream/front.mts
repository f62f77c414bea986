import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { connect } from 'shoal/sdk';

/** `GET /COUNT` answers so many lines, `PUT /` counts the lines of its body; neither is ever held in memory as a whole. */
const app = await connect();

async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
  if (request.method === 'PUT') {
    response.end(`${await app.call('lines', 'count', null, { input: request })}\n`);
    return;
  }
  // A client that reads slowly slows the component down, and one that leaves ends its generator.
  await pipeline(Readable.from(app.stream('lines', 'numbers', Number(request.url?.slice(1)))), response);
}

await app.listen(
  'http',
  createServer((request, response) => {
    serve(request, response).catch((error: Error) => {
      console.error(error.message);
      response.destroy();
    });
  }),
);
await app.ready();
