import type { FabricRequest, FabricResponse } from '../protocol/control.js';
import { ShoalError } from '../protocol/errors.js';
import { LIMITS } from '../protocol/limits.js';
import type { Channel } from './carrier.js';
import { parseRequest } from './fabric-parse.js';
import { type Counted, Meter } from './meter.js';
import { isOwnHandler } from './replicated/messages.js';
import type { ShardStore } from './shard-store.js';
import type { KeyedState, StateOptions } from './state.js';
import { StreamMemory } from './stream-memory.js';
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

interface Served {
  readonly handler: Handler;
  readonly meter: Meter;
  /** Of the SDK itself: for instances of the same component. */
  readonly isOwn: boolean;
}

const NO_SHARDS: readonly number[] = [];

/** A call that comes before its state shard waits for it so long; then its caller asks for new routes. */
const ARRIVAL_MS_MAX = 1_000;

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
  /** Why no more of the input comes: an error for each call would cost more than the call. */
  #reason: ShoalError | undefined;
  readonly counted: Counted;
  readonly #leave: () => void;
  readonly #memory: StreamMemory;

  /** `leave`: to be called when no more is done on its state shards. `memory`: of all streams of the caller. */
  constructor(
    channel: Channel,
    { id, deadlineMs, input, stream }: Call,
    counted: Counted,
    leave: () => void,
    memory: StreamMemory,
  ) {
    this.#id = id;
    this.#memory = memory;
    this.#channel = channel;
    this.counted = counted;
    this.#leave = leave;
    this.#deadline = deadlineMs === undefined ? undefined : counted.sinceMs + deadlineMs;
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
      const events = {
        onCredit: (bytes: number) => this.#channel.send({ type: 'credit', id, bytes } satisfies FabricResponse),
        onStop: () => this.#channel.send({ type: 'stop', id } satisfies FabricResponse),
      };
      this.#reader = new StreamReader(0, events, this.#memory);
      if (!this.#input) this.#reader.end();
      else if (this.#aborted || this.#answered) this.#reader.end(this.#whyNoInput());
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

  /** `ok`: it has answered what its caller asked for. */
  end(ok: boolean): void {
    this.#answered = true;
    clearTimeout(this.#timer);
    this.#reader?.close(this.#whyNoInput());
    this.#leave();
    this.counted.end(ok);
  }

  #whyNoInput(): ShoalError {
    this.#reason ??= cancelled('the call has ended');
    return this.#reason;
  }

  #setTimer(): void {
    const { leftMs } = this;
    if (leftMs === undefined) return;
    this.#timer = setTimeout(() => this.abort(cancelled('the deadline of the call has passed')), leftMs);
  }
}

/** What a handler is told of its call. */
class Context implements CallContext {
  readonly key: string | undefined;
  readonly shards: readonly number[];
  readonly shard: number | undefined;
  readonly state: OpenState;
  readonly #running: RunningCall;

  constructor({ key, shards }: Call, running: RunningCall, state: OpenState) {
    this.key = key;
    this.shards = shards ?? NO_SHARDS;
    this.shard = key === undefined ? undefined : this.shards[0];
    this.state = state;
    this.#running = running;
  }

  get signal(): AbortSignal {
    return this.#running.signal;
  }

  get deadlineMs(): number | undefined {
    return this.#running.leftMs;
  }

  get input(): StreamReader {
    return this.#running.input;
  }
}

/** Serves the calls of other instances. */
export class CallServer {
  readonly #handlers = new Map<string, Served>();
  readonly #store: ShardStore;
  readonly #state: OpenState;
  readonly #meter: Meter;
  /** Of what is no demand. */
  readonly #unmetered = new Meter();
  readonly #channels = new Set<Channel>();
  /** Serves nothing but handlers of the SDK itself, as long as this instance is not ready. */
  ownOnly = false;
  #draining = false;
  #idle: (() => void)[] = [];
  #allHungUp: (() => void) | undefined;

  constructor(store: ShardStore, state: OpenState, meter: Meter) {
    this.#store = store;
    this.#state = state;
    this.#meter = meter;
  }

  /** `isMetered` false: its calls are no demand, have no latency that matters, and nobody waits for them before leaving. */
  handle(name: string, handler: Handler, isMetered = true): void {
    if (this.#handlers.has(name)) throw new ShoalError('SHOAL_E_USAGE', `handler ${name} is registered twice`);
    this.#handlers.set(name, {
      handler,
      meter: isMetered ? this.#meter : this.#unmetered,
      isOwn: isOwnHandler(name),
    });
  }

  /** Those that a component has registered. */
  get handlers(): string[] {
    return [...this.#handlers].filter(([, { isOwn }]) => !isOwn).map(([name]) => name);
  }

  accept(channel: Channel): void {
    if (this.#draining) channel.send({ type: 'leaving' } satisfies FabricResponse);
    const running = new Map<number, RunningCall>();
    /** Calls whose state shard is to come. */
    const early = new Set<number>();
    const memory = new StreamMemory();
    this.#channels.add(channel);
    channel.onClose = (why) => {
      this.#channels.delete(channel);
      early.clear();
      const lost = new ShoalError('SHOAL_E_PEER_DIED', `the caller was lost during the call: ${why}`);
      for (const call of running.values()) call.abort(lost);
      if (this.#channels.size === 0) this.#allHungUp?.();
    };
    channel.onMessage = (message) => {
      const request = parseRequest(message, this.#store.settings?.shards);
      const call = running.get(request.id);
      if (request.type === 'cancel') {
        early.delete(request.id);
        call?.abort(cancelled('the caller has cancelled the call'));
      } else if (request.type !== 'call') call?.take(request);
      else if (call !== undefined || early.has(request.id))
        throw new ShoalError('SHOAL_E_FRAME', `call id ${request.id} is in use`);
      else if (!this.#comesEarly(request, early, (later) => this.#serve(channel, running, later, memory)))
        this.#serve(channel, running, request, memory);
    };
  }

  /** Whether the call waits for its state shard, which whoever had it before says is to come here. */
  #comesEarly(call: Call, early: Set<number>, serve: (call: Call) => void): boolean {
    const { id, shards, deadlineMs = ARRIVAL_MS_MAX } = call;
    if (call.moved !== true || this.#draining || early.size >= LIMITS.callsOutstandingPerPeerMax) return false;
    const sinceMs = performance.now();
    const arrival = this.#store.arrival(shards ?? [], Math.min(deadlineMs, ARRIVAL_MS_MAX));
    if (arrival === undefined) return false;
    early.add(id);
    void arrival.then(() => {
      if (!early.delete(id)) return;
      const leftMs = Math.max(1, deadlineMs - (performance.now() - sinceMs));
      serve(call.deadlineMs === undefined ? call : { ...call, deadlineMs: leftMs });
    });
    return true;
  }

  /** Refuses new calls and waits for those at work, and for callers to hang up, so that no call is lost on the way. */
  async drain(timeoutMs: number): Promise<void> {
    this.#draining = true;
    this.#store.awaitNone();
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

  #serve(channel: Channel, running: Map<number, RunningCall>, call: Call, memory: StreamMemory): void {
    const { id } = call;
    let begun: { served: Served; leave: () => void };
    try {
      begun = this.#begin(call, running.size, channel.isOwn === true);
    } catch (error) {
      const [shard] = call.shards ?? [];
      const owner = shard === undefined ? undefined : this.#store.nextOwner(shard);
      // Not counted as demand: the caller asks the new owner of the state shard, or an instance that stays.
      channel.send({
        type: 'error',
        id,
        ...describe(error),
        outstanding: this.#meter.outstanding,
        refused: true,
        ...(owner === undefined ? {} : { owner }),
      } satisfies FabricResponse);
      return;
    }
    const mine = new RunningCall(channel, call, begun.served.meter.begin(call.shards), begun.leave, memory);
    running.set(id, mine);
    const end = (outcome: Outcome) => {
      running.delete(id);
      mine.end(outcome.type === 'result');
      this.#reply(channel, id, outcome);
      this.ended();
    };
    const context = new Context(call, mine, this.#state);
    let answer: unknown;
    try {
      answer = mine.counted.turn(() => begun.served.handler(call.body, context));
    } catch (error) {
      answer = Promise.reject(error);
    }
    // Most answer at once, and a promise would take as long as all the rest.
    const atOnce = isWhole(answer) && mine.writer === undefined && call.shards === undefined;
    if (atOnce) end({ type: 'result', body: answer });
    else void this.#await(call, mine, answer).then(end);
  }

  async #await(call: Call, { writer, counted }: RunningCall, answer: unknown): Promise<Outcome> {
    let outcome: Outcome;
    try {
      const answered = await answer;
      outcome = writer === undefined ? whole(call, answered) : await inItems(call, answered, writer, counted);
    } catch (error) {
      outcome = { type: 'error', ...describe(error) };
    }
    try {
      const settled = call.shards === undefined ? undefined : this.#store.settled(call.shards);
      if (settled !== undefined) await settled;
    } catch (error) {
      outcome = { type: 'error', ...describe(error) };
    }
    return outcome;
  }

  /** Throws when the call is not to be begun. */
  #begin({ handler: name, shards }: Call, running: number, isOwn: boolean): { served: Served; leave: () => void } {
    if (this.#draining) throw new ShoalError('SHOAL_E_NO_INSTANCE', 'this instance is leaving');
    if (running >= LIMITS.callsOutstandingPerPeerMax) {
      throw new ShoalError('SHOAL_E_OVERLOADED', `${running} calls of one caller are at work`);
    }
    const served = this.#handlers.get(name);
    if (this.ownOnly && served?.isOwn !== true) {
      throw new ShoalError('SHOAL_E_NO_INSTANCE', 'this instance is not ready');
    }
    if (served?.isOwn === true && !isOwn) {
      throw new ShoalError('SHOAL_E_NOT_GRANTED', `${name} is for instances of this component alone`);
    }
    if (served === undefined) {
      throw new ShoalError('SHOAL_E_NO_HANDLER', `no handler ${name}; there are: ${this.handlers.join(', ')}`);
    }
    return { served, leave: this.#store.enter(shards ?? []) };
  }

  #reply(channel: Channel, id: number, outcome: Outcome): void {
    const { outstanding } = this.#meter;
    try {
      if (outcome.type === 'result')
        channel.send({ type: 'result', id, body: outcome.body, outstanding } satisfies FabricResponse);
      else channel.send({ ...outcome, id, outstanding } satisfies FabricResponse);
    } catch (error) {
      // What the handler answered cannot be sent, being too large or no plain data.
      channel.send({ type: 'error', id, ...describe(error), outstanding } satisfies FabricResponse);
    }
  }
}

type Outcome = { type: 'result'; body: unknown } | { type: 'error'; code: string; detail: string };

/** Whether it is the answer, and neither a promise of one nor a stream. */
function isWhole(answer: unknown): boolean {
  if (typeof answer !== 'object') return typeof answer !== 'function';
  return answer === null || !('then' in answer || Symbol.asyncIterator in answer);
}

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
