import { connect, type Socket } from 'node:net';
import type { FromInstance, InstanceStats, KnownCopy, Route, ToInstance } from '../protocol/control.js';
import { toShoalError } from '../protocol/errors.js';
import { encodeFrame, FrameReader } from '../protocol/frame.js';
import { LIMITS } from '../protocol/limits.js';
import type { Identity } from './app.js';
import { parseToInstance } from './control-parse.js';
import { Redial } from './redial.js';
import type { ShardStore } from './shard-store.js';
import type { Conversation } from './warm.js';

export interface ControlEvents {
  routes(routes: Record<string, Route>): void;
  drain(): void;
  /** Of copies that were wanted. */
  known(copies: readonly KnownCopy[]): void;
  /** Another connection than before. */
  greeted(): void;
}

/** A component that waits for an instance of another is told to the agent at most so often. */
const WANTED_MS = 1_000;

/** The connection to the agent of this host. The agent may come and go; serving does not depend on it. */
export class AgentConnection {
  readonly #path: string;
  readonly #identity: Pick<Identity, 'instance'>;
  readonly #store: ShardStore;
  readonly #stats: () => InstanceStats;
  readonly #events: ControlEvents;
  readonly #wantedMs = new Map<string, number>();
  #socket: Socket | undefined;
  readonly #redial = new Redial(() => this.#dial());
  #beat: NodeJS.Timeout | undefined;
  #ready = false;

  constructor(
    path: string,
    identity: Pick<Identity, 'instance'>,
    store: ShardStore,
    stats: () => InstanceStats,
    events: ControlEvents,
  ) {
    this.#path = path;
    this.#identity = identity;
    this.#store = store;
    this.#stats = stats;
    this.#events = events;
    store.onWait((shard, index) => this.#send({ type: 'shard-waits', shard, index }));
  }

  /** Goes on with the connection over which this process was told which instance it is, where there is one, else dials. */
  start(begun?: Conversation): void {
    this.#beat = setInterval(() => {
      this.#sendStats();
      // What was answered to who had a shard before is lost.
      this.#store.askAgain();
    }, LIMITS.heartbeatMs);
    if (begun === undefined || begun.socket.destroyed) {
      this.#dial();
      return;
    }
    const { socket, reader, early } = begun;
    this.#converse(socket, reader);
    this.#greet(socket);
    for (const message of early) this.#take(message);
    socket.resume();
  }

  get #hello(): FromInstance {
    const { held: shards, frozen } = this.#store;
    return { type: 'hello', instance: this.#identity.instance, shards, frozen };
  }

  /** Tells the agent, now and after each new connection, that this instance serves. */
  ready(): void {
    this.#ready = true;
    this.#send({ type: 'ready' });
  }

  wanted(component: string): void {
    const now = performance.now();
    if (now - (this.#wantedMs.get(component) ?? -WANTED_MS) < WANTED_MS) return;
    this.#wantedMs.set(component, now);
    this.#send({ type: 'wanted', component });
  }

  /** Entries of these state shards are read here, which others own. */
  readsCopies(shards: number[]): void {
    this.#send({ type: 'copies-wanted', shards });
  }

  close(): void {
    this.#redial.close();
    clearInterval(this.#beat);
    this.#socket?.end();
  }

  #dial(): void {
    const socket = connect(this.#path);
    this.#converse(socket, new FrameReader());
    socket.on('connect', () => this.#greet(socket));
  }

  #greet(socket: Socket): void {
    this.#socket = socket;
    // What is said at once goes out at once, also that it is ready where nothing else is waited for: each piece would wake the agent.
    socket.cork();
    process.nextTick(() => socket.uncork());
    this.#send(this.#hello);
    if (this.#ready) this.#send({ type: 'ready' });
    this.#sendStats();
    this.#store.askAgain();
    this.#events.greeted();
  }

  #converse(socket: Socket, reader: FrameReader): void {
    socket.on('data', (chunk: Buffer) => {
      try {
        for (const message of reader.push(chunk)) {
          if (socket.destroyed) return;
          this.#take(parseToInstance(message));
          this.#redial.heard();
        }
      } catch (error) {
        socket.destroy(toShoalError(error));
      }
    });
    // Why it broke does not matter here: it is dialled again, and the agent's log says more.
    socket.on('error', () => undefined);
    socket.on('close', () => {
      if (this.#socket === socket) this.#socket = undefined;
      this.#redial.later();
    });
  }

  #take(message: ToInstance): void {
    switch (message.type) {
      case 'routes':
        this.#events.routes(message.routes);
        break;
      case 'drain':
        this.#events.drain();
        break;
      case 'copies-known':
        this.#events.known(message.copies);
        break;
      case 'shard-held':
        this.#store.isHeld(message.shard, message.index, message.untilMs);
        break;
      case 'activate':
        // For who waits; this process is its instance already.
        break;
      default:
        void this.#handOver(message);
    }
  }

  async #handOver(message: Extract<ToInstance, { requestId: number }>): Promise<void> {
    const { type, shard, requestId } = message;
    try {
      if (type === 'shard-prepare') await this.#store.prepare(shard, message.epoch);
      else if (type === 'shard-own') await this.#store.own(shard, message.epoch, message.held);
      else if (type === 'shard-freeze') await this.#store.freeze(shard, message.to);
      else if (type === 'shard-drop') this.#store.drop(shard);
      else {
        const removed = await this.#store.takeIn(message);
        this.#send({ type: 'shard-done', requestId, shard, removed });
        return;
      }
      this.#send({ type: 'shard-done', requestId, shard });
    } catch (error) {
      const { code, message: why } = toShoalError(error);
      this.#send({ type: 'shard-done', requestId, shard, error: why.slice(0, 1_000), code });
    }
  }

  #sendStats(): void {
    // An agent that does not read gets no queue of old numbers.
    if (this.#socket?.writableNeedDrain) return;
    this.#send({ type: 'stats', stats: this.#stats() });
  }

  #send(message: FromInstance): void {
    this.#socket?.write(encodeFrame(message));
  }
}
