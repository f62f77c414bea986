import type { FabricRequest, FabricResponse } from '../protocol/control.js';
import { isErrorCode, ShoalError } from '../protocol/errors.js';
import { LIMITS } from '../protocol/limits.js';
import { shardOfKey } from '../protocol/shard.js';
import type { Channel } from './carrier.js';
import type { Meter } from './meter.js';
import type { ShardStore } from './shard-store.js';
import type { KeyedState, StateOptions } from './state.js';

export interface CallContext {
  /** The key that the caller gave, if any. */
  key: string | undefined;
  /** State shards that the call works on: the key's, or those of a callShards. They stay here until it ends. */
  shards: readonly number[];
  /** The only one of `shards` when the call carries a key of a partitioned component. */
  shard: number | undefined;
  /** The same as `app.state`. */
  state: OpenState;
  /** Aborted when the caller gives up, its deadline passes or its connection is lost. */
  readonly signal: AbortSignal;
  /** Milliseconds that the caller still waits, now: to be passed on to calls that the handler makes. */
  readonly deadlineMs: number;
}

export type OpenState = <Value = unknown>(name: string, options?: StateOptions) => KeyedState<Value>;

export type Handler = (body: unknown, context: CallContext) => unknown;

type Call = Extract<FabricRequest, { type: 'call' }>;

/** Callers have so long to hang up once they know that this instance leaves. */
const HANG_UP_MS_MAX = 500;

/** A call at work. What tells its handler to give up is made when the handler asks for it: most never do. */
class RunningCall {
  readonly #deadline: number;
  #controller: AbortController | undefined;
  #timer: NodeJS.Timeout | undefined;
  #aborted = false;
  #answered = false;

  constructor(deadlineMs: number) {
    this.#deadline = performance.now() + deadlineMs;
  }

  get leftMs(): number {
    return Math.max(1, this.#deadline - performance.now());
  }

  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.#aborted) this.#controller.abort();
      else if (!this.#answered) this.#timer = setTimeout(() => this.abort(), this.leftMs);
    }
    return this.#controller.signal;
  }

  abort(): void {
    this.#aborted = true;
    this.#controller?.abort();
  }

  end(): void {
    this.#answered = true;
    clearTimeout(this.#timer);
  }
}

/** Serves the calls of other instances. */
export class CallServer {
  readonly #handlers = new Map<string, Handler>();
  readonly #store: ShardStore;
  readonly #state: OpenState;
  readonly #meter: Meter;
  readonly #channels = new Set<Channel>();
  #draining = false;
  #idle: (() => void)[] = [];
  #allHungUp: (() => void) | undefined;

  constructor(store: ShardStore, state: OpenState, meter: Meter) {
    this.#store = store;
    this.#state = state;
    this.#meter = meter;
  }

