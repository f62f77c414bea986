import type { FabricRequest, FabricResponse } from '../protocol/control.js';
import { isErrorCode, ShoalError } from '../protocol/errors.js';
import { LIMITS } from '../protocol/limits.js';
import type { Channel } from './carrier.js';
import type { Meter } from './meter.js';
import type { ShardStore } from './shard-store.js';

export interface CallContext {
  /** The key that the caller gave, if any. */
  key: string | undefined;
  /** State shards that the call works on: the key's, or those of a callShards. They stay here until it ends. */
  shards: readonly number[];
  /** Aborted when the caller gives up, its deadline passes or its connection is lost. */
  signal: AbortSignal;
  /** Milliseconds that the caller waits. */
  deadlineMs: number;
}

export type Handler = (body: unknown, context: CallContext) => unknown;

type Call = Extract<FabricRequest, { type: 'call' }>;

/** Serves the calls of other instances. */
export class CallServer {
  readonly #handlers = new Map<string, Handler>();
  readonly #store: ShardStore;
  readonly #meter: Meter;
  readonly #channels = new Set<Channel>();
  #draining = false;
  #idle: (() => void)[] = [];

  constructor(store: ShardStore, meter: Meter) {
    this.#store = store;
    this.#meter = meter;
  }

  handle(name: string, handler: Handler): void {
    if (this.#handlers.has(name)) throw new ShoalError('SHOAL_E_USAGE', `handler ${name} is registered twice`);
    this.#handlers.set(name, handler);
  }

  accept(channel: Channel): void {
    const running = new Map<number, AbortController>();
    this.#channels.add(channel);
    channel.onClose = () => {
      this.#channels.delete(channel);
      for (const controller of running.values()) controller.abort();
    };
    channel.onMessage = (message) => {
      const request = parseRequest(message);
      if (request.type === 'cancel') running.get(request.id)?.abort();
      else if (running.has(request.id)) throw new ShoalError('SHOAL_E_FRAME', `call id ${request.id} is in use`);
      else void this.#serve(channel, running, request);
    };
  }

  /** Refuses new calls and waits for those at work. */
  async drain(): Promise<void> {
    this.#draining = true;
    if (this.#meter.outstanding > 0) await new Promise<void>((resolve) => this.#idle.push(resolve));
  }

  close(): void {
    for (const channel of this.#channels) channel.close();
  }

  /** To be called when something that the meter counts has ended. */
  ended(): void {
    if (this.#meter.outstanding === 0) for (const wake of this.#idle.splice(0)) wake();
  }

  async #serve(channel: Channel, running: Map<number, AbortController>, call: Call): Promise<void> {
    const controller = new AbortController();
    const end = this.#meter.begin();
    let ok = false;
    let response: FabricResponse;
    running.set(call.id, controller);
    const timer = setTimeout(() => controller.abort(), call.deadlineMs);
    try {
      this.#assertAccepts(running.size);
      const body = await this.#run(call, controller.signal);
      response = { type: 'result', id: call.id, body, outstanding: running.size - 1 };
      ok = true;
    } catch (error) {
      const { code, detail } = describe(error);
      response = { type: 'error', id: call.id, code, detail, outstanding: running.size - 1 };
      // No failures: the caller asks the new owner of the state shard, or an instance that stays.
      ok = code === 'SHOAL_E_SHARD_MOVED' || code === 'SHOAL_E_NO_INSTANCE';
    }
    clearTimeout(timer);
    running.delete(call.id);
    end(ok);
    this.#reply(channel, response);
    this.ended();
  }

  #assertAccepts(running: number): void {
    if (this.#draining) throw new ShoalError('SHOAL_E_NO_INSTANCE', 'this instance is leaving');
    if (running <= LIMITS.callsOutstandingPerPeerMax) return;
    throw new ShoalError('SHOAL_E_OVERLOADED', `more than ${LIMITS.callsOutstandingPerPeerMax} calls of one caller`);
  }

  async #run({ handler: name, key, shards: given, deadlineMs, body }: Call, signal: AbortSignal): Promise<unknown> {
    const handler = this.#handlers.get(name);
    if (handler === undefined) {
      const known = [...this.#handlers.keys()].join(', ');
      throw new ShoalError('SHOAL_E_NO_HANDLER', `no handler ${name}; there are: ${known}`);
    }
    const shards = given ?? [];
    const leave = this.#store.enter(shards);
    try {
      return await handler(body, { key, shards, signal, deadlineMs });
    } finally {
      leave();
    }
  }

  #reply(channel: Channel, response: FabricResponse): void {
    try {
      channel.send(response);
    } catch (error) {
      // What the handler answered cannot be sent, being too large or no plain data.
      const { id, outstanding } = response;
      channel.send({ type: 'error', id, ...describe(error), outstanding } satisfies FabricResponse);
    }
  }
}

function describe(error: unknown): { code: string; detail: string } {
  if (error instanceof ShoalError) return { code: error.code, detail: error.message };
  return { code: 'SHOAL_E_HANDLER', detail: error instanceof Error ? error.message : String(error) };
}

function parseRequest(message: unknown): FabricRequest {
  const fail = (what: string) => new ShoalError('SHOAL_E_FRAME', `request: ${what}`);
  if (typeof message !== 'object' || message === null) throw fail('is not a map');
  const { type, id, handler, key, shards, deadlineMs, body } = message as Record<string, unknown>;
  if (typeof id !== 'number' || !Number.isSafeInteger(id)) throw fail('has no id');
  if (type === 'cancel') return { type, id };
  if (type !== 'call' || typeof handler !== 'string') throw fail('is neither call nor cancel');
  if (typeof deadlineMs !== 'number' || !(deadlineMs > 0) || deadlineMs > LIMITS.callDeadlineMsMax) {
    throw fail(`deadline of ${String(deadlineMs)} ms`);
  }
  if (key !== undefined && typeof key !== 'string') throw fail('key is no text');
  if (shards !== undefined && !areShards(shards)) throw fail('shards are no shard numbers');
  return {
    type,
    id,
    handler,
    deadlineMs,
    body,
    ...(key === undefined ? {} : { key }),
    ...(shards === undefined ? {} : { shards }),
  };
}

function areShards(value: unknown): value is number[] {
  if (!Array.isArray(value) || value.length > LIMITS.shardCount) return false;
  return value.every((shard) => Number.isInteger(shard) && shard >= 0 && shard < LIMITS.shardCount);
}

/** The response when it has the right shape; throws SHOAL_E_FRAME otherwise. */
export function parseResponse(message: unknown): FabricResponse {
  const fail = (what: string) => new ShoalError('SHOAL_E_FRAME', `response: ${what}`);
  if (typeof message !== 'object' || message === null) throw fail('is not a map');
  const { type, id, body, code, detail, outstanding } = message as Record<string, unknown>;
  if (typeof id !== 'number' || typeof outstanding !== 'number') throw fail('has no id');
  if (type === 'result') return { type, id, body, outstanding };
  if (type !== 'error' || !isErrorCode(code) || typeof detail !== 'string') throw fail('is neither result nor error');
  return { type, id, code, detail, outstanding };
}
