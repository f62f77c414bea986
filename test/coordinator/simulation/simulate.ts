import { isDeepStrictEqual } from 'node:util';
import { pino } from 'pino';
import { Fence } from '../../../agent/fence.js';
import { bump, type ClusterState, desiredFor, setCordon } from '../../../coordinator/cluster.js';
import { createEventLog } from '../../../coordinator/events.js';
import { Coordinator } from '../../../coordinator/loop.js';
import type { Condition } from '../../../coordinator/store/etcd/etcd.js';
import { EtcdStore } from '../../../coordinator/store/etcd/store.js';
import { isErrorCode, ShoalError } from '../../../protocol/errors.js';
import type { Desired } from '../../../protocol/link.js';
import { type Network, SimClient, SimEtcd } from './sim-etcd.js';
import { Process, World } from './world.js';

const COORDINATORS = 3;
const AGENTS = 2;
const CHAOS_MS = 9_000;
/** Afterwards nothing fails any more, and the cluster has to come to rest: etcd may be away for 3 s yet, and a beat counts for 2. */
const CALM_MS = 7_000;
const LEASE_SECONDS = 2;
/** So many hosts in one batch are more than one transaction holds. */
const LARGE = 130;
const CLOCK_DRIFT_MAX = 0.04;
/** A host whose cordon is set to one thing and another, often to what it is. */
const DOOR = 'door';
/** A leader whose lease somebody else has ended finds out when it prolongs it next: a quarter of it and some tries. */
const UNAWARE_MS_MAX = 2_000;
const WALL_MS = 1_800_000_000_000;
/** Clocks on the wall are apart by so much, and set by so much. */
const WALL_JUMP_MS_MAX = 3_600_000;
const CALM: Network = { lost: 0, twice: 0, answerLost: 0, slow: 0, slowMsMax: 1 };
const LOG = pino({ level: 'silent' });

/** What is broken on purpose, for tests of the simulation itself. */
export interface Planted {
  /** Conditions of transactions that etcd does not look at. */
  condition?: (condition: Condition) => boolean;
  /** Agents obey whoever speaks. */
  obedient?: boolean;
  /** Clocks run apart by so large a part, up or down. */
  drift?: number;
  /** Changes that change nothing are answered from memory. */
  unconfirmed?: boolean;
}

export interface History {
  /** What must not be, if anything; the run ended there. */
  broken: string | null;
  terms: number;
  acknowledged: number;
  obeyed: number;
  refusedTerms: number;
}

/** One history of a cluster: coordinators, their store and agents under faults, all decided by the seed. */
export async function simulate(seed: number, planted: Planted = {}): Promise<History> {
  const cluster = new SimCluster(seed, planted);
  try {
    await cluster.run();
    return cluster.history(null);
  } catch (error) {
    if (error instanceof Broken) return cluster.history(error.message);
    throw error;
  }
}

class Broken extends Error {}

interface Seat {
  name: string;
  process: Process;
  etcd: SimClient;
  store: EtcdStore;
  coordinator: Coordinator | null;
  /** Its clock on the wall is set, forwards and back. */
  wallMs: number;
}

interface Agent {
  name: string;
  fence: Fence;
  desired: Desired | null;
}

/** As setCordon() for each of them, in one step. */
function withCordons(state: ClusterState, hosts: readonly string[]): ClusterState {
  const added = Object.fromEntries(hosts.map((host) => [host, { drain: false, sinceMs: 0 }]));
  return bump({ ...state, cordons: { ...state.cordons, ...added } });
}

class SimCluster {
  readonly #world: World;
  readonly #planted: Planted;
  readonly #etcd: SimEtcd;
  readonly #network: Network;
  readonly #seats: Seat[] = [];
  readonly #agents: Agent[];
  /** Hosts of which a cordon was acknowledged; the large batch has several. */
  readonly #acknowledged = new Set<string>();
  /** Of which it was said that it was not done. */
  readonly #refused = new Set<string>();
  /** What was committed under a revision, by host. */
  readonly #committed = new Map<string, unknown>();
  #changes = 0;
  #terms = 0;
  #obeyed = 0;
  #refusedTerms = 0;
  #chaos = true;
  /** Until then two may believe to lead, since a lease was ended early. */
  #unawareUntilMs = 0;
  #broken: string | null = null;

