import type { Socket } from 'node:net';
import { toShoalError } from '../protocol/errors.js';
import { encodeFrame, FrameReader } from '../protocol/frame.js';
import { LIMITS } from '../protocol/limits.js';
import { TokenBucket } from '../protocol/token-bucket.js';
import { cut, type HostMessage, parseHostMessage } from './host-messages.js';

/** An agent that lets so much wait is cut off before it fills this one's memory. */
const QUEUED_BYTES_MAX = 2 * LIMITS.frameBytesMax;

export interface HostLinkEvents {
  /** What it throws ends the connection. */
  message(message: HostMessage): void;
  closed(why: string): void;
}

/**
 * One connection with the agent of another host, whose word is taken for that host alone. It says at least once a second
 * that it is there; one that says too much is read more slowly, one that breaks the protocol is disconnected.
 */
export class HostLink {
  readonly #socket: Socket;
  readonly #events: HostLinkEvents;
  /** From the first word on. */
  #alive: NodeJS.Timeout | undefined;
  readonly #rate = new TokenBucket(LIMITS.hostMessagesPerSecondMax, LIMITS.hostMessagesBurstMax);
  #paused: NodeJS.Timeout | undefined;
  readonly #reader = new FrameReader();
  readonly #reads = (chunk: Buffer) => {
    try {
      for (const message of this.#reader.push(chunk)) this.#take(message);
      this.#slowDown();
    } catch (error) {
      this.end(toShoalError(error).message);
    }
  };
  #why = 'the other agent closed the connection';
  #over = false;

  constructor(socket: Socket, events: HostLinkEvents) {
    this.#socket = socket.setNoDelay();
    this.#events = events;
    socket.on('data', this.#reads);
    socket.on('error', (error) => {
      this.#why = error.message;
    });
    socket.on('close', () => this.#close());
  }

  send(message: HostMessage): void {
    if (this.#over) return;
    this.#alive ??= setInterval(() => this.send({ type: 'alive' }), LIMITS.heartbeatMs);
    this.#socket.write(encodeFrame(message));
    if (this.#socket.writableLength > QUEUED_BYTES_MAX) this.end('it does not read');
  }

  /** Hands the socket over: it is not this link's from here on. */
  release(): Socket {
    this.#over = true;
    clearInterval(this.#alive);
    clearTimeout(this.#paused);
    return this.#socket.off('data', this.#reads);
  }

  /** Says why, to those who read, and hangs up. */
  end(why: string): void {
    if (this.#over) return;
    this.#why = why;
    this.#socket.end(encodeFrame({ type: 'goodbye', why: cut(why) } satisfies HostMessage));
    this.#socket.destroySoon();
    this.#close();
  }

  /** The network is gone: nobody reads. */
  destroy(why: string): void {
    this.#why = why;
    this.#socket.destroy();
    this.#close();
  }

  #take(value: unknown): void {
    if (this.#over) return;
    this.#rate.take(1);
    const message = parseHostMessage(value);
    if (message.type === 'goodbye') this.destroy(`the other agent says: ${message.why}`);
    else this.#events.message(message);
  }

  #slowDown(): void {
    const waitMs = this.#rate.debtMs();
    if (waitMs === 0 || this.#paused !== undefined || this.#over) return;
    this.#socket.pause();
    this.#paused = setTimeout(() => {
      this.#paused = undefined;
      this.#socket.resume();
    }, waitMs);
  }

  #close(): void {
    if (this.#over) return;
    this.#over = true;
    clearInterval(this.#alive);
    clearTimeout(this.#paused);
    this.#events.closed(this.#why);
  }
}
