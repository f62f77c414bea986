import type { FabricRequest, FabricResponse } from '../protocol/control.js';
import { type ErrorCode, ShoalError } from '../protocol/errors.js';
import { LIMITS } from '../protocol/limits.js';
import type { AnswerStream } from './answer-stream.js';
import type { Carrier, CarrierKind, Channel, PeerAddress } from './carrier.js';
import type { Deadlines, Expiring } from './deadlines.js';
import { parseResponse } from './fabric-parse.js';
import { type StreamSource, StreamWriter } from './stream-writer.js';

/** The call was certainly not begun by the callee, so that it may go elsewhere. */
export class NotSent extends ShoalError {
  /** The instance that has its state shard next, as the callee says. */
  owner: string | undefined;
}

/** The call was not begun since the callee has enough to do. */
export class Overloaded extends ShoalError {
  constructor(detail: string) {
    super('SHOAL_E_OVERLOADED', detail);
  }
}

/** Times are of performance.now(). */
export interface OutgoingCall {
  readonly handler: string;
  readonly body: unknown;
  readonly key: string | undefined;
  /** Those that it is to work on, as the routes say when it is sent. */
  shards: number[] | undefined;
  /** Who had them before has said where they are. */
  moved: boolean;
  readonly sinceMs: number;
  readonly untilMs: number;
  /** Of a call with a stream: it may take as long as it does once an instance is found. */
  readonly endless: boolean;
  readonly signal: AbortSignal | undefined;
  /** Reads the answer, which is to be a stream. */
  readonly answer: AnswerStream | undefined;
  readonly input: StreamSource | undefined;
}

/** Tries elsewhere what was not begun. */
export type Again = (error: NotSent | Overloaded) => Promise<unknown>;

/** What calls to an instance go over, and why not over a ring when they do not. */
export interface Way {
  carrier: CarrierKind;
  why?: string;
}

type CallRequest = Extract<FabricRequest, { type: 'call' }>;
/** Of the streams of a call. */
type FromCallee = Extract<FabricResponse, { type: 'item' | 'credit' | 'stop' }>;

/** A channel that could be a ring but is none is dialled anew after so long. */
const IMPROVE_MS = 5_000;

/** A channel and the calls under way there. */
class Line {
  readonly pending = new Map<number, CallUnderWay>();
  readonly sinceMs = performance.now();
  /** New calls go elsewhere. */
  leaving = false;

  constructor(readonly channel: Channel) {}

  leave(): void {
    this.leaving = true;
    this.hangUpIfIdle();
  }

  hangUpIfIdle(): void {
    if (this.leaving && this.pending.size === 0) this.channel.close('all calls are answered');
  }
}

/** A call from its beginning until it has its answer or is given up, also while its channel is being dialled. */
class CallUnderWay implements Expiring {
  readonly #peer: Peer;
  readonly #call: OutgoingCall;
  readonly #onAbort: (() => void) | undefined;
  readonly #resolve: (body: unknown) => void;
  readonly #reject: (error: Error) => void;
  readonly #again: Again | undefined;
  #line: Line | undefined;
  #id = 0;
  #settled = false;
  #writer: StreamWriter | undefined;

  constructor(
    peer: Peer,
    call: OutgoingCall,
    resolve: (body: unknown) => void,
    reject: (error: Error) => void,
    again: Again | undefined,
  ) {
    this.#peer = peer;
    this.#call = call;
    this.#resolve = resolve;
    this.#reject = reject;
    this.#again = again;
    if (!call.endless) peer.deadlines.add(this);
    if (call.signal !== undefined) {
      this.#onAbort = () => this.#giveUp('SHOAL_E_CANCELLED', `the call of ${this.#where} was cancelled`);
      call.signal.addEventListener('abort', this.#onAbort, { once: true });
      if (call.signal.aborted) this.#onAbort();
    }
  }

  get deadlineMs(): number {
    return this.#call.untilMs;
  }

  expire(): void {
    const { sinceMs, untilMs } = this.#call;
    this.#giveUp('SHOAL_E_DEADLINE', `${this.#where} did not answer within ${Math.round(untilMs - sinceMs)} ms`);
  }

  get #where(): string {
    const { component, instance } = this.#peer.address;
    return `${component}.${this.#call.handler} on ${instance}`;
  }

