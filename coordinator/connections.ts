import type { Server, Socket } from 'node:net';

export interface ConnectionCaps {
  all: number;
  /** Of one address, so that nobody keeps the others out. Connections by a Unix socket count together as none. */
  perAddress: number;
}

/**
 * Bounds how many connections a server has. `refused` is called for each one over the bound of its address, which is ended
 * before anything is read. Returns a function that ends all that are open, those in the middle of a handshake too: a
 * server closes when its last connection does.
 */
export function capConnections(server: Server, caps: ConnectionCaps, refused: (address: string) => void): () => void {
  const open = new Map<Socket, string>();
  const counts = new Map<string, number>();
  server.maxConnections = caps.all;
  server.on('connection', (socket) => {
    const address = socket.remoteAddress ?? '';
    const count = (counts.get(address) ?? 0) + 1;
    if (address !== '' && count > caps.perAddress) {
      socket.destroy();
      refused(address);
      return;
    }
    counts.set(address, count);
    open.set(socket, address);
    socket.once('close', () => {
      open.delete(socket);
      const left = (counts.get(address) ?? 1) - 1;
      if (left > 0) counts.set(address, left);
      else counts.delete(address);
    });
  });
  return () => {
    for (const socket of open.keys()) socket.destroy();
  };
}
