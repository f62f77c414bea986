import { chmodSync, lstatSync, mkdirSync, rmSync } from 'node:fs';
import { connect, type Server } from 'node:net';
import { dirname } from 'node:path';
import { ShoalError } from '../protocol/errors.js';

/** Longest path of a Unix socket that Linux takes (sun_path with its final NUL). */
const SOCKET_PATH_BYTES_MAX = 107;

/**
 * Listens on a Unix socket that only this user can reach: folder 0700 when it is made here, socket 0600. A socket file
 * that a dead process left behind is removed; one that somebody answers on, or another kind of file, is an error.
 */
export async function listenPrivately(server: Server, path: string): Promise<void> {
  if (Buffer.byteLength(path) > SOCKET_PATH_BYTES_MAX) {
    throw new ShoalError('SHOAL_E_USAGE', `the socket path ${path} is longer than ${SOCKET_PATH_BYTES_MAX} bytes`);
  }
  try {
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    await removeStale(path);
    await listen(server, path);
    chmodSync(path, 0o600);
  } catch (cause) {
    if (cause instanceof ShoalError) throw cause;
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new ShoalError('SHOAL_E_HOST', `cannot listen on the socket ${path}: ${why}`, { cause });
  }
}

async function removeStale(path: string): Promise<void> {
  const found = lstatSync(path, { throwIfNoEntry: false });
  if (found === undefined) return;
  if (!found.isSocket()) {
    throw new ShoalError('SHOAL_E_CONFLICT', `${path} exists and is not a socket; remove it or choose another path`);
  }
  if (await isAnswered(path)) {
    throw new ShoalError('SHOAL_E_CONFLICT', `another coordinator answers on ${path}; stop it or choose another path`);
  }
  rmSync(path, { force: true });
}

function isAnswered(path: string): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const socket = connect(path);
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'ECONNREFUSED' || error.code === 'ENOENT') resolve(false);
      else reject(error);
    });
  });
}

function listen(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    // Between bind and chmod the socket has the mode that the umask leaves, so it leaves nothing to others.
    const umask = process.umask(0o177);
    try {
      server.listen(path, () => {
        server.off('error', reject);
        resolve();
      });
    } finally {
      process.umask(umask);
    }
  });
}
