import { pino } from 'pino';
import { Fence } from '../../../agent/fence.js';
import { reconcile } from '../../../agent/reconcile.js';
import { applyManifest, desiredFor } from '../../../coordinator/cluster.js';
import { createEventLog } from '../../../coordinator/events.js';
import { Coordinator } from '../../../coordinator/loop.js';
import { EtcdStore } from '../../../coordinator/store/etcd/store.js';
import { ShoalError } from '../../../protocol/errors.js';
import { newsOf } from '../../../protocol/instance-news.js';
import { LIMITS } from '../../../protocol/limits.js';
import type { Desired, InstanceStatus } from '../../../protocol/link.js';
import { parseManifest } from '../../../protocol/manifest-parse.js';
import { type Network, SimClient, SimEtcd } from './sim-etcd.js';
import { Process, World } from './world.js';

const COORDINATORS = 2;
const HOSTS = 3;
const CHAOS_MS = 240_000;
/** Afterwards nothing fails any more; a lost host's singleton has to be made again in this time. */
const CALM_MS = 100_000;
const CLOCK_DRIFT_MAX = 0.04;
const LOG = pino({ level: 'silent' });
const CALM: Network = { lost: 0, twice: 0, answerLost: 0, slow: 0, slowMsMax: 1 };
const SHIM_LOOK_MS = 500;

const manifest = (command: string) => {
  const text = `{app: a, components: {one: {rootfs: host, command: [${command}], singleton: true}}}`;
  const read = parseManifest(text, 'singleton.yaml');
  if (!read.ok) throw new Error(JSON.stringify(read.errors));
  return read.manifest;
};

/** What is broken on purpose, for tests of the simulation itself. */
export interface PlantedInHosts {
  /** Coordinators do not wait until a lease is over. */
  impatient?: boolean;
  /** Nobody ends a singleton whose lease is over. */
  immortal?: boolean;
}

export interface SingletonHistory {
  /** What must not be, if anything; the run ended there. */
  broken: string | null;
  /** How many instances ran, one after another. */
  started: number;
  /** How many the lease's end has ended. */
  leasesOver: number;
}

class Broken extends Error {}

/** A history of one singleton in a cluster under faults, all decided by the seed. */
export async function simulateSingletons(seed: number, planted: PlantedInHosts = {}): Promise<SingletonHistory> {
  const cluster = new SingletonCluster(seed, planted);
  try {
    await cluster.run();
    return cluster.history(null);
  } catch (error) {
    if (error instanceof Broken) return cluster.history(error.message);
    throw error;
  }
}

interface Seat {
  name: string;
  process: Process;
  store: EtcdStore;
  coordinator: Coordinator | null;
  /** Its clock on the wall is set, forwards and back. */
  wallMs: number;
}

/** One connection of an agent; messages of one direction keep their order. */
interface Connection {
  seat: Seat;
  coordinator: Coordinator;
  open: boolean;
  sentRevision: number;
  heardMs: number;
  answeredMs: number;
  /** When the last message of each direction arrives. */
  upMs: number;
  downMs: number;
}

/** A machine: what is on its disk, the processes of its instances, and its agent, which may be killed and stopped. */
interface Host {
  name: string;
  /** Whose clock is that of the machine; its shims are never stopped. */
  machine: Process;
  agent: Process;
  fence: Fence;
  desired: Desired;
  applied: number;
  leaseUntilMs: number;
  /** Instance id → whether it runs; others are on their way up or down. */
  instances: Map<string, { runs: boolean; stopping: boolean }>;
  connection: Connection | null;
  /** No message passes until then, in one direction or in both. */
  cutUntilMs: { up: number; down: number };
}

class SingletonCluster {
  readonly #world: World;
  readonly #planted: PlantedInHosts;
  readonly #etcd: SimEtcd;
  readonly #network: Network;
  readonly #seats: Seat[] = [];
  readonly #hosts: Host[];
  #chaos = true;
  #started = 0;
  #leasesOver = 0;
  #commands = 0;
  #broken: string | null = null;

  constructor(seed: number, planted: PlantedInHosts) {
    this.#world = new World(seed);
    this.#planted = planted;
    this.#etcd = new SimEtcd(this.#world);
    const { random } = this.#world;
    this.#network = { lost: 0.02, twice: 0.02, answerLost: 0.02, slow: 0.1 * random(), slowMsMax: 1_000 * random() };
    for (let i = 0; i < COORDINATORS; i += 1) this.#startSeat(`c${i}`, i);
    this.#hosts = Array.from({ length: HOSTS }, (_, i) => this.#newHost(`h${i}`));
    for (const host of this.#hosts) {
      this.#startAgent(host);
      this.#watchLease(host);
    }
  }

