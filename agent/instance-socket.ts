import { chmod, chown, rm } from 'node:fs/promises';
import type { Server } from 'node:net';
import { withSocketPath } from '../protocol/socket-path.js';

/** Listens on a path of an instance's socket folder, on which only the instance's own user may dial. Throws system errors. */
export async function listenForInstance(server: Server, path: string, owner: number): Promise<void> {
  await rm(path, { force: true });
  await withSocketPath(path, (short) => {
    return new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(short, resolve);
    });
  });
  await chmod(path, 0o600);
  await chown(path, owner, owner);
}
