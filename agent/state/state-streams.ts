import { once } from 'node:events';
import type { Socket } from 'node:net';
import type { Logger } from 'pino';
import type { Identity } from '../../identity/identity.js';
import { ShoalError, toShoalError } from '../../protocol/errors.js';
import { encodeFrame } from '../../protocol/frame.js';
import { LIMITS } from '../../protocol/limits.js';
import { type FromState, readToState, type ToState, type WritePart } from '../../protocol/state-transfer.js';
import { type Attached, attach } from '../attach.js';
import { type Address, endIfRevoked } from '../coordinators.js';
import type { ShardImage } from './shard-image.js';

/** The state shards of a component, as far as this host owns them. */
export interface StateAccess {
  /** Rejects with SHOAL_E_SHARD_MOVED when another host owns the shard, now. */
  readShard(key: string, shard: number): Promise<ShardImage>;
  /** By the instance that owns the shard. Answers how many entries were removed. */
  writeShard(key: string, part: WritePart): Promise<number>;
}

export interface StateStreamsOptions {
  identity: Identity | null;
  log: Logger;
  state: StateAccess;
}

interface Asked {
  ticket: string;
  /** `app/component`. */
  key: string;
  /** Else it only reads. */
  writes: boolean;
}

/** Connections on which entries of state shards are read and written, each of its own to the coordinator. */
export class StateStreams {
  readonly #options: StateStreamsOptions;
  readonly #sockets = new Set<Socket>();

  constructor(options: StateStreamsOptions) {
    this.#options = options;
  }

  /** Resolves when it is attached, and rejects when that cannot be. */
  async open(address: Address, { ticket, key, writes }: Asked): Promise<void> {
    if (this.#sockets.size >= LIMITS.stateStreamsPerHostMax) {
      const many = `${LIMITS.stateStreamsPerHostMax} exports and imports go on here`;
      throw new ShoalError('SHOAL_E_OVERLOADED', `${many}; try again when one has ended`);
    }
    const attached = await attach(address, this.#options.identity, ticket, this.#sockets);
    // Until it is read below.
    attached.socket.pause();
    void this.#serve(attached, key, writes);
  }

  close(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  /** Ends what was asked for by coordinators whose certificate is revoked. */
  endRevoked(revoked: ReadonlySet<string>): void {
    for (const socket of this.#sockets) endIfRevoked(socket, revoked);
  }

  async #serve({ socket, reader, early }: Attached, key: string, writes: boolean): Promise<void> {
    const take = async (messages: readonly unknown[]) => {
      for (const message of messages) await this.#answer(socket, key, writes, readToState(message));
    };
    try {
      await take(early);
      for await (const chunk of socket) await take(reader.push(chunk as Buffer));
    } catch (error) {
      // Who hangs up in the middle has its reasons.
      if (!socket.destroyed) this.#options.log.warn({ err: error, key }, 'a connection of an export or import broke');
    } finally {
      socket.destroy();
    }
  }

  async #answer(socket: Socket, key: string, writes: boolean, request: ToState): Promise<void> {
    const { state } = this.#options;
    try {
      if (request.type === 'write') {
        if (!writes) throw new ShoalError('SHOAL_E_FRAME', 'this connection is there to read');
        await send(socket, { type: 'written', removed: await state.writeShard(key, request) });
        return;
      }
      const image = await state.readShard(key, request.shard);
      for (const records of image.parts()) await send(socket, { type: 'records', records });
      await send(socket, { type: 'read', entries: image.entries, last: image.last });
    } catch (error) {
      const { code, message: why } = toShoalError(error);
      await send(socket, { type: 'refused', code, why });
    }
  }
}

/** No faster than it is read. */
async function send(socket: Socket, message: FromState): Promise<void> {
  if (socket.destroyed) throw new ShoalError('SHOAL_E_UNREACHABLE', 'whoever asked has hung up');
  if (!socket.write(encodeFrame(message))) await Promise.race([once(socket, 'drain'), once(socket, 'close')]);
}
