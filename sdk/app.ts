import type { Server as HttpServer, IncomingMessage, ServerResponse } from 'node:http';
import { basename, dirname, join } from 'node:path';
import { CACHE_SOCKET } from '../protocol/cache.js';
import { CONTROL_SOCKET, type InstanceStats, PEERS_FOLDER, type StateSettings } from '../protocol/control.js';
import { ShoalError } from '../protocol/errors.js';
import { LIMITS } from '../protocol/limits.js';
import { shardOfKey } from '../protocol/shard.js';
import type { BestCarrier } from './best-carrier.js';
import { CacheConnection } from './cache/cache-connection.js';
import type { Listener } from './carrier.js';
import { AgentConnection } from './control.js';
import { LeavingServer } from './leaving-server.js';
import { Meter } from './meter.js';
import type { Way } from './peer.js';
import { rehearse } from './rehearsal.js';
import { FOLLOW_HANDLER, isOwnHandler, WRITE_HANDLER } from './replicated/messages.js';
import { ReplicatedEntries } from './replicated/replicated-entries.js';
import { type CallOptions, Router } from './router.js';
import { CallServer, type Handler } from './server.js';
import { ShardStore } from './shard-store.js';
import { cannot, SharedState } from './shared-state.js';
import { answerRead, Elsewhere, READ_HANDLER } from './state/elsewhere.js';
import { NearCopies } from './state/near-copies.js';
import { ShardLog } from './state/shard-log.js';
import { type KeyedState, OwnedState, type StateOptions } from './state.js';
import { listenOnPath } from './unix-carrier.js';
import { untilActivated } from './warm.js';

/** Calls at work have so long to end before this instance leaves; the agent kills it after LIMITS.stopMsMax. */
const DRAIN_CALLS_MS_MAX = LIMITS.stopMsMax - 1_500;

const PORT_NAME = /^[a-z0-9][a-z0-9-]*$/;

export interface Identity {
  app: string;
  component: string;
  instance: string;
  /** Folder with agent.sock, fabric.sock and the ports' sockets. */
  socketFolder: string;
  peersFolder: string;
}

/** Who this process is, as the agent tells by the environment. Throws SHOAL_E_USAGE outside of an instance. */
export function identityFrom(env: NodeJS.ProcessEnv): Identity {
  const { SHOAL_APP: app, SHOAL_COMPONENT: component, SHOAL_INSTANCE: instance } = env;
  if (!app || !component || !instance) {
    const detail =
      'SHOAL_APP, SHOAL_COMPONENT and SHOAL_INSTANCE are not set: run this as a component, by `shoal apply`';
    throw new ShoalError('SHOAL_E_USAGE', detail);
  }
  const socketFolder = env.SHOAL_SOCKET_DIR ?? dirname(CONTROL_SOCKET);
  return { app, component, instance, socketFolder, peersFolder: env.SHOAL_PEERS_DIR ?? PEERS_FOLDER };
}

function takeSegments(store: ShardStore, { broker }: BestCarrier): void {
  if (broker === undefined) {
    const remedy = 'build it by ./scripts/setup, or install a shoal package with prebuilds for this platform';
    throw new ShoalError('SHOAL_E_HOST', `state needs the native part of Shoal, which cannot be loaded; ${remedy}`);
  }
  broker.onSegment = (shard, epoch, fd) => store.offer(shard, epoch, () => broker.openSegment(fd));
}

/** Where the manifest allows to read what other instances own. */
function copiesFor(settings: StateSettings | null, { broker }: BestCarrier): NearCopies | undefined {
  if (settings?.mode !== 'partitioned' || settings.stalenessMs === undefined || broker === undefined) return undefined;
  const limits = { ...settings, stalenessMs: settings.stalenessMs };
  const copies = new NearCopies(limits, (memory, label, ofLog) => new ShardLog(memory, label, ofLog, Date.now, -1));
  broker.onCopy = (shard, file, fd) => copies.take(shard, file, () => broker.openSegment(fd));
  return copies;
}

/** What is known of the way to a component. */
export interface PeerView {
  component: string;
  /**
   * Those that serve. `outstanding`: calls of this instance that they have not answered. `carrier`: what calls go over,
   * once there were some, and `why` not over a ring when they do not.
   */
  instances: ({ id: string; outstanding: number } & Partial<Way>)[];
  /** For a partitioned component. Index: state shard; value: the instance that holds it, or null while it moves. */
  owners?: (string | null)[];
}