  handle(name: string, handler: Handler): void {
    if (this.#handlers.has(name)) throw new ShoalError('SHOAL_E_USAGE', `handler ${name} is registered twice`);
    this.#handlers.set(name, handler);
  }

  get handlers(): string[] {
    return [...this.#handlers.keys()];
  }

  accept(channel: Channel): void {
    if (this.#draining) channel.send({ type: 'leaving' } satisfies FabricResponse);
    const running = new Map<number, RunningCall>();
    this.#channels.add(channel);
    channel.onClose = () => {
      this.#channels.delete(channel);
      for (const call of running.values()) call.abort();
      if (this.#channels.size === 0) this.#allHungUp?.();
    };
    channel.onMessage = (message) => {
      const request = parseRequest(message, this.#store.settings?.shards);
      if (request.type === 'cancel') running.get(request.id)?.abort();
      else if (running.has(request.id)) throw new ShoalError('SHOAL_E_FRAME', `call id ${request.id} is in use`);
      else void this.#serve(channel, running, request);
    };
  }

  /** Refuses new calls and waits for those at work, and for callers to hang up, so that no call is lost on the way. */
  async drain(timeoutMs: number): Promise<void> {
    this.#draining = true;
    for (const channel of this.#channels) channel.send({ type: 'leaving' } satisfies FabricResponse);
    if (this.#meter.outstanding > 0) await within(timeoutMs, (done) => this.#idle.push(done));
    if (this.#channels.size === 0) return;
    await within(HANG_UP_MS_MAX, (done) => {
      this.#allHungUp = done;
    });
  }

  close(): void {
    for (const channel of this.#channels) channel.close();
  }

  /** To be called when something that the meter counts has ended. */
  ended(): void {
    if (this.#meter.outstanding === 0) for (const wake of this.#idle.splice(0)) wake();
  }

  async #serve(channel: Channel, running: Map<number, RunningCall>, call: Call): Promise<void> {
    const { id } = call;
    let begun: { handler: Handler; leave: () => void };
    try {
      begun = this.#begin(call, running.size);
    } catch (error) {
      // Not counted as demand: the caller asks the new owner of the state shard, or an instance that stays.
      channel.send({
        type: 'error',
        id,
        ...describe(error),
        outstanding: this.#meter.outstanding,
        refused: true,
      } satisfies FabricResponse);
      return;
    }
    const counted = this.#meter.begin(call.shards);
    const mine = new RunningCall(call.deadlineMs);
    running.set(id, mine);
    let outcome: Outcome;
    try {
      const context = this.#context(call, mine);
      outcome = { type: 'result', body: await counted.turn(() => begun.handler(call.body, context)) };
    } catch (error) {
      outcome = { type: 'error', ...describe(error) };
    }
    try {
      const settled = call.shards === undefined ? undefined : this.#store.settled(call.shards);
      if (settled !== undefined) await settled;
    } catch (error) {
      outcome = { type: 'error', ...describe(error) };
    }
    mine.end();
    begun.leave();
    running.delete(id);
    counted.end(outcome.type === 'result');
    this.#reply(channel, id, outcome);
    this.ended();
  }

  /** Throws when the call is not to be begun. */
  #begin({ handler: name, shards }: Call, running: number): { handler: Handler; leave: () => void } {
    if (this.#draining) throw new ShoalError('SHOAL_E_NO_INSTANCE', 'this instance is leaving');
    if (running >= LIMITS.callsOutstandingPerPeerMax) {
      throw new ShoalError('SHOAL_E_OVERLOADED', `${running} calls of one caller are at work`);
    }
    const handler = this.#handlers.get(name);
    if (handler === undefined) {
      throw new ShoalError('SHOAL_E_NO_HANDLER', `no handler ${name}; there are: ${this.handlers.join(', ')}`);
    }
    return { handler, leave: this.#store.enter(shards ?? []) };
  }

  #context({ key, shards = [] }: Call, running: RunningCall): CallContext {
    return {
      key,
      shards,
      shard: key === undefined ? undefined : shards[0],
      state: this.#state,
      get signal() {
        return running.signal;
      },
      get deadlineMs() {
        return running.leftMs;
      },
    };
  }

  #reply(channel: Channel, id: number, outcome: Outcome): void {
    const { outstanding } = this.#meter;
    try {
      channel.send({ ...outcome, id, outstanding } satisfies FabricResponse);
    } catch (error) {
      // What the handler answered cannot be sent, being too large or no plain data.
      channel.send({ type: 'error', id, ...describe(error), outstanding } satisfies FabricResponse);
    }
  }
}

type Outcome = { type: 'result'; body: unknown } | { type: 'error'; code: string; detail: string };

/** Waits until `begin`'s argument is called, but not longer than the time. */
function within(timeoutMs: number, begin: (done: () => void) => void): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, timeoutMs);
    begin(() => {
      clearTimeout(timer);
      resolve();
    });
  });
}

/** Bounds what a handler's error message can do to the frame. */
const DETAIL_LENGTH_MAX = 4_000;

function describe(error: unknown): { code: string; detail: string } {
  const code = error instanceof ShoalError ? error.code : 'SHOAL_E_HANDLER';
  const detail = error instanceof Error ? error.message : String(error);
  return { code, detail: detail.slice(0, DETAIL_LENGTH_MAX) };
}

/** `shardCount`: of this component; undefined when it has no state shards. */
function parseRequest(message: unknown, shardCount: number | undefined): FabricRequest {
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
  if (shards !== undefined && !areShards(shards, shardCount)) throw fail('shards are no shard numbers');
  if (key !== undefined && shards !== undefined) {
    const shard = shardCount === undefined ? undefined : shardOfKey(key, shardCount);
    if (shards.length !== 1 || shards[0] !== shard) throw fail('the shards are not those of the key');
  }
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

function areShards(value: unknown, count: number = LIMITS.shardCountMax): value is number[] {
  if (!Array.isArray(value) || value.length > count) return false;
  return value.every((shard) => Number.isInteger(shard) && shard >= 0 && shard < count);
}

/** The response when it has the right shape; throws SHOAL_E_FRAME otherwise. */
export function parseResponse(message: unknown): FabricResponse {
  const fail = (what: string) => new ShoalError('SHOAL_E_FRAME', `response: ${what}`);
  if (typeof message !== 'object' || message === null) throw fail('is not a map');
  const { type, id, body, code, detail, outstanding, refused } = message as Record<string, unknown>;
  if (type === 'leaving') return { type };
  if (typeof id !== 'number' || typeof outstanding !== 'number') throw fail('has no id');
  if (type === 'result') return { type, id, body, outstanding };
  if (type !== 'error' || !isErrorCode(code) || typeof detail !== 'string') throw fail('is neither result nor error');
  return { type, id, code, detail, outstanding, refused: refused === true };
}