  send(line: Line, id: number): void {
    if (this.#settled) return;
    const { handler, body, key, shards, moved, untilMs, endless, answer, input } = this.#call;
    this.#line = line;
    this.#id = id;
    line.pending.set(id, this);
    if (answer !== undefined) answer.onCredit = (bytes) => this.#credit(bytes);
    const request: CallRequest = { type: 'call', id, handler, body };
    if (!endless) request.deadlineMs = Math.max(1, untilMs - performance.now());
    if (key !== undefined) request.key = key;
    if (shards !== undefined) request.shards = shards;
    if (moved) request.moved = true;
    if (answer !== undefined) request.stream = LIMITS.streamWindowBytes;
    if (input !== undefined) request.input = true;
    try {
      line.channel.send(request);
    } catch (error) {
      this.reject(error as ShoalError);
    }
  }

  /** What belongs to a stream of the call. Throws SHOAL_E_FRAME when it cannot. */
  take(response: FromCallee): void {
    if (response.type === 'item') this.#call.answer?.reader.take(response.bytes);
    else if (response.type === 'stop') this.#writer?.stop();
    else if (this.#writer !== undefined) this.#writer.credited(response.bytes);
    else if (this.#call.input !== undefined && this.#line !== undefined) {
      this.#writer = this.#inputWriter(this.#line.channel);
      this.#writer.credited(response.bytes);
      void this.#sendInput(this.#call.input, this.#writer, this.#line);
    }
  }

  #inputWriter(channel: Channel): StreamWriter {
    const id = this.#id;
    const send = (bytes: Uint8Array) => channel.send({ type: 'item', id, bytes } satisfies FabricRequest);
    return new StreamWriter({ send, untilRoom: () => channel.untilRoom() }, 0);
  }

  /** Whether the callee has begun it, as far as is known. */
  get begun(): boolean {
    return this.#writer !== undefined || this.#call.answer?.reader.begun === true;
  }

  /** Tells the callee of what the reader of the answer has read. */
  #credit(bytes: number): void {
    this.#line?.channel.send({ type: 'credit', id: this.#id, bytes } satisfies FabricRequest);
  }

