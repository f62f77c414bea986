import type { Logger } from 'pino';
import { toShoalError } from '../protocol/errors.js';
import type { HostStanding } from '../protocol/http.js';
import type { InstanceFacts } from '../protocol/instance-news.js';
import type { AgentEvent, HostInfo } from '../protocol/link.js';
import { summary } from './brain/explanation-words.js';
import { place } from './brain/placement.js';
import { assignShards } from './brain/shards.js';
import { changedKeys } from './changed-keys.js';
import type { Clockwork } from './clockwork.js';
import {
  type ClusterState,
  componentKey,
  isPlacedOn,
  isSameTarget,
  noteSeenIds,
  own,
  raiseRevision,
} from './cluster.js';
import { DecisionLog } from './decisions.js';
import type { EventLog } from './events.js';
import { Figures } from './figures.js';
import { withinBounds } from './host-bounds.js';
import { standingOf } from './host-standing.js';
import { LearnedStore } from './learned.js';
import { Leases } from './leases.js';
import {
  type HeardReport,
  hostConnected,
  hostDisconnected,
  hostOrdered,
  type Observed,
  startObserving,
  takeNews,
} from './observed.js';
import { differences, loadCluster } from './persist.js';
import { plan } from './planner.js';
import { noteCalledInVain, type PlannerMemory, reasonOf } from './planner-memory.js';
import { type ReconcileBrain, reconcile, type Step } from './reconcile.js';
import { Refits } from './refit.js';
import { judgeReleases, type ReleaseStep, takeBuilt } from './releases.js';
import { SettledComponents } from './settled.js';
import { shiftWeights } from './shift-weights.js';
import type { Candidate, Store, StoreOperation } from './store/store.js';
import { tell } from './tell.js';
import { type Measured, Traffic } from './traffic.js';

export const TICK_MS = 1_000;
/** Kind of the agent's event that says that a component without instances was called. */
export const CALLED_IN_VAIN = 'no-instance';

/** Why a component gave way is said for so long, and while some of its instances wait for room. */
const GAVE_WAY_SHOWN_MS = 600_000;

const BRAIN: ReconcileBrain = { place, assignShards };

export interface CoordinatorOptions {
  store: Store;
  events: EventLog;
  /** Ms since the epoch. */
  clock: () => number;
  log: Logger;
  /** What followers are told of this coordinator; needed where the store is shared. */
  candidate?: Candidate;
  /** Calls the campaign off. */
  signal?: AbortSignal;
  /** By which leases of hosts are counted. */
  clockwork?: Clockwork;
}

/**
 * The one place where the cluster state changes. Changes run one after another: transition, reconcile, commit to the
 * store, and only then is the new state visible and sent to agents. What a failed commit would have changed never was.
 */
export class Coordinator {
  readonly #options: CoordinatorOptions;
  /** The last decisions of each component, and why. */
  readonly decisions = new DecisionLog();
  readonly figures = new Figures();
  readonly refits: Refits;
  readonly #learned = new LearnedStore();
  readonly #listeners = new Set<(state: ClusterState) => void>();
  #state: ClusterState;
  /** As it was when this leadership began. */
  readonly #first: Pick<ClusterState, 'revision' | 'counters'>;
  readonly #observed: Observed;
  /** Begun after the leadership was won: a leader before it prolongs none any more. */
  readonly #leases: Leases;
  /** Host → how it stood when that was last told. */
  readonly #standings = new Map<string, HostStanding['state']>();
  #memory: PlannerMemory = new Map();
  #tail: Promise<unknown> = Promise.resolve();
  /** Ids that hosts have begun to report and that the counters of ids do not know of yet. */
  readonly #freshIds = new Set<string>();
  /** Component key → why it last gave way to another one. */
  readonly #gaveWay = new Map<string, { message: string; atMs: number }>();
  readonly #traffic = new Traffic();
  readonly #settled = new SettledComponents();
  /** A turn for what hosts have reported waits for those before it. */
  #isLookDue = false;
  #timer: NodeJS.Timeout | undefined;
  #ticking = false;
  /** Component key → message of its instances that wait for room, so that each is said once. */
  readonly #waiting = new Map<string, string>();

