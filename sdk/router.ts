import { pickNearer, type Random } from '../protocol/balancer.js';
import type { CalleeChannels, Route } from '../protocol/control.js';
import { ShoalError } from '../protocol/errors.js';
import { LIMITS } from '../protocol/limits.js';
import { shardOfKey } from '../protocol/shard.js';
import { AnswerStream } from './answer-stream.js';
import type { Carrier } from './carrier.js';
import { Deadlines } from './deadlines.js';
import { type Again, NotSent, type OutgoingCall, Overloaded, Peer, type Way } from './peer.js';
import { isOwnHandler } from './replicated/messages.js';
import { discard, isSource, type StreamSource } from './stream-writer.js';

export interface CallOptions {
  /** For partitioned components: the call goes to the owner of the key's state shard. */
  key?: string;
  /**
   * Milliseconds until the call fails with SHOAL_E_DEADLINE; 5000 unless told. A call with a stream may take as long as it
   * does unless told; only until an instance is found it waits no longer than 5000.
   */
  deadlineMs?: number | undefined;
  signal?: AbortSignal;
  /** Items for the handler to read: a generator, a list, a Node or a Web stream. It is ended when the call is. */
  input?: StreamSource;
}

/** A refused call is tried again when the routes change, and at the latest after this. */
const RETRY_MS = 20;
/** So often in a row a call follows whom it was sent to, before it waits for new routes. */
const SENT_ON_MAX = 3;

const WHY_LENGTH_MAX = 300;

/** An instance that may be called. */
interface Candidate {
  id: string;
  weight: number;
}

/** A component that may be called, or could be: its channels outlive its route until all is answered. */
class Callee {
  /** Undefined: it may not be called any more. */
  route: Route | undefined;
  near: readonly Candidate[] = [];
  far: readonly Candidate[] = [];
  readonly peers = new Map<string, Peer>();
  /** Calls that the component made, since the process began. */
  called = 0;

  constructor(readonly component: string) {}

  update(route: Route | undefined): void {
    this.route = route;
    const { instances = [], weights, near = instances.length } = route ?? {};
    const candidates = instances.map((id, index): Candidate => ({ id, weight: weights?.[index] ?? 1 }));
    this.near = candidates.slice(0, near);
    this.far = candidates.slice(near);
  }

  /** Closes channels that are of no use any more; one that leaves still answers what it has. */
  forget(): void {
    const known = new Set<string | null>([...(this.route?.instances ?? []), ...(this.route?.owners ?? [])]);
    for (const [id, peer] of this.peers) {
      if (known.has(id) || peer.outstanding > 0) continue;
      peer.close();
      this.peers.delete(id);
    }
  }

  outstanding(id: string): number {
    return this.peers.get(id)?.outstanding ?? 0;
  }

  /** The least loaded of those that have not refused. */
  choose(refused: ReadonlySet<string> | undefined, random: Random): string | null {
    const [only] = this.near;
    if (refused === undefined && this.near.length === 1 && this.far.length === 0) return only?.id ?? null;
    const left = (all: readonly Candidate[]) => (refused?.size ? all.filter(({ id }) => !refused.has(id)) : all);
    const outstanding = ({ id }: Candidate) => this.outstanding(id);
    return pickNearer(left(this.near), left(this.far), outstanding, random)?.id ?? null;
  }
}

/** Finds for each call the instance that shall serve it, and another one when that cannot. */
export class Router {
  readonly #carrier: Carrier;
  readonly #random: Random;
  /** Tells the agent that somebody waits for an instance of the component. */
  readonly #wanted: (component: string) => void;
  #routes: ReadonlyMap<string, Route> | null = null;
  readonly #callees = new Map<string, Callee>();
  readonly #deadlines = new Deadlines();
  readonly #waiting = new Set<() => void>();

  constructor(carrier: Carrier, random: Random, wanted: (component: string) => void) {
    this.#carrier = carrier;
    this.#random = random;
    this.#wanted = wanted;
  }

  /** Routes as the agent last told; null before it did. */
  get routes(): ReadonlyMap<string, Route> | null {
    return this.#routes;
  }