  /** Begins when the handler asks for the first item: a call that was refused has taken nothing of the input. */
  async #sendInput(input: StreamSource, writer: StreamWriter, { channel }: Line): Promise<void> {
    const id = this.#id;
    try {
      await writer.run(input);
      if (!this.#settled) channel.send({ type: 'end', id } satisfies FabricRequest);
    } catch (error) {
      if (!this.#settled) channel.send({ type: 'cancel', id } satisfies FabricRequest);
      this.reject(error as Error);
    }
  }

  resolve(body: unknown): void {
    if (this.#settle()) this.#resolve(body);
  }

  /** Of an input, any error that it throws. */
  reject(error: Error): void {
    if (!this.#settle()) return;
    const refused = error instanceof NotSent || error instanceof Overloaded;
    if (refused && this.#again !== undefined) this.#resolve(this.#again(error));
    else this.#reject(error);
  }

  #giveUp(code: ErrorCode, detail: string): void {
    if (this.#settled) return;
    this.#line?.channel.send({ type: 'cancel', id: this.#id } satisfies FabricRequest);
    this.reject(new ShoalError(code, detail));
  }

  /** Whether it was not yet. */
  #settle(): boolean {
    if (this.#settled) return false;
    this.#settled = true;
    if (!this.#call.endless) this.#peer.deadlines.delete(this);
    this.#writer?.stop();
    if (this.#onAbort !== undefined) this.#call.signal?.removeEventListener('abort', this.#onAbort);
    this.#line?.pending.delete(this.#id);
    this.#line?.hangUpIfIdle();
    this.#peer.ended();
    return true;
  }
}

/** One callee instance: its channel, dialled when first needed, and the calls under way there. */
export class Peer {
  readonly address: PeerAddress;
  readonly deadlines: Deadlines;
  readonly #carrier: Carrier;
  #line: Line | undefined;
  #dialling: Promise<Line> | undefined;
  #improving = false;
  #outstanding = 0;
  #nextId = 1;
  #closed = false;

  constructor(carrier: Carrier, address: PeerAddress, deadlines: Deadlines) {
    this.#carrier = carrier;
    this.address = address;
    this.deadlines = deadlines;
  }

  /** Calls of ours that it has not answered. */
  get outstanding(): number {
    return this.#outstanding;
  }

  /** Undefined while there is no channel. */
  get way(): Way | undefined {
    if (this.#line === undefined) return undefined;
    const { kind: carrier, whyNoRing: why } = this.#line.channel;
    return why === undefined ? { carrier } : { carrier, why };
  }

  /** `again`: what to do with a call that was not begun; else it is rejected. */
  call(call: OutgoingCall, again?: Again): Promise<unknown> {
    return new Promise((resolve, reject) => {
      this.#outstanding += 1;
      const underWay = new CallUnderWay(this, call, resolve, reject, again);
      if (this.#outstanding > LIMITS.callsOutstandingPerPeerMax) {
        const others = this.#outstanding - 1;
        underWay.reject(new Overloaded(`${this.address.instance} has ${others} calls of this instance to answer`));
      } else if (this.#line === undefined) void this.#dialAndSend(underWay);
      else this.#send(this.#line, underWay);
    });
  }

  /** A call of ours has been answered or given up. */
  ended(): void {
    this.#outstanding -= 1;
  }

  close(): void {
    this.#closed = true;
    this.#line?.channel.close('closed by this instance');
  }

  #send(line: Line, call: CallUnderWay): void {
    const { instance } = this.address;
    if (line.leaving) {
      call.reject(new NotSent('SHOAL_E_NO_INSTANCE', `${instance} is leaving`));
    } else if (line.channel.queuedBytes > LIMITS.frameBytesMax) {
      call.reject(new Overloaded(`${instance} has ${line.channel.queuedBytes} bytes of calls to take`));
    } else {
      call.send(line, this.#nextId++);
      if (line.channel.whyNoRing !== undefined) void this.#improve(line);
    }
  }

  async #dialAndSend(call: CallUnderWay): Promise<void> {
    const { instance } = this.address;
    this.#dialling ??= this.#dial();
    try {
      this.#send(await this.#dialling, call);
    } catch (cause) {
      const detail = `${instance} cannot be reached: ${(cause as Error).message}`;
      call.reject(new NotSent('SHOAL_E_PEER_DIED', detail, { cause }));
    }
  }

  async #dial(): Promise<Line> {
    try {
      const line = this.#open(await this.#carrier.dial(this.address));
      this.#use(line);
      return line;
    } finally {
      this.#dialling = undefined;
    }
  }

  /** Has new calls go over a ring as soon as there can be one; those under way end where they are. */
  async #improve(line: Line): Promise<void> {
    if (this.#improving || !line.channel.mayImprove || performance.now() - line.sinceMs < IMPROVE_MS) return;
    this.#improving = true;
    try {
      const channel = await this.#carrier.dial(this.address);
      if (this.#line === line && !this.#closed) {
        if (this.#use(this.#open(channel))) line.leave();
      } else {
        channel.close('not needed any more');
      }
    } catch {
      // The channel that is there goes on; the next call after a while tries again.
    } finally {
      this.#improving = false;
    }
  }

  /** False: it was lost again before it could be used. */
  #use(line: Line): boolean {
    if (!line.leaving) this.#line = line;
    return !line.leaving;
  }

  #open(channel: Channel): Line {
    const line = new Line(channel);
    channel.onMessage = (message) => this.#take(line, parseResponse(message));
    channel.onClose = (why) => this.#lost(line, why);
    if (this.#closed) channel.close('closed by this instance');
    return line;
  }

  #take(line: Line, response: FabricResponse): void {
    if (response.type === 'leaving') {
      line.leave();
      return;
    }
    // Nobody waits for it any more when its deadline has passed.
    const call = line.pending.get(response.id);
    if (call === undefined) return;
    if (response.type === 'result') call.resolve(response.body);
    else if (response.type === 'error') call.reject(remoteError(response, call.begun));
    else call.take(response);
  }

  #lost(line: Line, why: string): void {
    line.leaving = true;
    if (this.#line === line) this.#line = undefined;
    const error = new ShoalError('SHOAL_E_PEER_DIED', `${this.address.instance} was lost during the call: ${why}`);
    for (const call of [...line.pending.values()]) call.reject(error);
  }
}

/** Codes with which a callee refuses that another instance, or the same one a little later, may well serve. */
const ELSEWHERE: readonly string[] = ['SHOAL_E_SHARD_MOVED', 'SHOAL_E_NO_INSTANCE'] satisfies ErrorCode[];

/** What the callee did not begin may be sent again. The same code thrown by a handler may not: its work may be half done. */
function remoteError(response: Extract<FabricResponse, { type: 'error' }>, begun: boolean): ShoalError {
  const { code, detail } = response;
  const refused = response.refused === true && !begun;
  if (refused && code === 'SHOAL_E_OVERLOADED') return new Overloaded(detail);
  if (!refused || !ELSEWHERE.includes(code)) return new ShoalError(code as ErrorCode, detail);
  const error = new NotSent(code as ErrorCode, detail);
  error.owner = response.owner;
  return error;
}
