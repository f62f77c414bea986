/**
 * Makes one end of a TCP connection, in the network namespace in which it runs, and hands it to who listens at a path:
 * `give-tcp.mjs PATH KIND listen|dial ADDRESS PORT`
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createConnection, createServer, type Socket } from 'node:net';
import { fileURLToPath } from 'node:url';
import { retry } from '../../until.js';

const GIVE = fileURLToPath(new URL('./give.mjs', import.meta.url));
const PATIENCE_MS = 20_000;

const [path = '', kind = '', way = '', host = '', port = ''] = process.argv.slice(2);

async function accepted(): Promise<Socket> {
  const server = createServer({ pauseOnConnect: true }).listen(Number(port), host);
  const [socket] = (await once(server, 'connection', { signal: AbortSignal.timeout(PATIENCE_MS) })) as [Socket];
  server.close();
  return socket;
}

/** Again until the other end listens. */
async function dialled(): Promise<Socket> {
  return retry('the other end listens', PATIENCE_MS, async () => {
    const socket = createConnection({ host, port: Number(port) });
    await once(socket, 'connect');
    return socket;
  });
}

const socket = await (way === 'listen' ? accepted() : dialled());
// Node hands its sockets to children only.
const child = spawn(process.execPath, [GIVE, path, kind], { stdio: ['ignore', 'inherit', 'inherit', socket] });
const [code] = (await once(child, 'exit')) as [number | null];
socket.destroy();
process.exitCode = code ?? 1;