  constructor(seed: number, planted: Planted) {
    this.#world = new World(seed);
    this.#planted = planted;
    this.#etcd = new SimEtcd(this.#world, planted.condition);
    const { random } = this.#world;
    // Each seed has weather of its own.
    this.#network = {
      lost: 0.1 * random(),
      twice: 0.1 * random(),
      answerLost: 0.1 * random(),
      slow: 0.2 * random(),
      slowMsMax: 3_000 * random(),
    };
    const write = (): Promise<void> => Promise.resolve();
    this.#agents = Array.from({ length: AGENTS }, (_, i) => ({
      name: `h${i}`,
      fence: new Fence(0, write),
      desired: null,
    }));
    for (let i = 0; i < COORDINATORS; i += 1) this.#start(`c${i}`, i);
  }

  history(broken: string | null): History {
    return {
      broken,
      terms: this.#terms,
      acknowledged: this.#acknowledged.size,
      obeyed: this.#obeyed,
      refusedTerms: this.#refusedTerms,
    };
  }

  async run(): Promise<void> {
    this.#plague();
    this.#change();
    this.#say();
    const look = () => this.#look();
    await this.#world.run(CHAOS_MS, look);
    this.#chaos = false;
    Object.assign(this.#network, CALM);
    await this.#world.run(CHAOS_MS + CALM_MS, look);
    const leaders = this.#seats.filter((seat) => seat.coordinator !== null && seat.store.leads());
    const [leader] = leaders;
    if (leader?.coordinator == null || leaders.length > 1)
      throw new Broken(`${leaders.length} coordinators lead at the end`);
    this.#judge(leader.coordinator.state, 'at the end');
    for (const { name, desired } of this.#agents) {
      if (desired?.revision !== leader.coordinator.state.revision) {
        throw new Broken(`${name} holds revision ${desired?.revision}, not ${leader.coordinator.state.revision}`);
      }
    }
  }

  #start(name: string, index: number): void {
    const process = new Process(this.#world, this.#planted.drift ?? CLOCK_DRIFT_MAX);
    const etcd = new SimClient(this.#world, process, this.#etcd, this.#network);
    const store = new EtcdStore({ etcd, leaseSeconds: LEASE_SECONDS, clockwork: process });
    if (this.#planted.unconfirmed === true) {
      const { commit } = store;
      store.commit = (batch, term) => (batch.length === 0 ? Promise.resolve() : commit.call(store, batch, term));
    }
    const wallMs = WALL_MS + this.#world.between(-WALL_JUMP_MS_MAX, WALL_JUMP_MS_MAX);
    const seat: Seat = { name, process, etcd, store, coordinator: null, wallMs };
    this.#seats[index] = seat;
    store.onLeadershipLost(() => {
      // While it is being taken up, whoever takes it up finds out.
      if (seat.coordinator === null) return;
      seat.coordinator = null;
      this.#lead(seat);
    });
    this.#lead(seat);
  }

  /** As Member does, without sockets. */
  #lead(seat: Seat): void {
    const { store, name } = seat;
    const candidate = { name, api: `http://${name}`, link: null };
    const clock = () => Math.round(seat.wallMs + this.#world.nowMs);
    Coordinator.open({ store, events: createEventLog(10), clock, log: LOG, candidate }).then(
      (coordinator) => {
        if (!store.leads()) return this.#lead(seat);
        this.#terms += 1;
        seat.coordinator = coordinator;
        this.#note(coordinator.state);
        this.#judge(coordinator.state, `read by ${name} as leader of term ${coordinator.term}`);
        coordinator.onChange((state) => {
          this.#note(state);
          this.#send(seat, coordinator);
        });
        this.#send(seat, coordinator);
      },
      (error: unknown) => {
        const code = error instanceof ShoalError && isErrorCode(error.code) ? error.code : null;
        if (code !== 'SHOAL_E_NOT_LEADER' && code !== 'SHOAL_E_STORE_AWAY') this.#break(`${name}: ${String(error)}`);
        else seat.process.after(100, () => this.#lead(seat));
      },
    );
  }

  /** Two states under one revision would be two truths. */
  #note(state: ClusterState): void {
    const key = String(state.revision);
    const truth = { cordons: Object.keys(state.cordons).sort() };
    const before = this.#committed.get(key);
    if (before === undefined) this.#committed.set(key, truth);
    else if (!isDeepStrictEqual(before, truth)) this.#break(`two states have revision ${key}`);
  }

  /** Nothing that was acknowledged is missing, nothing that was refused is there, and large batches are whole. */
  #judge(state: ClusterState, when: string): void {
    for (const host of this.#acknowledged) {
      if (!Object.hasOwn(state.cordons, host)) this.#break(`${host} was acknowledged and is missing, ${when}`);
    }
    for (const host of this.#refused) {
      if (Object.hasOwn(state.cordons, host)) this.#break(`${host} was refused and is there, ${when}`);
    }
    const parts = new Map<string, number>();
    for (const host of Object.keys(state.cordons)) {
      const [batch = '', part] = host.split('.');
      if (part !== undefined) parts.set(batch, (parts.get(batch) ?? 0) + 1);
    }
    for (const [batch, count] of parts)
      if (count !== LARGE) this.#break(`${count} of ${LARGE} of ${batch} are there, ${when}`);
  }

  /** Somebody changes something through whoever believes to lead. */
  #change(): void {
    this.#world.at(this.#world.nowMs + this.#world.between(20, 500), () => {
      if (this.#chaos) this.#change();
      for (const seat of this.#seats) {
        if (seat.coordinator === null || !seat.process.runs) continue;
        if (this.#world.chance(0.5)) this.#setDoor(seat.coordinator, this.#world.chance(0.5));
        this.#changes += 1;
        const name = `x${this.#changes}`;
        const large = this.#world.chance(0.06);
        const hosts = large ? Array.from({ length: LARGE }, (_, i) => `${name}.${i}`) : [name];
        seat.coordinator
          .change((state) => withCordons(state, hosts))
          .then(
            () => {
              for (const host of hosts) this.#acknowledged.add(host);
            },
            (error: unknown) => {
              const open = error instanceof ShoalError && error.code === 'SHOAL_E_NOT_LEADER';
              if (!open) for (const host of hosts) this.#refused.add(host);
            },
          );
      }
    });
  }

  /** What was acknowledged was so at some moment since it was asked for, also where nothing had to be written. */
  #setDoor(coordinator: Coordinator, drain: boolean): void {
    const since = this.#etcd.revision;
    const cordon = { drain, sinceMs: 0 };
    coordinator
      .change((state) => setCordon(state, DOOR, cordon))
      .then(
        () => {
          const held = this.#etcd.heldSince(`/shoal/data/cordon/${DOOR}`, since);
          if (held.includes(JSON.stringify(cordon))) return;
          this.#break(`${JSON.stringify(cordon)} was acknowledged and never so, but ${held.join(', ')}`);
        },
        // What becomes of it is not known, and the next one may find either.
        () => undefined,
      );
  }

  /** The desired state is said again and again, as when agents reconnect. */
  #say(): void {
    this.#world.at(this.#world.nowMs + 300, () => {
      this.#say();
      for (const seat of this.#seats) if (seat.coordinator !== null) this.#send(seat, seat.coordinator);
    });
  }

  /** As AgentLink does; the network may lose, repeat and delay. */
  #send(seat: Seat, { state, term }: Coordinator): void {
    if (!seat.process.runs || !seat.store.leads()) return;
    for (const agent of this.#agents) {
      const desired = desiredFor(state, agent.name);
      const copies = this.#world.chance(this.#network.lost) ? 0 : this.#world.chance(this.#network.twice) ? 2 : 1;
      for (let copy = 0; copy < copies; copy += 1) {
        const slow = this.#world.chance(this.#network.slow);
        const delayMs = slow ? this.#world.between(1, 2 * this.#network.slowMsMax) : this.#world.between(0.2, 5);
        this.#world.at(this.#world.nowMs + delayMs, () => this.#hear(agent, term, desired));
      }
    }
  }

  /** As the agent's link does. */
  #hear(agent: Agent, term: number, desired: Desired): void {
    const highest = agent.fence.term;
    try {
      if (this.#planted.obedient !== true) {
        agent.fence.admit(term).catch(() => this.#break('a term could not be kept'));
      } else if (term >= highest) agent.fence.admit(term).catch(() => undefined);
    } catch {
      this.#refusedTerms += 1;
      return;
    }
    if (term < highest) this.#break(`${agent.name} obeyed term ${term} after ${highest}`);
    if (agent.desired !== null && desired.revision < agent.desired.revision) return;
    agent.desired = desired;
    this.#obeyed += 1;
  }

  /** Processes are killed and stopped, etcd goes away, leases are ended and clocks on the wall set. */
  #plague(): void {
    this.#world.at(this.#world.nowMs + this.#world.between(200, 2_500), () => {
      if (!this.#chaos) return;
      this.#plague();
      const index = Math.floor(this.#world.random() * COORDINATORS);
      const seat = this.#seats[index] as Seat;
      if (!seat.process.lives) return;
      if (this.#world.chance(0.3)) seat.wallMs += this.#world.between(-WALL_JUMP_MS_MAX, WALL_JUMP_MS_MAX);
      const what = this.#world.random();
      if (what < 0.4) {
        seat.process.kill();
        seat.coordinator = null;
        this.#world.at(this.#world.nowMs + this.#world.between(50, 1_500), () => this.#start(seat.name, index));
      } else if (what < 0.7) seat.process.stop(this.#world.between(50, 4_000));
      else if (what < 0.87) this.#cut(seat);
      else if (what < 0.95) this.#etcd.elect(this.#world.between(50, 3_000));
      else {
        this.#etcd.endLeaseOf('/shoal/leader');
        this.#unawareUntilMs = this.#world.nowMs + UNAWARE_MS_MAX;
      }
    });
  }

  /** A coordinator from etcd, in one direction or in both. */
  #cut(seat: Seat): void {
    const untilMs = this.#world.nowMs + this.#world.between(500, 4_000);
    if (this.#world.chance(0.7)) seat.etcd.cutUntilMs.questions = untilMs;
    else seat.etcd.cutUntilMs.answers = untilMs;
    if (this.#world.chance(0.5)) seat.etcd.cutUntilMs.answers = untilMs;
  }

  /** After every event: at most one believes to lead. */
  #look(): void {
    if (this.#broken !== null) throw new Broken(this.#broken);
    const leaders = this.#seats.filter(({ process, store }) => process.runs && store.leads());
    if (leaders.length > 1 && this.#world.nowMs > this.#unawareUntilMs)
      throw new Broken(`${leaders.map(({ name }) => name).join(' and ')} lead at once`);
  }

  #break(what: string): void {
    this.#broken ??= `${what} (${Math.round(this.#world.nowMs)} ms)`;
  }
}
