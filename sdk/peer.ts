import type { FabricRequest, FabricResponse } from '../protocol/control.js';
import { type ErrorCode, ShoalError } from '../protocol/errors.js';
import { LIMITS } from '../protocol/limits.js';
import type { Carrier, Channel, PeerAddress } from './carrier.js';
import { parseResponse } from './server.js';

/** The call was certainly not begun by the callee, so that it may go elsewhere. */
export class NotSent extends ShoalError {}

/** The call was not begun since the callee has enough to do. */
export class Overloaded extends ShoalError {
  constructor(detail: string) {
    super('SHOAL_E_OVERLOADED', detail);
  }
}

interface Pending {
  resolve(body: unknown): void;
  reject(error: ShoalError): void;
}

export interface OutgoingCall {
  handler: string;
  body: unknown;
  key?: string;
  shards?: number[];
  deadlineMs: number;
  signal: AbortSignal | undefined;
}

/** One callee instance: its channel, dialled when first needed, and the calls under way there. */
export class Peer {
  readonly #carrier: Carrier;
  readonly #address: PeerAddress;
  #channel: Promise<Channel> | undefined;
  readonly #pending = new Map<number, Pending>();
  #dialling = 0;
  #nextId = 1;
  /** The callee has said that it leaves: what is new goes elsewhere. */
  #leaving = false;

  constructor(carrier: Carrier, address: PeerAddress) {
    this.#carrier = carrier;
    this.#address = address;
  }

  /** Calls of ours that it has not answered. */
  get outstanding(): number {
    return this.#pending.size + this.#dialling;
  }

  async call(call: OutgoingCall): Promise<unknown> {
    const { instance } = this.#address;
    if (this.outstanding >= LIMITS.callsOutstandingPerPeerMax) {
      throw new Overloaded(`${instance} has ${this.outstanding} calls of this instance to answer`);
    }
    this.#dialling += 1;
    let channel: Channel;
    try {
      channel = await this.#open();
    } catch (cause) {
      throw new NotSent('SHOAL_E_PEER_DIED', `${instance} cannot be reached: ${(cause as Error).message}`, { cause });
    } finally {
      this.#dialling -= 1;
    }
    if (this.#leaving) throw new NotSent('SHOAL_E_NO_INSTANCE', `${instance} is leaving`);
    if (channel.queuedBytes > LIMITS.frameBytesMax) {
      throw new Overloaded(`${instance} has ${channel.queuedBytes} bytes of calls to take`);
    }
    return this.#exchange(channel, call);
  }

  close(): void {
    // A dial that fails was reported to its callers.
    this.#channel?.then((channel) => channel.close('closed by this instance')).catch(() => undefined);
  }

  #exchange(channel: Channel, { handler, body, key, shards, deadlineMs, signal }: OutgoingCall): Promise<unknown> {
    const id = this.#nextId++;
    const { component, instance } = this.#address;
    return new Promise((resolve, reject) => {
      const giveUp = (code: ErrorCode, detail: string) => {
        if (!this.#pending.has(id)) return;
        channel.send({ type: 'cancel', id } satisfies FabricRequest);
        settle();
        reject(new ShoalError(code, detail));
      };
      const timer = setTimeout(() => {
        giveUp(
          'SHOAL_E_DEADLINE',
          `${component}.${handler} on ${instance} did not answer within ${Math.round(deadlineMs)} ms`,
        );
      }, deadlineMs);
      const onAbort = () => giveUp('SHOAL_E_CANCELLED', `the call of ${component}.${handler} was cancelled`);
      const settle = () => {
        clearTimeout(timer);
        signal?.removeEventListener('abort', onAbort);
        this.#pending.delete(id);
        this.#hangUpIfLeft(channel);
      };
      this.#pending.set(id, {
        resolve: (answer) => {
          settle();
          resolve(answer);
        },
        reject: (error) => {
          settle();
          reject(error);
        },
      });
      if (signal?.aborted) return onAbort();
      signal?.addEventListener('abort', onAbort, { once: true });
      const optional = { ...(key === undefined ? {} : { key }), ...(shards === undefined ? {} : { shards }) };
      try {
        channel.send({ type: 'call', id, handler, deadlineMs, body, ...optional } satisfies FabricRequest);
      } catch (error) {
        this.#pending.get(id)?.reject(error as ShoalError);
      }
    });
  }

  #open(): Promise<Channel> {
    this.#channel ??= this.#dial();
    return this.#channel;
  }

  async #dial(): Promise<Channel> {
    try {
      const channel = await this.#carrier.dial(this.#address);
      this.#leaving = false;
      channel.onMessage = (message) => this.#take(channel, parseResponse(message));
      channel.onClose = (why) => this.#lost(why);
      return channel;
    } catch (error) {
      this.#channel = undefined;
      throw error;
    }
  }

  #take(channel: Channel, response: FabricResponse): void {
    if (response.type === 'leaving') {
      this.#leaving = true;
      this.#hangUpIfLeft(channel);
      return;
    }
    // Nobody waits for it any more when its deadline has passed.
    const pending = this.#pending.get(response.id);
    if (pending === undefined) return;
    if (response.type === 'result') pending.resolve(response.body);
    else pending.reject(remoteError(response));
  }

  #hangUpIfLeft(channel: Channel): void {
    if (this.#leaving && this.#pending.size === 0) channel.close(`${this.#address.instance} left`);
  }

  #lost(why: string): void {
    this.#channel = undefined;
    const error = new ShoalError('SHOAL_E_PEER_DIED', `${this.#address.instance} was lost during the call: ${why}`);
    for (const pending of [...this.#pending.values()]) pending.reject(error);
  }
}

/** Codes with which a callee refuses that another instance, or the same one a little later, may well serve. */
const ELSEWHERE: readonly string[] = ['SHOAL_E_SHARD_MOVED', 'SHOAL_E_NO_INSTANCE'] satisfies ErrorCode[];

/** What the callee did not begin may be sent again. The same code thrown by a handler may not: its work may be half done. */
function remoteError({ code, detail, refused }: Extract<FabricResponse, { type: 'error' }>): ShoalError {
  if (refused === true && code === 'SHOAL_E_OVERLOADED') return new Overloaded(detail);
  const again = refused === true && ELSEWHERE.includes(code);
  return again ? new NotSent(code as ErrorCode, detail) : new ShoalError(code as ErrorCode, detail);
}
