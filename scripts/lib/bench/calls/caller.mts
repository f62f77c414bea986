/** The caller of scripts/lib/bench/fabric-calls.ts: `GET /KIND?trips=N` measures round trips of 64 bytes to the callee. */
import { createServer } from 'node:http';
import { Socket } from 'node:net';
import { connect } from 'shoal/sdk';
import { openRing, takeSockets } from './sockets.mjs';

/** Of the checkout, seen from within the container. */
const UNDICI = '/node_modules/shoal/node_modules/undici/index.js';
const { Client } = (await import(UNDICI)) as typeof import('undici');

const BODY = Buffer.alloc(64, 1);
const WARM_UP = 3_000;

const app = await connect();
const echoes = new Map<string, () => Promise<unknown>>([['call', () => app.call('callee', 'echo', BODY)]]);
takeSockets((kind, fds) => {
  if (kind === 'ring') {
    echoes.set(kind, echoOverRing(fds));
    return;
  }
  const [fd = -1] = fds;
  const socket = new Socket({ fd });
  socket.setNoDelay(true);
  echoes.set(kind, kind === 'http' ? echoOverHttp(socket) : echoOver(socket));
});

function echoOver(socket: Socket): () => Promise<void> {
  let bytes = 0;
  let taken = () => {};
  socket.on('data', (chunk) => {
    bytes += chunk.length;
    if (bytes < BODY.length) return;
    bytes = 0;
    taken();
  });
  return () =>
    new Promise((resolve) => {
      taken = resolve;
      socket.write(BODY);
    });
}

function echoOverRing(fds: readonly number[]): () => Promise<void> {
  let taken = () => {};
  const link = openRing(fds, 0, () => taken());
  return () =>
    new Promise((resolve) => {
      taken = resolve;
      link.send(BODY);
    });
}

function echoOverHttp(socket: Socket): () => Promise<void> {
  // Between two measurements the others have their turn.
  const keepAliveTimeout = 600_000;
  const client = new Client('http://inside', { keepAliveTimeout, connect: (_options, done) => done(null, socket) });
  return async () => {
    const { body } = await client.request({ method: 'POST', path: '/', body: BODY });
    await body.arrayBuffer();
  };
}

/** Microseconds of each round trip. */
async function measure(kind: string, trips: number): Promise<number[]> {
  const echo = echoes.get(kind);
  if (echo === undefined) throw new Error(`no socket for ${kind} was handed in`);
  for (let i = 0; i < WARM_UP; i += 1) await echo();
  const took: number[] = [];
  for (let i = 0; i < trips; i += 1) {
    const began = performance.now();
    await echo();
    took.push((performance.now() - began) * 1_000);
  }
  return took;
}

const server = createServer((incoming, response) => {
  const { pathname, searchParams } = new URL(incoming.url ?? '/', 'http://inside');
  measure(pathname.slice(1), Number(searchParams.get('trips'))).then(
    (took) => response.end(JSON.stringify({ took, peers: app.peers() })),
    (error: unknown) => response.writeHead(500).end(String(error)),
  );
});
await app.listen('http', server);
await app.ready();
