import { spawn } from 'node:child_process';
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { fileURLToPath } from 'node:url';

const GIVE = fileURLToPath(new URL('./calls/give.mjs', import.meta.url));

/**
 * Hands a connected socket to who takes sockets at the path (calls/sockets.mts). By a process of its own, since Node hands its
 * sockets to children only.
 */
export async function giveAway(path: string, kind: string, socket: Socket): Promise<void> {
  const child = spawn(process.execPath, [GIVE, path, kind], { stdio: ['ignore', 'inherit', 'inherit', socket] });
  const [code] = (await once(child, 'exit')) as [number | null];
  socket.destroy();
  if (code !== 0) throw new Error(`a socket could not be handed to ${path}`);
}