/** What a component's process is connected to: its handlers, the other components, its state. */
export class App {
  readonly identity: Identity;
  readonly #store: ShardStore;
  readonly #cache: CacheConnection | undefined;
  readonly #replicated: ReplicatedEntries | undefined;
  readonly #settings: StateSettings | null;
  readonly #copies: NearCopies | undefined;
  readonly #elsewhere: Elsewhere | null = null;
  readonly #states = new Map<string, KeyedState<unknown>>();
  readonly #meter = new Meter();
  readonly #server: CallServer;
  readonly #carrier: BestCarrier;
  readonly #router: Router;
  readonly #agent: AgentConnection;
  readonly #http: LeavingServer[] = [];
  readonly #onDrain: (() => unknown)[] = [];
  #listener: Listener | undefined;
  #draining: Promise<void> | undefined;

  /** Throws SHOAL_E_HOST when the component has state and this process cannot map it. */
  constructor(identity: Identity, carrier: BestCarrier, settings: StateSettings | null = null) {
    this.identity = identity;
    this.#settings = settings;
    const sharded = settings === null || settings.mode === 'cache' ? null : settings;
    this.#store = new ShardStore(sharded);
    if (sharded !== null) takeSegments(this.#store, carrier);
    if (settings?.mode === 'cache') {
      this.#cache = new CacheConnection(join(identity.socketFolder, basename(CACHE_SOCKET)), settings);
    }
    this.#copies = copiesFor(settings, carrier);
    this.#server = new CallServer(this.#store, (name, options) => this.state(name, options), this.#meter);
    this.#carrier = carrier;
    this.#router = new Router(this.#carrier, Math.random, (component) => this.#agent.wanted(component));
    this.#agent = new AgentConnection(
      join(identity.socketFolder, 'agent.sock'),
      identity,
      this.#store,
      () => this.stats,
      {
        routes: (routes) => this.#router.update(routes),
        drain: () => void this.#leave(),
        known: (copies) => this.#copies?.know(copies),
        greeted: () => this.#copies?.askAgain(),
      },
    );
    if (settings?.mode === 'replicated') this.#replicated = this.#replicate();
    if (this.#copies !== undefined) this.#elsewhere = this.#readElsewhere(this.#copies);
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => void this.#leave());
  }

  #replicate(): ReplicatedEntries {
    const entries = new ReplicatedEntries(this.#store, (handler, body, options) =>
      this.#router.call(this.identity.component, handler, body, options),
    );
    this.#server.handle(WRITE_HANDLER, (body) => entries.handleWrite(body));
    this.#server.handle(FOLLOW_HANDLER, (body, { signal }) => entries.handleFollow(body, signal), false);
    return entries;
  }

  #readElsewhere(copies: NearCopies): Elsewhere {
    copies.onWant((shards) => this.#agent.readsCopies(shards));
    const shards = this.#store.settings?.shards ?? 1;
    this.#server.handle(READ_HANDLER, (body) => answerRead(body, (key) => this.#store.log(shardOfKey(key, shards))));
    return new Elsewhere(copies, (handler, body, options) =>
      this.#router.call(this.identity.component, handler, body, options),
    );
  }

  /** Begins to talk with the agent. */
  start(): void {
    this.#agent.start();
    this.#replicated?.start();
  }

  /** As start(), once the agent has said which instance this process is. */
  async startWhenActivated(): Promise<void> {
    await rehearse(this.identity.socketFolder, () => this.stats);
    const { instance, ...conversation } = await untilActivated(join(this.identity.socketFolder, 'agent.sock'));
    this.identity.instance = instance;
    this.#agent.start(conversation);
    this.#replicated?.start();
  }

  /** Registers what other components can call by this name. Before ready(). */
  handle(name: string, handler: Handler): void {
    if (isOwnHandler(name)) throw new ShoalError('SHOAL_E_NAME', `${name}: names that begin with shoal: are not free`);
    this.#server.handle(name, handler);
  }

  /** Begins to serve and says so; with replicated state once all entries are here. */
  async ready(): Promise<void> {
    // Other instances may wait for what this one owns; callers may know it from before its process began anew.
    this.#server.ownOnly = this.#replicated !== undefined;
    this.#listener ??= await this.#carrier.listen((channel) => this.#server.accept(channel));
    await this.#replicated?.caughtUp();
    this.#server.ownOnly = false;
    this.#agent.ready();
  }

  /** Calls a handler of one instance of the component: of the key's owner, else of the least loaded. */
  call(component: string, handler: string, body: unknown, options: CallOptions = {}): Promise<unknown> {
    return this.#router.call(component, handler, body, options);
  }

  /**
   * Calls a handler that answers a stream: an async iterable of items, to be gone through once. The call is made when the
   * first is asked for; leaving the loop early cancels it, and so does `signal`.
   */
  stream(
    component: string,
    handler: string,
    body: unknown,
    options: CallOptions = {},
  ): AsyncIterableIterator<unknown, undefined> {
    return this.#router.stream(component, handler, body, options);
  }

