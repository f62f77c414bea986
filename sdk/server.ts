import type { FabricRequest, FabricResponse } from '../protocol/control.js';
import { ShoalError } from '../protocol/errors.js';
import { LIMITS } from '../protocol/limits.js';
import type { Channel } from './carrier.js';
import { parseRequest } from './fabric-parse.js';
import type { Counted, Meter } from './meter.js';
import type { ShardStore } from './shard-store.js';
import type { KeyedState, StateOptions } from './state.js';
import { StreamReader } from './stream-reader.js';
import { discard, isSource, type StreamSource, StreamWriter } from './stream-writer.js';
import { within } from './within.js';

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
  /**
   * Milliseconds that the caller still waits, now: to be passed on to calls that the handler makes. Undefined for a call
   * with a stream whose caller named none.
   */
  readonly deadlineMs: number | undefined;
  /** The items that the caller sends, to be read once; none when it gave no input. */
  readonly input: AsyncIterableIterator<unknown, undefined>;
}

export type OpenState = <Value = unknown>(name: string, options?: StateOptions) => KeyedState<Value>;

/** Answers plain data; or, called as a stream, a generator, a list, a Node or a Web stream. */
export type Handler = (body: unknown, context: CallContext) => unknown;

type Call = Extract<FabricRequest, { type: 'call' }>;

/** Callers have so long to hang up once they know that this instance leaves. */
const HANG_UP_MS_MAX = 500;

function cancelled(detail: string): ShoalError {
  return new ShoalError('SHOAL_E_CANCELLED', detail);
}

/** A call at work. What tells its handler to give up is made when the handler asks for it: most never do. */
class RunningCall {
  readonly #id: number;
  readonly #channel: Channel;
  readonly #deadline: number | undefined;
  readonly #input: boolean;
  #reader: StreamReader | undefined;
  /** Of an answer that is a stream. */
  writer: StreamWriter | undefined;
  #controller: AbortController | undefined;
  #timer: NodeJS.Timeout | undefined;
  #aborted = false;
  #answered = false;
  #reason = cancelled('the call has ended');

  constructor(channel: Channel, { id, deadlineMs, input, stream }: Call) {
    this.#id = id;
    this.#channel = channel;
    this.#deadline = deadlineMs === undefined ? undefined : performance.now() + deadlineMs;
    this.#input = input === true;
    if (stream !== undefined) {
      const send = (bytes: Uint8Array) => channel.send({ type: 'item', id, bytes } satisfies FabricResponse);
      this.writer = new StreamWriter({ send, untilRoom: () => channel.untilRoom() }, stream);
    }
  }

  get leftMs(): number | undefined {
    return this.#deadline === undefined ? undefined : Math.max(1, this.#deadline - performance.now());
  }

  get input(): StreamReader {
    if (this.#reader === undefined) {
      const id = this.#id;
      this.#reader = new StreamReader(0, {
        onCredit: (bytes) => this.#channel.send({ type: 'credit', id, bytes } satisfies FabricResponse),
        onStop: () => this.#channel.send({ type: 'stop', id } satisfies FabricResponse),
      });
      if (!this.#input) this.#reader.end();
      else if (this.#aborted || this.#answered) this.#reader.end(this.#reason);
    }
    return this.#reader;
  }

  /** What belongs to its streams. Throws SHOAL_E_FRAME when it cannot. */
  take(request: Exclude<FabricRequest, { type: 'call' | 'cancel' }>): void {
    if (request.type === 'item') this.input.take(request.bytes);
    else if (request.type === 'end') this.#reader?.end();
    else this.writer?.credited(request.bytes);
  }

  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.#aborted) this.#controller.abort();
      else if (!this.#answered) this.#setTimer();
    }
    return this.#controller.signal;
  }

  /** `reason`: what a handler finds that reads the input. */
  abort(reason: ShoalError): void {
    this.#aborted = true;
    this.#reason = reason;
    this.#controller?.abort();
    this.#reader?.end(reason);
    this.writer?.stop();
  }

  end(): void {
    this.#answered = true;
    clearTimeout(this.#timer);
    this.#reader?.end(this.#reason);
  }

  #setTimer(): void {
    const { leftMs } = this;
    if (leftMs === undefined) return;
    this.#timer = setTimeout(() => this.abort(cancelled('the deadline of the call has passed')), leftMs);
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
    channel.onClose = (why) => {
      this.#channels.delete(channel);
      const lost = new ShoalError('SHOAL_E_PEER_DIED', `the caller was lost during the call: ${why}`);
      for (const call of running.values()) call.abort(lost);
      if (this.#channels.size === 0) this.#allHungUp?.();
    };
    channel.onMessage = (message) => {
      const request = parseRequest(message, this.#store.settings?.shards);
      const call = running.get(request.id);
      if (request.type === 'cancel') call?.abort(cancelled('the caller has cancelled the call'));
      else if (request.type !== 'call') call?.take(request);
      else if (call !== undefined) throw new ShoalError('SHOAL_E_FRAME', `call id ${request.id} is in use`);
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
    const mine = new RunningCall(channel, call);
    running.set(id, mine);
    let outcome: Outcome;
    try {
      const context = this.#context(call, mine);
      const answer = await counted.turn(() => begun.handler(call.body, context));
      outcome = mine.writer === undefined ? whole(call, answer) : await inItems(call, answer, mine.writer, counted);
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
      get input() {
        return running.input;
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

function whole({ handler }: Call, answer: unknown): Outcome {
  if (typeof answer !== 'object' || answer === null || !(Symbol.asyncIterator in answer)) {
    return { type: 'result', body: answer };
  }
  void discard(answer as StreamSource);
  throw new ShoalError('SHOAL_E_NO_STREAM', `${handler} answers a stream: read it by \`stream\` in place of \`call\``);
}

async function inItems({ handler }: Call, answer: unknown, writer: StreamWriter, counted: Counted): Promise<Outcome> {
  if (!isSource(answer)) {
    throw new ShoalError('SHOAL_E_NO_STREAM', `${handler} answers no stream: use \`call\` in place of \`stream\``);
  }
  writer.onFirst = () => counted.answered();
  await writer.run(answer);
  return { type: 'result', body: null };
}

/** Bounds what a handler's error message can do to the frame. */
const DETAIL_LENGTH_MAX = 4_000;

function describe(error: unknown): { code: string; detail: string } {
  const code = error instanceof ShoalError ? error.code : 'SHOAL_E_HANDLER';
  const detail = error instanceof Error ? error.message : String(error);
  return { code, detail: detail.slice(0, DETAIL_LENGTH_MAX) };
}
