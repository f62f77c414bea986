import { pickLessLoaded, pickNearer, type Random } from '../protocol/balancer.js';
import type { CalleeChannels, Route } from '../protocol/control.js';
import { ShoalError } from '../protocol/errors.js';
import { LIMITS } from '../protocol/limits.js';
import { shardOfKey } from '../protocol/shard.js';
import { AnswerStream } from './answer-stream.js';
import type { Carrier } from './carrier.js';
import { NotSent, type OutgoingCall, Overloaded, Peer, type Way } from './peer.js';
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

const WHY_LENGTH_MAX = 300;

/** Finds for each call the instance that shall serve it, and another one when that cannot. */
export class Router {
  readonly #carrier: Carrier;
  readonly #random: Random;
  /** Tells the agent that somebody waits for an instance of the component. */
  readonly #wanted: (component: string) => void;
  #routes: ReadonlyMap<string, Route> | null = null;
  readonly #peers = new Map<string, Peer>();
  readonly #waiting = new Set<() => void>();
  readonly #called = new Map<string, number>();

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
    const known = new Set<string>();
    for (const [component, route] of this.#routes) {
      for (const id of [...route.instances, ...(route.owners ?? [])]) if (id !== null) known.add(`${component}/${id}`);
    }
    for (const [name, peer] of this.#peers) {
      // One that leaves still answers what it has.
      if (known.has(name) || peer.outstanding > 0) continue;
      peer.close();
      this.#peers.delete(name);
    }
    for (const wake of [...this.#waiting]) wake();
  }

  async call(component: string, handler: string, body: unknown, options: CallOptions): Promise<unknown> {
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

  async #call(
    component: string,
    handler: string,
    body: unknown,
    options: CallOptions,
    answer?: AnswerStream,
  ): Promise<unknown> {
    const { key, input, signal } = options;
    const endless = options.deadlineMs === undefined && (answer !== undefined || input !== undefined);
    const deadline = deadlineOf(options);
    const refused = new Set<string>();
    let overloaded: ShoalError | undefined;
    for (;;) {
      const route = this.#routeOf(component);
      const target = route === null ? null : this.#choose(component, route, key, refused);
      if (target === null) {
        if (overloaded !== undefined) throw overloaded;
        // All have refused: each may be asked again after a while.
        refused.clear();
        await this.#wait(component, deadline, options.signal, route === null || route.instances.length === 0);
        continue;
      }
      try {
        const call: OutgoingCall = { handler, body, deadlineMs: endless ? undefined : left(deadline), signal };
        if (key !== undefined) call.key = key;
        if (key !== undefined && route?.owners !== undefined) call.shards = [shardOfKey(key, route.owners.length)];
        if (answer !== undefined) call.answer = answer;
        if (input !== undefined) call.input = input;
        return await this.#send(component, target, call);
      } catch (error) {
        if (error instanceof Overloaded && key === undefined) {
          overloaded = error;
          refused.add(target);
          continue;
        }
        if (!(error instanceof NotSent)) throw error;
        refused.add(target);
        if (key !== undefined) await this.#wait(component, deadline, options.signal, false, error);
      }
    }
  }

  /**
   * Calls every owner of state shards with the shards that it owns, so that each shard is worked on by exactly one call
   * that succeeds: an owner works on all that it was asked for or on none, and what it refused is asked of the next owner.
   */
  async callShards(component: string, handler: string, body: unknown, options: CallOptions): Promise<unknown[]> {
    if (options.input !== undefined) throw new ShoalError('SHOAL_E_USAGE', 'callShards takes no input');
    const deadline = deadlineOf(options);
    const results: unknown[] = [];
    let remaining: number[] | undefined;
    for (;;) {
      const owners = this.#ownersOf(component);
      if (owners === null) {
        await this.#wait(component, deadline, options.signal, false);
        continue;
      }
      const groups = groupByOwner(owners, remaining ?? [...owners.keys()]);
      const refused: number[] = groups.get(null) ?? [];
      let last: NotSent | undefined;
      await Promise.all(
        [...groups].map(async ([owner, shards]) => {
          if (owner === null) return;
          try {
            const call = { handler, body, shards, deadlineMs: left(deadline), signal: options.signal };
            results.push(await this.#send(component, owner, call));
          } catch (error) {
            if (!(error instanceof NotSent)) throw error;
            last = error;
            refused.push(...shards);
          }
        }),
      );
      if (refused.length === 0) return results;
      remaining = refused;
      await this.#wait(component, deadline, options.signal, this.#routeOf(component)?.instances.length === 0, last);
    }
  }

  /** Calls that this instance has sent, by the component called. */
  get called(): Record<string, number> {
    return Object.fromEntries(this.#called);
  }

  /** What calls of this instance go over, by the component called. */
  get channels(): Record<string, CalleeChannels> {
    const channels: Record<string, CalleeChannels> = {};
    for (const [name, { way }] of this.#peers) {
      const component = name.slice(0, name.indexOf('/'));
      if (way === undefined) continue;
      channels[component] ??= { ring: 0, unix: 0 };
      channels[component][way.carrier] += 1;
      if (way.why !== undefined) channels[component].whyNoRing = way.why.slice(0, WHY_LENGTH_MAX);
    }
    return channels;
  }

  /** Calls of this instance that the other has not answered. */
  outstanding(component: string, instance: string): number {
    return this.#peers.get(`${component}/${instance}`)?.outstanding ?? 0;
  }

  /** What calls to the other go over; undefined while there is no channel. */
  way(component: string, instance: string): Way | undefined {
    return this.#peers.get(`${component}/${instance}`)?.way;
  }

  close(): void {
    for (const peer of this.#peers.values()) peer.close();
  }

  #routeOf(component: string): Route | null {
    if (this.#routes === null) return null;
    const route = this.#routes.get(component);
    if (route !== undefined) return route;
    throw new ShoalError('SHOAL_E_NOT_GRANTED', `add ${component} to this component's \`calls\` in the manifest`);
  }

  #send(component: string, instance: string, call: OutgoingCall): Promise<unknown> {
    this.#called.set(component, (this.#called.get(component) ?? 0) + 1);
    return this.#peer(component, instance).call(call);
  }

  #choose(component: string, route: Route, key: string | undefined, refused: ReadonlySet<string>): string | null {
    if (key !== undefined && route.owners !== undefined)
      return route.owners[shardOfKey(key, route.owners.length)] ?? null;
    const candidates = candidatesOf(route, refused);
    const outstanding = ({ id }: Candidate) => this.outstanding(component, id);
    const pick = route.near === undefined ? pickLessLoaded : pickNearer;
    return pick(candidates, outstanding, this.#random)?.id ?? null;
  }

  /** Null before the agent told. */
  #ownersOf(component: string): readonly (string | null)[] | null {
    const route = this.#routeOf(component);
    if (route !== null && route.owners === undefined) {
      throw new ShoalError('SHOAL_E_USAGE', `${component} has no state shards: its state is not partitioned`);
    }
    return route?.owners ?? null;
  }

  #peer(component: string, instance: string): Peer {
    const name = `${component}/${instance}`;
    let peer = this.#peers.get(name);
    if (peer === undefined) {
      peer = new Peer(this.#carrier, { component, instance });
      this.#peers.set(name, peer);
    }
    return peer;
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

interface Candidate {
  id: string;
  weight: number;
  near: boolean;
}

function candidatesOf({ instances, weights, near }: Route, refused: ReadonlySet<string>): Candidate[] {
  const all = instances.map(
    (id, index): Candidate => ({ id, weight: weights?.[index] ?? 1, near: near === undefined || index < near }),
  );
  return refused.size === 0 ? all : all.filter(({ id }) => !refused.has(id));
}

function deadlineOf({ deadlineMs = LIMITS.callDeadlineMsDefault }: CallOptions): number {
  if (!(deadlineMs > 0) || deadlineMs > LIMITS.callDeadlineMsMax) {
    throw new ShoalError(
      'SHOAL_E_USAGE',
      `deadlineMs must be above 0 and at most ${LIMITS.callDeadlineMsMax}, not ${deadlineMs}`,
    );
  }
  return performance.now() + deadlineMs;
}

/** Milliseconds left; at least a moment, after which the call fails by itself. */
function left(deadline: number): number {
  return Math.max(1, deadline - performance.now());
}
