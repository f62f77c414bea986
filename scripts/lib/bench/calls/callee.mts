/** The callee of scripts/lib/bench/fabric-calls.ts: answers calls, and echoes on sockets that the benchmark hands in. */
import { createServer } from 'node:http';
import { Socket } from 'node:net';
import { connect } from 'shoal/sdk';
import { openRing, takeSockets } from './sockets.mjs';

const app = await connect();
app.handle('echo', (body) => body);

const http = createServer((request, response) => {
  const parts: Buffer[] = [];
  request.on('data', (part: Buffer) => parts.push(part));
  request.on('end', () => response.end(Buffer.concat(parts)));
});
http.keepAliveTimeout = 0;

takeSockets((kind, fds) => {
  if (kind === 'ring') {
    openRing(fds, 1, (link, record) => link.send(record));
    return;
  }
  const [fd = -1] = fds;
  const socket = new Socket({ fd });
  socket.setNoDelay(true);
  if (kind === 'http') http.emit('connection', socket);
  else socket.on('data', (chunk) => socket.write(chunk));
});
await app.ready();
