import { connect, type Socket } from 'node:net';

/** After a try that says nothing. */
const RETRY_MS = 500;

/**
 * Notices that the process of a leader is gone sooner than its lease ends: its kernel ends the connection that was open to
 * it, and refuses the next. One that never took a connection, or whose host says nothing any more, is waited for: that could
 * be the network between. To be wrong costs a change of leader, no more, since writes and agents are fenced.
 */
export class LeaderWatch {
  readonly #gone: () => void;
  readonly #at: { host: string; port: number };
  #socket: Socket | undefined;
  #retry: NodeJS.Timeout | undefined;
  #everConnected = false;
  #closed = false;

  /** `api`: the leader's address; `gone` is called at most once. */
  constructor(api: string, gone: () => void) {
    const { hostname, port, protocol } = new URL(api);
    const host = hostname.replace(/^\[(.*)\]$/, '$1');
    this.#at = { host, port: Number(port) || (protocol === 'https:' ? 443 : 80) };
    this.#gone = gone;
    this.#dial();
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#retry);
    this.#socket?.destroy();
  }

  #dial(): void {
    let connected = false;
    let refused = false;
    const socket = connect(this.#at);
    this.#socket = socket;
    socket.once('connect', () => {
      connected = true;
      this.#everConnected = true;
    });
    socket.once('error', (error: NodeJS.ErrnoException) => {
      refused = error.code === 'ECONNREFUSED';
    });
    // A server ends connections on which nothing is asked: then the next one is taken.
    socket.resume();
    socket.once('close', () => {
      if (this.#closed) return;
      if (connected) return this.#dial();
      if (refused && this.#everConnected) {
        this.close();
        return this.#gone();
      }
      this.#retry = setTimeout(() => this.#dial(), RETRY_MS);
    });
  }
}
