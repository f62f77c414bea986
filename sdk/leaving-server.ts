import type { Server } from 'node:http';
import type { Socket } from 'node:net';
import { within } from './within.js';

/** On a connection on which nothing was asked yet a request may be under way; it is waited for so long. */
const UNASKED_MS_MAX = 500;
/** After so many turns of the event loop that brought no connection none waits to be accepted. */
const QUIET_TURNS = 3;
/** More than a queue can hold. */
const TURNS_MAX = 1_000;

/** Lets an HTTP server leave without losing what its clients have sent, or are about to send, over connections that they have. */
export class LeavingServer {
  readonly #server: Server;
  /** Connections on which no request has come yet. */
  readonly #unasked = new Set<Socket>();
  #accepted = 0;
  #allAsked: (() => void) | undefined;

  constructor(server: Server) {
    this.#server = server;
    server.on('connection', (socket) => {
      this.#accepted += 1;
      this.#unasked.add(socket);
      socket.once('close', () => this.#asked(socket));
    });
    server.on('request', ({ socket }) => this.#asked(socket));
  }

  /** Takes what connected before, and no more; resolves when each connection has brought a request, or had time to. */
  async leave(): Promise<void> {
    // Closed at once, the socket would take with it whoever waits in its queue.
    for (let turns = 0, quiet = 0; quiet < QUIET_TURNS && turns < TURNS_MAX; turns += 1) {
      const before = this.#accepted;
      await new Promise((resolve) => setImmediate(resolve));
      quiet = this.#accepted === before ? quiet + 1 : 0;
    }
    this.#server.close();
    this.#server.closeIdleConnections();
    if (this.#unasked.size === 0) return;
    await within(UNASKED_MS_MAX, (done) => {
      this.#allAsked = done;
    });
  }

  close(): void {
    this.#server.close();
    this.#server.closeAllConnections();
  }

  #asked(socket: Socket): void {
    this.#unasked.delete(socket);
    if (this.#unasked.size === 0) this.#allAsked?.();
  }
}
