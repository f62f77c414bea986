import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import t, { type Test } from 'tap';
import { LeavingServer } from '../../sdk/leaving-server.js';

const REQUEST = 'GET / HTTP/1.1\r\nHost: x\r\n\r\n';

async function makeServer(t: Test): Promise<{ server: Server; leaving: LeavingServer; dial: () => Socket }> {
  const server = createServer((_request, response) => response.end('here'));
  const leaving = new LeavingServer(server);
  t.teardown(() => leaving.close());
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const { port } = server.address() as AddressInfo;
  return { server, leaving, dial: () => connect(port, '127.0.0.1') };
}

async function answerOf(socket: Socket): Promise<string> {
  let text = '';
  socket.on('data', (chunk: Buffer) => {
    text += chunk.toString();
  });
  socket.on('error', () => undefined);
  await new Promise<void>((resolve) => {
    socket.on('close', () => resolve());
    socket.on('data', () => text.endsWith('here') && resolve());
  });
  return text;
}

t.test(
  'a request that is sent after the server began to leave, on a connection from before, is answered',
  async (t) => {
    const { server, leaving, dial } = await makeServer(t);
    const socket = dial();
    await once(server, 'connection');
    const answer = answerOf(socket);
    const left = leaving.leave();
    socket.write(REQUEST);
    await left;
    t.match(await answer, /200 OK/);
  },
);

t.test('connections that wait to be accepted are', async (t) => {
  const { leaving, dial } = await makeServer(t);
  const sockets = Array.from({ length: 20 }, dial);
  const answers = sockets.map(answerOf);
  for (const socket of sockets) socket.write(REQUEST);
  await once(sockets.at(-1) as Socket, 'connect');
  await leaving.leave();
  for (const answer of await Promise.all(answers)) t.match(answer, /200 OK/);
});

t.test('who connects and asks nothing does not keep it, nor does a connection that was used', async (t) => {
  const { server, leaving, dial } = await makeServer(t);
  const used = dial();
  used.write(REQUEST);
  await answerOf(used);
  const silent = dial();
  await once(server, 'connection');
  const ends = [used, silent].map((socket) => once(socket, 'close'));
  for (const socket of [used, silent]) socket.resume();
  await leaving.leave();
  leaving.close();
  await Promise.all(ends);
  t.notOk(server.listening);
});