  update(routes: Record<string, Route>): void {
    this.#routes = new Map(Object.entries(routes));
    for (const component of this.#routes.keys()) {
      if (!this.#callees.has(component)) this.#callees.set(component, new Callee(component));
    }
    for (const callee of this.#callees.values()) {
      callee.update(this.#routes.get(callee.component));
      callee.forget();
    }
    for (const wake of [...this.#waiting]) wake();
  }

  call(component: string, handler: string, body: unknown, options: CallOptions): Promise<unknown> {
    if (options.input === undefined) return this.#call(component, handler, body, options);
    return this.#callWithInput(component, handler, body, options, options.input);
  }

  /** A call whose answer is a stream. */
  stream(component: string, handler: string, body: unknown, options: CallOptions): AnswerStream {
    return new AnswerStream((answer, signal) => {
      const { input } = options;
      const mine = { ...options, signal };
      if (input === undefined) return this.#call(component, handler, body, mine, answer);
      return this.#callWithInput(component, handler, body, mine, input, answer);
    }, options.signal);
  }

  async #callWithInput(
    component: string,
    handler: string,
    body: unknown,
    options: CallOptions,
    input: StreamSource,
    answer?: AnswerStream,
  ): Promise<unknown> {
    if (!isSource(input)) throw new ShoalError('SHOAL_E_USAGE', 'input must be a stream, a generator or a list');
    try {
      return await this.#call(component, handler, body, options, answer);
    } finally {
      void discard(input);
    }
  }

  /** Nearly all calls go where the first choice sends them, without more promises than the one that is answered. */
  #call(
    component: string,
    handler: string,
    body: unknown,
    options: CallOptions,
    answer?: AnswerStream,
  ): Promise<unknown> {
    try {
      const call = outgoing(handler, body, options, answer);
      const callee = this.#callee(component);
      const target = callee === null ? null : this.#choose(callee, call);
      if (callee === null || target === null) return this.#search(component, call);
      return this.#send(callee, target, call, (error) => this.#search(component, call, { target, error }));
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /** Tries one instance after the other until the deadline. `last`: one that has not begun the call, and why. */
  async #search(component: string, call: OutgoingCall, last?: Refusal): Promise<unknown> {
    const { key, untilMs, signal } = call;
    const refused = new Set<string>();
    let overloaded: ShoalError | undefined;
    let refusal = last;
    let sentOn = 0;
    for (;;) {
      const owner: string | undefined = sentOn < SENT_ON_MAX ? this.#ownerBy(component, call, refusal) : undefined;
      sentOn = owner === undefined ? 0 : sentOn + 1;
      call.moved = owner !== undefined;
      if (refusal !== undefined) {
        const { target, error } = refusal;
        if (error instanceof Overloaded) {
          if (key !== undefined) throw error;
          overloaded = error;
        } else if (key !== undefined && owner === undefined) await this.#wait(component, untilMs, signal, false, error);
        refused.add(target);
      }
      const callee = this.#callee(component);
      const target = callee === null ? null : (owner ?? this.#choose(callee, call, refused));
      if (callee === null || target === null) {
        if (overloaded !== undefined) throw overloaded;
        // All have refused: each may be asked again after a while.
        refused.clear();
        refusal = undefined;
        const none = callee === null || callee.route?.instances.length === 0;
        await this.#wait(component, untilMs, signal, none);
        continue;
      }
      try {
        return await this.#send(callee, target, call);
      } catch (error) {
        if (!(error instanceof NotSent || error instanceof Overloaded)) throw error;
        refusal = { target, error };
      }
    }
  }

  /** Who has the state shard next, by who had it; only one that may be called anyway is believed to. */
  #ownerBy(component: string, { key, untilMs, signal }: OutgoingCall, refusal?: Refusal): string | undefined {
    const error = refusal?.error;
    if (!(error instanceof NotSent) || error.owner === undefined || key === undefined) return undefined;
    if (signal?.aborted || performance.now() >= untilMs) return undefined;
    const { instances = [] } = this.#callees.get(component)?.route ?? {};
    return instances.includes(error.owner) ? error.owner : undefined;
  }

  /**
   * Calls every owner of state shards with the shards that it owns, so that each shard is worked on by exactly one call
   * that succeeds: an owner works on all that it was asked for or on none, and what it refused is asked of the next owner.
   */
  async callShards(component: string, handler: string, body: unknown, options: CallOptions): Promise<unknown[]> {
    if (options.input !== undefined) throw new ShoalError('SHOAL_E_USAGE', 'callShards takes no input');
    const call = outgoing(handler, body, options);
    const results: unknown[] = [];
    let remaining: number[] | undefined;
    for (;;) {
      const callee = this.#callee(component);
      if (callee === null) {
        await this.#wait(component, call.untilMs, options.signal, false);
        continue;
      }
      const owners = ownersOf(callee);
      const groups = groupByOwner(owners, remaining ?? [...owners.keys()]);
      const refused: number[] = groups.get(null) ?? [];
      let last: NotSent | undefined;
      await Promise.all(
        [...groups].map(async ([owner, shards]) => {
          if (owner === null) return;
          try {
            results.push(await this.#send(callee, owner, { ...call, shards }));
          } catch (error) {
            if (!(error instanceof NotSent)) throw error;
            last = error;
            refused.push(...shards);
          }
        }),
      );
      if (refused.length === 0) return results;
      remaining = refused;
      await this.#wait(component, call.untilMs, options.signal, callee.route?.instances.length === 0, last);
    }
  }

  /** Calls that this instance has sent, by the component called. */
  get called(): Record<string, number> {
    const called: Record<string, number> = {};
    for (const callee of this.#callees.values()) if (callee.called > 0) called[callee.component] = callee.called;
    return called;
  }

  /** What calls of this instance go over, by the component called. */
  get channels(): Record<string, CalleeChannels> {
    const channels: Record<string, CalleeChannels> = {};
    for (const { component, peers } of this.#callees.values()) {
      for (const { way } of peers.values()) {
        if (way === undefined) continue;
        channels[component] ??= { ring: 0, unix: 0 };
        channels[component][way.carrier] += 1;
        if (way.why !== undefined) channels[component].whyNoRing = way.why.slice(0, WHY_LENGTH_MAX);
      }
    }
    return channels;
  }

  /** Calls of this instance that the other has not answered. */
  outstanding(component: string, instance: string): number {
    return this.#callees.get(component)?.outstanding(instance) ?? 0;
  }

  /** What calls to the other go over; undefined while there is no channel. */
  way(component: string, instance: string): Way | undefined {
    return this.#callees.get(component)?.peers.get(instance)?.way;
  }

  close(): void {
    for (const { peers } of this.#callees.values()) for (const peer of peers.values()) peer.close();
  }

  /** Null before the agent told. Throws SHOAL_E_NOT_GRANTED. */
  #callee(component: string): Callee | null {
    if (this.#routes === null) return null;
    const callee = this.#callees.get(component);
    if (callee?.route !== undefined) return callee;
    throw new ShoalError('SHOAL_E_NOT_GRANTED', `add ${component} to this component's \`calls\` in the manifest`);
  }

  /** The instance that the call is to go to: of a key the owner of its shard. Null: there is none now. */
  #choose(callee: Callee, call: OutgoingCall, refused?: ReadonlySet<string>): string | null {
    const owners = callee.route?.owners;
    if (call.key === undefined || owners === undefined) {
      call.shards = undefined;
      return callee.choose(refused, this.#random);
    }
    const shard = shardOfKey(call.key, owners.length);
    call.shards = [shard];
    return owners[shard] ?? null;
  }

  #send(callee: Callee, instance: string, call: OutgoingCall, again?: Again): Promise<unknown> {
    if (!isOwnHandler(call.handler)) callee.called += 1;
    let peer = callee.peers.get(instance);
    if (peer === undefined) {
      peer = new Peer(this.#carrier, { component: callee.component, instance }, this.#deadlines);
      callee.peers.set(instance, peer);
    }
    return peer.call(call, again);
  }

  /** Waits for new routes or a moment. Throws when the deadline has passed or the caller has cancelled. */
  async #wait(
    component: string,
    deadline: number,
    signal: AbortSignal | undefined,
    none: boolean,
    cause?: ShoalError,
  ): Promise<void> {
    if (signal?.aborted) throw new ShoalError('SHOAL_E_CANCELLED', `the call of ${component} was cancelled`);
    if (performance.now() >= deadline) {
      throw (
        cause ?? new ShoalError('SHOAL_E_NO_INSTANCE', `${component} had no instance that serves until the deadline`)
      );
    }
    if (none) this.#wanted(component);
    await new Promise<void>((resolve) => {
      const wake = () => {
        clearTimeout(timer);
        this.#waiting.delete(wake);
        signal?.removeEventListener('abort', wake);
        resolve();
      };
      const timer = setTimeout(wake, Math.min(RETRY_MS, Math.max(1, deadline - performance.now())));
      signal?.addEventListener('abort', wake, { once: true });
      this.#waiting.add(wake);
    });
  }
}

function groupByOwner(owners: readonly (string | null)[], shards: readonly number[]): Map<string | null, number[]> {
  const groups = new Map<string | null, number[]>();
  for (const shard of shards) {
    const owner = owners[shard] ?? null;
    const group = groups.get(owner);
    if (group === undefined) groups.set(owner, [shard]);
    else group.push(shard);
  }
  return groups;
}

/** What an instance has not begun. */
interface Refusal {
  target: string;
  error: NotSent | Overloaded;
}

function ownersOf({ component, route }: Callee): readonly (string | null)[] {
  if (route?.owners !== undefined) return route.owners;
  throw new ShoalError('SHOAL_E_USAGE', `${component} has no state shards: its state is not partitioned`);
}

function outgoing(handler: string, body: unknown, options: CallOptions, answer?: AnswerStream): OutgoingCall {
  const { key, signal, input, deadlineMs = LIMITS.callDeadlineMsDefault } = options;
  if (!(deadlineMs > 0) || deadlineMs > LIMITS.callDeadlineMsMax) {
    const detail = `deadlineMs must be above 0 and at most ${LIMITS.callDeadlineMsMax}, not ${deadlineMs}`;
    throw new ShoalError('SHOAL_E_USAGE', detail);
  }
  const sinceMs = performance.now();
  const untilMs = sinceMs + deadlineMs;
  const endless = options.deadlineMs === undefined && (answer !== undefined || input !== undefined);
  return { handler, body, key, shards: undefined, moved: false, sinceMs, untilMs, endless, signal, answer, input };
}
