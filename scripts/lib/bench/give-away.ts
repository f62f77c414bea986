import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync } from 'node:fs';
import type { Socket } from 'node:net';
import { fileURLToPath } from 'node:url';

const GIVE = fileURLToPath(new URL('./calls/give.mjs', import.meta.url));

/**
 * Hands a connected socket, or open descriptors, to who takes sockets at the path (calls/sockets.mts). By a process of its own, since Node hands its
 * sockets to children only.
 */
export async function giveAway(path: string, kind: string, given: readonly (Socket | number)[]): Promise<void> {
  const words = [GIVE, path, kind, String(given.length)];
  const child = spawn(process.execPath, words, { stdio: ['ignore', 'inherit', 'inherit', ...given] });
  const [code] = (await once(child, 'exit')) as [number | null];
  for (const each of given) {
    if (typeof each === 'number') closeSync(each);
    else each.destroy();
  }
  if (code !== 0) throw new Error(`${kind} could not be handed to ${path}`);
}