  /** Calls a handler of all owners of the component's state shards; every shard is worked on exactly once. */
  callShards(component: string, handler: string, body: unknown, options: CallOptions = {}): Promise<unknown[]> {
    return this.#router.callShards(component, handler, body, options);
  }

  /**
   * Keyed state of this component, by a name of its choice. Throws SHOAL_E_STATE_MODE when its manifest gives it no state, or one
   * that cannot do what it `needs`; SHOAL_E_NAME for what is no name.
   */
  state<Value = unknown>(name: string, options: StateOptions = {}): KeyedState<Value> {
    const id = `${options.raw === true ? 'raw' : 'data'} ${name} ${options.needs?.join() ?? ''}`;
    let state = this.#states.get(id);
    if (state === undefined) {
      state = this.#openState(name, options);
      this.#states.set(id, state);
    }
    return state as unknown as KeyedState<Value>;
  }

  #openState(name: string, options: StateOptions): KeyedState<unknown> {
    const shared = this.#cache ?? this.#replicated;
    if (shared === undefined || this.#settings === null) {
      return new OwnedState<unknown>(this.#store, name, options, Date.now, this.#elsewhere);
    }
    return new SharedState<unknown>(shared, this.#settings, name, options);
  }

  /** State shards that this instance holds now. */
  get shards(): number[] {
    return this.#store.held;
  }

  /**
   * Called before the first call on a state shard that comes to this instance: its entries can be read and written. Throws
   * SHOAL_E_STATE_MODE where the manifest gives the component no partitioned state.
   */
  onShardArrive(hook: (shard: number) => unknown): void {
    this.#assertHooks();
    this.#store.onArrive(hook);
  }

  /** Called after the last call on a state shard that leaves, which cannot be read any more. Throws as `onShardArrive` does. */
  onShardLeave(hook: (shard: number) => unknown): void {
    this.#assertHooks();
    this.#store.onLeave(hook);
  }

  #assertHooks(): void {
    if (this.#settings?.mode !== 'partitioned') throw cannot('to be told of state shards');
  }

  /** Serves HTTP on a port of the manifest. Requests count as calls do, in demand and in latency. */
  async listen(portName: string, server: HttpServer): Promise<void> {
    if (!PORT_NAME.test(portName)) throw new ShoalError('SHOAL_E_NAME', `${portName} is no name of a port`);
    const path = join(this.identity.socketFolder, `${portName}.sock`);
    server.on('request', (_request: IncomingMessage, response: ServerResponse) => {
      const counted = this.#meter.begin();
      response.once('close', () => {
        counted.end(response.writableFinished && response.statusCode < 500);
        this.#server.ended();
      });
    });
    this.#http.push(new LeavingServer(server));
    await listenOnPath(server, path);
  }

  /** What this instance has served since it started, and the state shards that it holds. */
  get stats(): InstanceStats {
    const stateLagMs = this.#replicated?.lagMs;
    const access = this.#store.access.read();
    return {
      ...this.#meter.read(),
      shards: this.#store.held,
      frozen: this.#store.frozen,
      called: this.#router.called,
      channels: this.#router.channels,
      ...(access === undefined ? {} : { access }),
      ...(stateLagMs === undefined ? {} : { stateLagMs }),
    };
  }

  /** The components that this one may call, as the agent last told; empty before it did. */
  peers(): PeerView[] {
    return [...(this.#router.routes ?? [])].map(([component, { instances, owners }]) => ({
      component,
      instances: instances.map((id) => ({
        id,
        outstanding: this.#router.outstanding(component, id),
        ...this.#router.way(component, id),
      })),
      ...(owners === undefined ? {} : { owners: [...owners] }),
    }));
  }

  /** Called when this instance is about to leave, after its last call. */
  onDrain(action: () => unknown): void {
    this.#onDrain.push(action);
  }

  /** Ends all connections at once, without waiting for calls. */
  async close(): Promise<void> {
    await this.#listener?.close();
    this.#replicated?.close();
    this.#agent.close();
    this.#router.close();
    this.#server.close();
    this.#carrier.close();
    this.#store.close();
    this.#copies?.close();
    this.#cache?.close();
    for (const server of this.#http) server.close();
  }

  #leave(): Promise<void> {
    this.#draining ??= this.#drain();
    return this.#draining;
  }

  /** Calls at work are finished, new ones refused, so that their callers ask another instance. */
  async #drain(): Promise<void> {
    await Promise.all(this.#http.map((server) => server.leave()));
    await this.#server.drain(DRAIN_CALLS_MS_MAX);
    let code = 0;
    for (const action of this.#onDrain) {
      try {
        await action();
      } catch (error) {
        console.error('an onDrain action failed:', error);
        code = 1;
      }
    }
    await this.close();
    process.exit(code);
  }
}
