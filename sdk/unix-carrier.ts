import { chmod, rm } from 'node:fs/promises';
import { createConnection, createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { ShoalError, toShoalError } from '../protocol/errors.js';
import { encodeFrame, FrameReader } from '../protocol/frame.js';
import { LIMITS } from '../protocol/limits.js';
import { withSocketPath } from '../protocol/socket-path.js';
import type { Carrier, Channel, Listener, PeerAddress } from './carrier.js';
import { Room } from './room.js';

/** Everybody who sees the socket may dial: who sees it is decided by the agent, which links it. */
const SOCKET_MODE = 0o666;
/** A caller that lets so many bytes of answers wait is not read from until it has taken them: one largest message. */
const QUEUED_BYTES_MAX = LIMITS.frameBytesMax;

/** Messages as frames (protocol/frame.ts) over Unix stream sockets. */
export class UnixCarrier implements Carrier {
  readonly #path: string;
  readonly #peersFolder: string;
  readonly #ownPath: string | undefined;
  #servers: Server[] | undefined;
  #accept: ((channel: Channel) => void) | undefined;

  /**
   * `path`: where this instance listens. `peersFolder`: holds `<component>/<instance>.sock` of those it may call. `ownPath`: where
   * it listens for its own component alone, if it does.
   */
  constructor(path: string, peersFolder: string, ownPath?: string) {
    this.#path = path;
    this.#ownPath = ownPath;
    this.#peersFolder = peersFolder;
  }

  /** Opens the sockets ahead of listen(): it takes file operations, which a warm process need not do when it is in haste. */
  async prepare(): Promise<Server[]> {
    if (this.#servers === undefined) {
      this.#servers = [await this.#open(this.#path, false)];
      if (this.#ownPath !== undefined) this.#servers.push(await this.#open(this.#ownPath, true));
    }
    return this.#servers;
  }

  async listen(accept: (channel: Channel) => void): Promise<Listener> {
    const servers = await this.prepare();
    this.#accept = accept;
    return {
      async close() {
        // Its callback would wait for open channels; accepting ends at once.
        for (const server of servers) server.close();
      },
    };
  }

  async #open(path: string, isOwn: boolean): Promise<Server> {
    const server = createServer((socket) => {
      if (this.#accept === undefined) socket.destroy();
      else this.#accept(new UnixChannel(socket, true, isOwn));
    });
    await listenOnPath(server, path);
    return server;
  }

  async dial({ component, instance }: PeerAddress): Promise<Channel> {
    const path = join(this.#peersFolder, component, `${instance}.sock`);
    return new UnixChannel(await withSocketPath(path, connectTo), false, false);
  }
}

class UnixChannel implements Channel {
  readonly kind = 'unix';
  readonly isOwn: boolean;
  whyNoRing?: string;
  mayImprove?: boolean;
  readonly #socket: Socket;
  readonly #accepted: boolean;
  readonly #reader = new FrameReader();
  readonly #room = new Room();
  #closedWhy: string | undefined;
  #why = 'the other side closed the connection';
  #onClose: (why: string) => void = () => {};
  onMessage: (message: unknown) => void = () => {
    throw new ShoalError('SHOAL_E_INTERNAL', 'a message came before anybody took messages');
  };

  constructor(socket: Socket, accepted: boolean, isOwn: boolean) {
    this.isOwn = isOwn;
    this.#socket = socket;
    this.#accepted = accepted;
    socket.on('data', (chunk: Buffer) => this.#read(chunk));
    socket.on('drain', () => {
      this.#room.open();
      socket.resume();
    });
    socket.on('error', (error) => {
      this.#why = error.message;
    });
    socket.on('close', () => {
      this.#closedWhy = this.#why;
      this.#room.open();
      this.#onClose(this.#why);
    });
  }

  get queuedBytes(): number {
    return this.#socket.writableLength;
  }

  untilRoom(): Promise<void> | undefined {
    return this.#room.until(this.#socket.destroyed ? 0 : this.queuedBytes);
  }

  /** A channel may be lost before its owner has come to set this; it is told then. */
  set onClose(action: (why: string) => void) {
    this.#onClose = action;
    if (this.#closedWhy !== undefined) action(this.#closedWhy);
  }

  get onClose(): (why: string) => void {
    return this.#onClose;
  }

  send(message: unknown): void {
    const frame = encodeFrame(message);
    if (this.#socket.destroyed) return;
    this.#socket.write(frame);
    // Only the callee waits: if the caller did too, both could wait for each other.
    if (this.#accepted && this.#socket.writableLength > QUEUED_BYTES_MAX) this.#socket.pause();
  }

  close(why = 'closed by this instance'): void {
    this.#why = why;
    this.#socket.destroySoon();
  }

  #read(chunk: Buffer): void {
    try {
      for (const message of this.#reader.push(chunk)) {
        if (this.#socket.destroyed) return;
        this.onMessage(message);
      }
    } catch (error) {
      this.#why = toShoalError(error).message;
      this.#socket.destroy();
    }
  }
}

/** Listens on a path of any length, in place of a stale socket, so that everybody who sees the file may dial. */
export async function listenOnPath(server: Server, path: string): Promise<void> {
  await rm(path, { force: true });
  await withSocketPath(path, (short) => {
    return new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(short, () => {
        server.removeListener('error', reject);
        resolve();
      });
    });
  });
  await chmod(path, SOCKET_MODE);
}

function connectTo(path: string): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = createConnection({ path });
    socket.once('error', reject);
    socket.once('connect', () => {
      socket.removeListener('error', reject);
      resolve(socket);
    });
  });
}