  history(broken: string | null): SingletonHistory {
    return { broken, started: this.#started, leasesOver: this.#leasesOver };
  }

  async run(): Promise<void> {
    this.#plague();
    this.#reshape();
    const look = () => this.#look();
    await this.#world.run(CHAOS_MS, look);
    this.#chaos = false;
    Object.assign(this.#network, CALM);
    await this.#world.run(CHAOS_MS + CALM_MS, look);
    if (this.#running().length !== 1) throw new Broken(`${this.#running().length} run at the end`);
  }

  #running(): string[] {
    return this.#hosts.flatMap(({ name, instances }) =>
      [...instances].flatMap(([id, { runs }]) => (runs ? [`${id} on ${name}`] : [])),
    );
  }

  #look(): void {
    if (this.#broken !== null) throw new Broken(this.#broken);
    const running = this.#running();
    if (running.length > 1)
      throw new Broken(`${running.join(' and ')} run at once (${Math.round(this.#world.nowMs)} ms)`);
  }

  #newHost(name: string): Host {
    const machine = new Process(this.#world, CLOCK_DRIFT_MAX);
    const desired: Desired = { revision: 0, apps: {}, instances: [], shards: {} };
    const fence = new Fence(0, () => Promise.resolve());
    const rest = { fence, desired, applied: 0, leaseUntilMs: 0, connection: null };
    return { name, machine, agent: machine, ...rest, instances: new Map(), cutUntilMs: { up: 0, down: 0 } };
  }

  #startSeat(name: string, index: number): void {
    const process = new Process(this.#world, CLOCK_DRIFT_MAX);
    const etcd = new SimClient(this.#world, process, this.#etcd, this.#network);
    const store = new EtcdStore({ etcd, leaseSeconds: 2, clockwork: process });
    const seat: Seat = { name, process, store, coordinator: null, wallMs: 1_800_000_000_000 };
    this.#seats[index] = seat;
    store.onLeadershipLost(() => {
      if (seat.coordinator === null) return;
      this.#depose(seat);
      this.#lead(seat);
    });
    this.#lead(seat);
  }

  #depose(seat: Seat): void {
    seat.coordinator = null;
    for (const host of this.#hosts) if (host.connection?.seat === seat) this.#hangUp(host);
  }

  #lead(seat: Seat): void {
    const { store, name, process } = seat;
    const clock = () => Math.round(seat.wallMs + this.#world.nowMs);
    const candidate = { name, api: `http://${name}`, link: null };
    Coordinator.open({ store, events: createEventLog(10), clock, log: LOG, candidate, clockwork: process }).then(
      (coordinator) => {
        if (!store.leads()) return this.#lead(seat);
        if (this.#planted.impatient === true) coordinator.observed.leases = { isOver: () => true };
        seat.coordinator = coordinator;
        if (Object.keys(coordinator.state.apps).length === 0) this.#apply(seat);
        coordinator.onChange(() => {
          for (const host of this.#hosts) if (host.connection?.coordinator === coordinator) this.#send(host);
        });
        this.#tick(seat, coordinator);
      },
      (error: unknown) => {
        if (!isPassing(error)) this.#break(`${name}: ${String(error)}`);
        else process.after(100, () => this.#lead(seat));
      },
    );
  }

  #tick(seat: Seat, coordinator: Coordinator): void {
    seat.process.after(1_000, () => {
      if (seat.coordinator !== coordinator) return;
      this.#tick(seat, coordinator);
      for (const host of this.#hosts) {
        const { connection } = host;
        const silentMs = this.#world.nowMs - (connection?.heardMs ?? 0);
        if (connection?.coordinator === coordinator && silentMs > LIMITS.peerSilenceMsMax) this.#hangUp(host);
      }
      this.#passing(coordinator.tick());
    });
  }

  /** The manifest changes, or a host is drained, so that the singleton has to move. */
  #reshape(): void {
    this.#world.at(this.#world.nowMs + this.#world.between(5_000, 60_000), () => {
      if (!this.#chaos) return;
      this.#reshape();
      for (const seat of this.#seats) if (seat.coordinator !== null && seat.process.runs) this.#apply(seat);
    });
  }

  #apply({ coordinator }: Seat): void {
    this.#commands += 1;
    const command = this.#world.chance(0.5) ? 'same' : `c${this.#commands}`;
    this.#passing(coordinator?.change((state) => applyManifest(state, manifest(command))) ?? Promise.resolve());
  }

  /** A message on its way; it is lost with its connection. */
  #carry(host: Host, direction: 'up' | 'down', to: Process, action: () => void): void {
    const { connection } = host;
    if (connection === null) return;
    const last = direction === 'up' ? connection.upMs : connection.downMs;
    const slow = this.#world.chance(this.#network.slow) ? this.#world.between(1, 4_000) : this.#world.between(0.2, 5);
    const atMs = Math.max(last, host.cutUntilMs[direction], this.#world.nowMs + slow);
    if (direction === 'up') connection.upMs = atMs;
    else connection.downMs = atMs;
    to.at(atMs, () => {
      // What was sent still arrives after the coordinator has hung up.
      if (direction === 'up' ? connection.open : host.connection === connection) action();
    });
  }

  /** The coordinator ends a connection, or its process has; the agent hears of it later. */
  #hangUp(host: Host): void {
    const { connection } = host;
    if (connection === null || !connection.open) return;
    connection.open = false;
    connection.coordinator.disconnect(host.name, 'its connection ended');
    this.#carry(host, 'down', host.machine, () => {
      host.connection = null;
    });
  }

  #startAgent(host: Host): void {
    host.agent = new Process(this.#world, 0);
    this.#act(host);
    this.#beat(host, host.agent);
  }

  /** Once a second the agent reports, or dials whoever leads. */
  #beat(host: Host, agent: Process): void {
    agent.at(this.#world.nowMs + this.#world.between(900, 1_100), () => {
      this.#beat(host, agent);
      this.#act(host);
      const { connection } = host;
      if (connection !== null && this.#world.nowMs - connection.answeredMs > LIMITS.answerMsMax) {
        this.#hangUp(host);
        host.connection = null;
      }
      if (host.connection === null) this.#dial(host);
      else this.#report(host);
    });
  }

  #dial(host: Host): void {
    const seat = this.#seats[Math.floor(this.#world.random() * COORDINATORS)] as Seat;
    const { coordinator } = seat;
    const cut = Math.max(host.cutUntilMs.up, host.cutUntilMs.down) > this.#world.nowMs;
    if (cut || coordinator === null || !seat.process.runs || !coordinator.leads()) return;
    if (host.fence.term > coordinator.term) return;
    const { nowMs } = this.#world;
    const times = { heardMs: nowMs, answeredMs: nowMs, upMs: nowMs, downMs: nowMs };
    const connection: Connection = { seat, coordinator, open: true, sentRevision: 0, ...times };
    host.connection = connection;
    const info = { name: host.name, cores: 8, memoryBytes: 2 ** 34, kernel: '6', degraded: [] };
    const present = () => connection.open;
    this.#passing(coordinator.connect(info, host.applied, present).then(() => this.#send(host)));
  }

  /** As AgentLink does. */
  #send(host: Host): void {
    const { connection } = host;
    if (connection === null || !connection.open || !connection.coordinator.leads() || !connection.seat.process.runs)
      return;
    const { state, term } = connection.coordinator;
    const desired = desiredFor(state, host.name);
    if (desired.revision === connection.sentRevision) return;
    connection.sentRevision = desired.revision;
    connection.coordinator.ordered(host.name, desired.revision);
    this.#carry(host, 'down', host.agent, () => this.#obey(host, term, desired));
  }

  #obey(host: Host, term: number, desired: Desired): void {
    if (!this.#admits(host, term) || desired.revision < host.desired.revision) return;
    host.desired = desired;
    this.#act(host);
  }

  #admits(host: Host, term: number): boolean {
    try {
      host.fence.admit(term).catch(() => this.#break('a term could not be kept'));
      return true;
    } catch {
      return false;
    }
  }

  /** As Agent does; starting and stopping take their time. */
  #act(host: Host): void {
    if (host.desired.revision === 0) return;
    const size = { cpu: 1, memory: 1 };
    const never = { draining: false, paused: false, pausable: false };
    const present = [...host.instances].map(([id, { stopping }]) => ({ id, size, ...never, stopping }));
    for (const action of reconcile(host.desired, present)) {
      if (action.kind === 'create') {
        host.instances.set(action.instance.id, { runs: false, stopping: false });
        this.#launch(host, action.instance.id);
      } else if (action.kind === 'terminate') {
        const instance = host.instances.get(action.id);
        if (instance !== undefined) instance.stopping = true;
        host.machine.after(this.#world.between(1, 5_000), () => host.instances.delete(action.id));
      }
    }
    host.applied = host.desired.revision;
  }

  /** As Instance and its shim do: neither begins without a lease. */
  #launch(host: Host, id: string): void {
    host.machine.after(this.#world.between(50, 3_000), () => {
      const instance = host.instances.get(id);
      if (instance === undefined || instance.stopping || instance.runs) return;
      if (this.#leaseHolds(host)) {
        instance.runs = true;
        this.#started += 1;
      } else this.#launch(host, id);
    });
  }

  #leaseHolds(host: Host): boolean {
    return host.machine.nowMs() < host.leaseUntilMs;
  }

  #watchLease(host: Host): void {
    host.machine.after(SHIM_LOOK_MS, () => {
      this.#watchLease(host);
      if (this.#leaseHolds(host) || this.#planted.immortal === true) return;
      for (const [id, instance] of host.instances) {
        if (!instance.runs) continue;
        instance.runs = false;
        this.#leasesOver += 1;
        this.#launch(host, id);
      }
    });
  }

  #report(host: Host): void {
    const { connection, applied } = host;
    if (connection === null) return;
    const asked = host.machine.nowMs();
    const statuses = [...host.instances].map(([id, { runs, stopping }]): InstanceStatus => {
      const phase = stopping ? 'stopping' : runs ? 'ready' : 'starting';
      return { id, app: 'a', component: 'one', phase, size: { cpu: 1, memory: 1 }, restarts: 0, shards: [] };
    });
    this.#carry(host, 'up', connection.seat.process, () => {
      connection.heardMs = this.#world.nowMs;
      const { coordinator } = connection;
      coordinator.report(host.name, { ...newsOf(statuses), revision: applied, events: [] });
      if (!coordinator.leads()) return;
      const isUpToDate = applied >= connection.sentRevision;
      if (isUpToDate) coordinator.prolongLease(host.name);
      this.#carry(host, 'down', host.agent, () => {
        if (!this.#admits(host, coordinator.term)) return;
        connection.answeredMs = this.#world.nowMs;
        if (!isUpToDate) return;
        host.leaseUntilMs = Math.max(host.leaseUntilMs, asked + LIMITS.singletonLeaseMs);
      });
    });
  }

  #plague(): void {
    this.#world.at(this.#world.nowMs + this.#world.between(1_000, 20_000), () => {
      if (!this.#chaos) return;
      this.#plague();
      const host = this.#hosts[Math.floor(this.#world.random() * HOSTS)] as Host;
      const index = Math.floor(this.#world.random() * COORDINATORS);
      const seat = this.#seats[index] as Seat;
      const { nowMs } = this.#world;
      const what = this.#world.random();
      if (what < 0.35) {
        const untilMs = nowMs + this.#world.between(1_000, 80_000);
        if (this.#world.chance(0.7)) host.cutUntilMs.up = untilMs;
        if (this.#world.chance(0.7)) host.cutUntilMs.down = untilMs;
      } else if (what < 0.5) host.agent.stop(this.#world.between(500, 70_000));
      else if (what < 0.65) {
        host.agent.kill();
        this.#hangUp(host);
        host.connection = null;
        this.#world.at(nowMs + this.#world.between(100, 40_000), () => this.#startAgent(host));
      } else if (what < 0.75 && seat.process.lives) {
        seat.process.kill();
        this.#depose(seat);
        this.#world.at(nowMs + this.#world.between(50, 5_000), () => this.#startSeat(seat.name, index));
      } else if (what < 0.85) seat.process.stop(this.#world.between(50, 20_000));
      else if (what < 0.92) seat.wallMs += this.#world.between(-300_000, 300_000);
      else this.#etcd.elect(this.#world.between(50, 10_000));
    });
  }

  #passing(work: Promise<unknown>): void {
    work.catch((error: unknown) => {
      if (!isPassing(error)) this.#break(error instanceof Error ? (error.stack ?? error.message) : String(error));
    });
  }

  #break(what: string): void {
    this.#broken ??= `${what} (${Math.round(this.#world.nowMs)} ms)`;
  }
}

function isPassing(error: unknown): boolean {
  return error instanceof ShoalError && (error.code === 'SHOAL_E_NOT_LEADER' || error.code === 'SHOAL_E_STORE_AWAY');
}
