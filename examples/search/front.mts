import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { connect } from 'shoal/sdk';

/** `PUT /documents/PATH` adds a text, `GET /search?q=WORDS` counts the documents that hold all the words. */
const app = await connect();
const BODY_BYTES_MAX = 1024 * 1024;
const sum = (parts: unknown[]) => (parts as number[]).reduce((total, part) => total + part, 0);

async function answer(request: IncomingMessage): Promise<unknown> {
  const url = new URL(request.url ?? '/', 'http://search');
  if (request.method === 'PUT' && url.pathname.startsWith('/documents/')) {
    const words = await app.call('tokenizer', 'words', await readBody(request));
    await app.call('index', 'add', words, { key: decodeURIComponent(url.pathname.slice('/documents'.length)) });
    return { added: true };
  }
  if (request.method === 'GET' && url.pathname === '/search') {
    const words = await app.call('tokenizer', 'words', url.searchParams.get('q') ?? '');
    return { documents: sum(await app.callShards('index', 'count', words)) };
  }
  if (request.method === 'GET' && url.pathname === '/size') {
    return { documents: sum(await app.callShards('index', 'size', null)) };
  }
  return null;
}

async function readBody(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > BODY_BYTES_MAX) throw new Error(`a document may have at most ${BODY_BYTES_MAX} bytes`);
    chunks.push(chunk);
  }
  // One character for each byte: the tokenizer looks at ASCII alone, as grep does in the C locale.
  return Buffer.concat(chunks).toString('latin1');
}

function serve(request: IncomingMessage, response: ServerResponse): void {
  answer(request).then(
    (result) => {
      response.statusCode = result === null ? 404 : 200;
      response.setHeader('content-type', 'application/json');
      response.end(JSON.stringify(result ?? { error: 'no such page' }));
    },
    (error: Error) => {
      response.statusCode = 503;
      response.end(JSON.stringify({ error: error.message }));
    },
  );
}

await app.listen('http', createServer(serve));
await app.ready();