  private constructor(
    options: CoordinatorOptions,
    state: ClusterState,
    /** Of this leadership: every message to agents carries it. */
    readonly term: number,
  ) {
    this.#options = options;
    this.#state = state;
    this.#first = { revision: state.revision, counters: state.counters };
    this.#leases = new Leases(options.clockwork);
    this.#observed = startObserving(options.clock(), this.#leases);
    this.refits = new Refits({ log: options.log, forecasterOf: (key) => this.#memory.get(key)?.forecaster });
  }

  /** Wins leadership, then reads what was committed. */
  static async open(options: CoordinatorOptions): Promise<Coordinator> {
    const term = await options.store.campaign(options.candidate, options.signal);
    options.events.beginTerm(term);
    try {
      const coordinator = new Coordinator(options, await loadCluster(options.store), term);
      const keys = Object.keys(coordinator.state.targets);
      const { store, log } = options;
      const learned = coordinator.#learned.load(store, keys, options.clock(), log);
      [coordinator.#memory] = await Promise.all([learned, coordinator.decisions.load(store, keys, log)]);
      return coordinator;
    } finally {
      // While it was read somebody else may have taken over and written: then what was read is of several moments and says
      // nothing, nor does what was wrong with it. The store is asked, since by its own clock this one may still lead.
      await options.store.commit([], term);
    }
  }

  get state(): ClusterState {
    return this.#state;
  }
  get observed(): Observed {
    return this.#observed;
  }
  get memory(): PlannerMemory {
    return this.#memory;
  }
  /** Component key → what was said of its instances that wait for room. */
  get waiting(): ReadonlyMap<string, string> {
    return this.#waiting;
  }
  /** What is measured of the state shards and the calls of each component. */
  get measured(): Measured {
    return this.#traffic;
  }
  /** Component key → why it lately gave way to another one. */
  get gaveWay(): ReadonlyMap<string, { message: string; atMs: number }> {
    return this.#gaveWay;
  }
  get events(): EventLog {
    return this.#options.events;
  }
  now(): number {
    return this.#options.clock();
  }
  /** Whether it may still act. */
  leads(): boolean {
    return this.#options.store.leads(this.term);
  }

  /** Called with every committed state. Returns a function that unsubscribes. */
  onChange(listener: (state: ClusterState) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /**
   * Applies a transition; resolves with the state once it is durable. Rejects, with nothing changed, when it throws. One that
   * changes nothing is an answer too: it is given only when the store says that this coordinator still leads.
   */
  change(transition: (state: ClusterState) => ClusterState): Promise<ClusterState> {
    return this.#inOrder(transition, true);
  }

  /** As change(), of the loop itself, to which nobody waits for an answer. */
  #turn(transition: (state: ClusterState) => ClusterState): Promise<ClusterState> {
    return this.#inOrder(transition, false);
  }

  #inOrder(transition: (state: ClusterState) => ClusterState, confirmed: boolean): Promise<ClusterState> {
    const run = this.#tail.then(() => this.#apply(transition, confirmed));
    // The chain goes on after a failure, which belongs to the caller of that change alone.
    this.#tail = run.catch(() => undefined);
    return run;
  }

  /** Starts the loop: once a second samples → demand → forecast → plan → moves. */
  start(): void {
    this.#timer ??= setInterval(() => void this.#tickSafely(), TICK_MS);
  }

  /** Stops the loop and waits for changes under way; the last state can still be read. */
  async halt(): Promise<void> {
    clearInterval(this.#timer);
    this.#timer = undefined;
    await this.refits.stop();
    await this.#tail;
  }

  /** Stops as halt() does and stores what was learned. */
  async stop(): Promise<void> {
    await this.halt();
    try {
      const alive = [...this.#memory].filter(([key]) => Object.hasOwn(this.#state.targets, key));
      await this.#commitLearned(this.#learned.all(new Map(alive), this.now(), this.#options.log));
    } catch (error) {
      // As when another coordinator leads since; it has what was stored before.
      this.#options.log.warn({ err: error }, 'what was learned last could not be stored');
    }
  }

  /** One turn of the loop. */
  async tick(): Promise<void> {
    let shifts: Step[] = [];
    let releases: ReleaseStep[] = [];
    const ended = this.figures.tickSeconds.startTimer();
    await this.#turn((state) => {
      const nowMs = this.now();
      const built = takeBuilt(state, this.#observed, nowMs);
      const judged = judgeReleases(built.state, this.#observed, nowMs);
      releases = [...built.steps, ...judged.steps];
      const planned = plan(judged.state, this.#observed, this.#memory, nowMs);
      this.decisions.stage(tell(planned, this.#memory));
      const looked = this.#traffic.look(planned, this.#observed, nowMs);
      const shifted = shiftWeights(planned, looked, this.#traffic, nowMs);
      shifts = shifted.steps;
      return shifted.state;
    });
    ended();
    this.#tellStandings();
    for (const step of releases) this.events.append({ atMs: this.now(), instance: '', ...step });
    for (const shift of shifts) this.events.append({ atMs: this.now(), ...shift });
    this.refits.ask([...this.#memory.keys()]);
    await this.#commitLearned(this.#learned.operations(this.#memory, this.now(), this.#options.log));
  }

  /**
   * A host's agent said hello; `applied` is the revision of the desired state that it holds. An agent that is no longer
   * `present` when the store has answered was never connected.
   */
  async connect(
    info: HostInfo,
    applied: number,
    present: () => boolean = () => true,
    keepsLeases = true,
  ): Promise<void> {
    await this.#turn((state) => raiseRevision(state, applied, this.#first));
    if (!present()) return;
    const believed = withinBounds(info, own(this.#state.joined, info.name)?.bounds);
    hostConnected(this.#observed, believed, this.now(), keepsLeases);
    const { name, cores, memoryBytes } = believed;
    this.note('host-connected', `${name}: ${cores} cores, ${Math.round(memoryBytes / 2 ** 20)} MiB`);
  }

  disconnect(host: string, why: string): void {
    hostDisconnected(this.#observed, host, this.now());
    this.note('host-disconnected', `${host}: ${why}`);
  }

  /** The host was sent what it shall be under this revision. */
  ordered(host: string, revision: number): void {
    hostOrdered(this.#observed, host, revision, this.now());
  }

  /** Before the host is answered that its singletons may go on. */
  prolongLease(host: string): void {
    this.#leases.prolong(host);
  }

  /** Takes a report, whose form has been checked. Throws SHOAL_E_FRAME where it does not fit those before it. */
  report(host: string, report: HeardReport & { events: readonly AgentEvent[] }): void {
    const isPlaced = (facts: InstanceFacts) => isPlacedOn(this.#state, host, facts);
    const { fresh, isDue } = takeNews(this.#observed, host, report, this.now(), isPlaced);
    for (const id of fresh) this.#freshIds.add(id);
    for (const event of report.events) {
      this.events.append(event);
      if (event.kind !== CALLED_IN_VAIN) continue;
      noteCalledInVain(this.#memory, componentKey(event.app, event.component), this.now());
    }
    if (isDue) this.#lookSoon();
  }

  /** One turn for all that is reported before it begins. */
  #lookSoon(): void {
    if (this.#isLookDue) return;
    this.#isLookDue = true;
    const look = (state: ClusterState) => {
      this.#isLookDue = false;
      return state;
    };
    this.#inBackground(this.#turn(look));
  }

  async #apply(transition: (state: ClusterState) => ClusterState, confirmed: boolean): Promise<ClusterState> {
    try {
      return await this.#applyOrThrow(transition, confirmed);
    } catch (error) {
      this.decisions.discard();
      throw error;
    }
  }

  async #applyOrThrow(transition: (state: ClusterState) => ClusterState, confirmed: boolean): Promise<ClusterState> {
    const before = this.#state;
    const fresh = [...this.#freshIds];
    // What comes of it has this time: to write it down is part of the way from a decision to what is done.
    const decidedMs = this.now();
    const transited = transition(noteSeenIds(before, fresh, this.#first));
    const result = reconcile(transited, this.#observed, BRAIN, decidedMs, this.#traffic, this.#settled);
    const batch = [...differences(before, result.state), ...this.decisions.operations()];
    if (batch.length > 0 || confirmed) await this.#options.store.commit(batch, this.term);
    this.#state = result.state;
    // Agents first: what is told to people, and to those who follow events, can wait.
    if (before.revision !== result.state.revision) for (const listener of [...this.#listeners]) listener(result.state);
    for (const id of fresh) this.#freshIds.delete(id);
    this.#noteChanges(before, result.state, result.steps, decidedMs);
    this.figures.note(result.steps);
    this.decisions.committed();
    return result.state;
  }

  async #commitLearned(learned: readonly StoreOperation[]): Promise<void> {
    if (learned.length === 0) return;
    await this.#options.store.commit([...learned, ...this.decisions.outcomes()], this.term);
    this.decisions.outcomesStored();
  }

  async #tickSafely(): Promise<void> {
    if (this.#ticking || !this.leads()) return;
    this.#ticking = true;
    try {
      await this.tick();
    } catch (error) {
      this.#failed(error);
    } finally {
      this.#ticking = false;
    }
  }

  #inBackground(work: Promise<unknown>): void {
    work.catch((error: unknown) => this.#failed(error));
  }

  /** The last committed state stays in force; the next second tries again. */
  #failed(error: unknown): void {
    const { code, message } = toShoalError(error);
    this.#options.log.error({ err: error, code }, 'the loop could not change the cluster state');
    this.note('loop-failed', `${code}: ${message}`);
  }

  #noteChanges(before: ClusterState, after: ClusterState, steps: readonly Step[], atMs: number): void {
    const retargeted = changedKeys(before.targets, after.targets) ?? Object.keys(after.targets);
    for (const key of before.targets === after.targets ? [] : retargeted) {
      const [old, target] = [own(before.targets, key), own(after.targets, key)];
      if (old === target || old === undefined || target === undefined || isSameTarget(old, target)) continue;
      const message = reasonOf(this.#memory.get(key));
      this.events.append({ atMs, ...partsOf(key), instance: '', kind: 'reshaped', message });
    }
    for (const { key, explanation } of this.decisions.stagedUndone) {
      const message = summary(explanation);
      this.events.append({ atMs, ...partsOf(key), instance: '', kind: 'would-reshape', message });
    }
    const waiting = new Set<string>();
    for (const step of steps) {
      if (step.kind === 'unplaced') {
        const key = componentKey(step.app, step.component);
        waiting.add(key);
        if (this.#waiting.get(key) === step.message) continue;
        this.#waiting.set(key, step.message);
      }
      if (step.kind === 'gave-way') {
        this.#gaveWay.set(componentKey(step.app, step.component), { message: step.message, atMs });
      }
      const { count: _, ...event } = step;
      this.events.append({ atMs, ...event });
    }
    for (const key of [...this.#waiting.keys()]) if (!waiting.has(key)) this.#waiting.delete(key);
    for (const [key, { atMs: sinceMs }] of this.#gaveWay) {
      if (!waiting.has(key) && atMs - sinceMs > GAVE_WAY_SHOWN_MS) this.#gaveWay.delete(key);
    }
  }

  /** Events that begin and end what is wrong with hosts; that one is away is told as it happens. */
  #tellStandings(): void {
    for (const [name, host] of this.#observed.hosts) {
      const { state, why } = standingOf(host, this.#observed, this.now());
      const before = this.#standings.get(name) ?? 'well';
      if (state === before || state === 'away') continue;
      this.#standings.set(name, state);
      this.note(`host-${state}`, why === '' ? `${name} is well again` : `${name}: ${why}`);
    }
  }

  /** An event of the cluster itself. */
  note(kind: string, message: string): void {
    this.#options.log.info({ kind }, message);
    this.events.append({ atMs: this.now(), app: '', component: '', instance: '', kind, message });
  }
}

function partsOf(key: string): { app: string; component: string } {
  const [app = '', component = ''] = key.split('/');
  return { app, component };
}
