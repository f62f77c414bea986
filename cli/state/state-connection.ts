import type { Socket } from 'node:net';
import { ShoalError, toShoalError } from '../../protocol/errors.js';
import { encodeFrame, FrameReader } from '../../protocol/frame.js';
import {
  type FromState,
  readFromState,
  STATE_PROTOCOL,
  type ToState,
  type WritePart,
} from '../../protocol/state-transfer.js';
import { apiPath, type Client } from '../client.js';
import type { ComponentName } from '../session.js';

export interface StateTask extends ComponentName {
  task: 'export' | 'import';
}

/** What was read of a shard. */
export interface ShardRead {
  entries: number;
  last: number;
}

/** A connection to the agent of a host, on which it is asked for one thing after the other. */
export class StateConnection {
  readonly #socket: Socket;
  readonly #messages: AsyncGenerator<FromState>;

  private constructor(socket: Socket) {
    this.#socket = socket;
    this.#messages = messagesOf(socket);
  }

  /** Rejects with the coordinator's reason. */
  static async open(
    client: Client,
    { app, component, task }: StateTask,
    host: string,
    signal: AbortSignal,
  ): Promise<StateConnection> {
    const path = `${apiPath('apps', app, 'components', component, 'state')}?${new URLSearchParams({ host, task })}`;
    const socket = await client.upgrade('POST', path, STATE_PROTOCOL, { signal });
    const interrupt = () => socket.destroy(new ShoalError('SHOAL_E_CANCELLED', 'interrupted'));
    signal.addEventListener('abort', interrupt, { once: true });
    socket.once('close', () => signal.removeEventListener('abort', interrupt));
    if (signal.aborted) interrupt();
    return new StateConnection(socket);
  }

  /** Rejects with the agent's reason: what was taken so far is of no use then. */
  async read(shard: number, take: (records: Uint8Array) => Promise<void>): Promise<ShardRead> {
    this.#send({ type: 'read', shard });
    for (;;) {
      const answer = await this.#next();
      if (answer.type === 'records') await take(answer.records);
      else if (answer.type === 'read') return answer;
      else throw unexpected(answer);
    }
  }

  /** Answers how many entries were removed. Rejects with the reason of the agent or of the owner. */
  async write(part: WritePart): Promise<number> {
    this.#send({ type: 'write', ...part });
    const answer = await this.#next();
    if (answer.type === 'written') return answer.removed;
    throw unexpected(answer);
  }

  close(): void {
    this.#socket.destroy();
  }

  #send(message: ToState): void {
    this.#socket.write(encodeFrame(message));
  }

  async #next(): Promise<FromState> {
    const { value, done } = await this.#messages.next();
    if (done === true) throw new ShoalError('SHOAL_E_UNREACHABLE', 'the connection to the agent was closed');
    if (value.type === 'refused') throw new ShoalError(value.code, value.why);
    return value;
  }
}

async function* messagesOf(socket: Socket): AsyncGenerator<FromState> {
  const reader = new FrameReader();
  try {
    for await (const chunk of socket) yield* reader.push(chunk as Buffer).map(readFromState);
  } catch (error) {
    if (error instanceof ShoalError) throw error;
    const detail = `the connection to the agent broke: ${toShoalError(error).message}`;
    throw new ShoalError('SHOAL_E_UNREACHABLE', detail, { cause: error });
  }
}

function unexpected({ type }: FromState): ShoalError {
  return new ShoalError('SHOAL_E_FRAME', `the agent answered with ${type}, which was not asked for`);
}
