import { fstatSync } from 'node:fs';
import { mkdir, readdir, rm } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { dirname } from 'node:path';
import type { CachesFigures } from '../protocol/cache-figures.js';
import type { KnownCopy } from '../protocol/control.js';
import { isOnlyRecords } from '../protocol/desired-change.js';
import { ShoalError } from '../protocol/errors.js';
import type { TerminalSize } from '../protocol/exec.js';
import { LIMITS } from '../protocol/limits.js';
import type {
  AgentEvent,
  BuildStatus,
  Desired,
  HostConnection,
  ImageFigures,
  InstanceStatus,
  ListeningPort,
  ProfilerFigures,
  WarmProcesses,
} from '../protocol/link.js';
import type { LogPiece, LogQuestion } from '../protocol/log.js';
import { readLogPiece } from '../protocol/log-files.js';
import { partitionOf } from '../protocol/manifest.js';
import { monotonicMs } from '../protocol/monotonic.js';
import type { Profile, ProfileRequest } from '../protocol/profile.js';
import type { CopyReport } from '../protocol/state-copies.js';
import { keyOfName, shardOfName } from '../protocol/state-copies-parse.js';
import type { StateFigures } from '../protocol/state-figures.js';
import type { WritePart } from '../protocol/state-transfer.js';
import { readJson, writeWhole } from './atomic-file.js';
import { BetweenHosts, type FabricOptions, type ServedHere } from './between-hosts.js';
import { Builds } from './builds/builds.js';
import { CacheThread } from './cache/cache-thread.js';
import type { CacheNews } from './cache/host-caches.js';
import { wantedCaches } from './cache/wanted.js';
import type { Cgroup } from './cgroup.js';
import { ChannelCounts } from './channel-counts.js';
import { Channels, type OpenRequest } from './channels.js';
import { reapInstance } from './crun.js';
import { componentsOf, desiredText, emptyDesired, parseDesired, secretOf } from './desired.js';
import type { InsideProcess } from './exec.js';
import { freeze, Handover, lose } from './handover.js';
import { Instance, type InstanceTools, newRecord } from './instance.js';
import { InstanceWatches } from './instance-watches.js';
import type { SingletonLease } from './lease.js';
import { Peers } from './peers.js';
import { Ports, type WantedPort, wantedPorts } from './ports.js';
import type { Profilers } from './profilers.js';
import { type Action, reconcile } from './reconcile.js';
import { bodyOf, freeSlot, readRecord } from './record.js';
import { type Routable, routesFor } from './routes.js';
import { SecretFiles } from './secret-files.js';
import { Segments } from './segments.js';
import { START_HELD_MS_MAX, StartGate } from './start-gate.js';
import { Copies, type CopyEnvelope } from './state/copies.js';
import { CopyReaders } from './state/copy-readers.js';
import type { Server } from './state/held-copy.js';
import { readShard, type ShardImage } from './state/shard-image.js';
import { SnapshotRound } from './state/snapshot-round.js';
import { Snapshots, type SnapshotsOptions } from './state/snapshots.js';
import { WarmPool } from './warm-pool.js';

type FromInstances =
  | 'gate'
  | 'speaksSdk'
  | 'changed'
  | 'serves'
  | 'event'
  | 'imageCame'
  | 'cgroupMade'
  | 'cgroupGone'
  | 'gone'
  | 'wanted'
  | 'shardWaits'
  | 'copiesWanted'
  | 'shardsChanged'
  | 'openChannel'
  | 'channelClosed'
  | 'secrets'
  | 'ended';
export type AgentTools = Omit<InstanceTools, FromInstances>;

export interface AgentReport {
  instances: InstanceStatus[];
  events: AgentEvent[];
  ports?: ListeningPort[];
  warm?: WarmProcesses[];
  builds?: BuildStatus[];
  images?: ImageFigures;
  connections?: HostConnection[];
  profiler?: ProfilerFigures;
  copies?: Record<string, CopyReport>;
  state?: StateFigures;
  caches?: CachesFigures;
  lags?: Record<string, number>;
}

const EVENTS_MAX = 1_000;
/** So many processes load themselves at once for each core of the host. */
const STARTS_PER_CORE = 4;
/** Calls in vain are told at most so often for each component. */
const WANTED_MS = 1_000;
/** What segments hold is read so often. */
const FIGURES_MS = 2_000;
/** Reports that follow each other within this tell the same samples. */
const MEASURE_MS = 500;

/** All instances of this host: brings them to the desired state and keeps routes, ports and state shards in line. */
export class Agent {
  readonly #tools: InstanceTools;
  readonly #profilers: Profilers;
  readonly #watches: InstanceWatches;
  readonly #lease: SingletonLease;
  readonly #instances = new Map<string, Instance>();
  /** Warm processes that have become instances by a desired state which is not in force yet. */
  readonly #activated = new Set<Instance>();
  readonly #peers: Peers;
  readonly #ports: Ports;
  readonly #channels: Channels;
  /** Null: this host has nothing to do with others. */
  readonly #between: BetweenHosts | null;
  readonly #segments: Segments;
  readonly #copies: Copies;
  readonly #readers: CopyReaders;
  readonly #snapshots: Snapshots;
  readonly #round: SnapshotRound;
  readonly #pool: WarmPool;
  readonly #caches: CacheThread;
  readonly #builds: Builds;
  readonly #handovers = new Map<string, Handover>();
  /** Instance and state shard that is being taken from it. */
  readonly #losing = new Set<string>();
  readonly #wantedMs = new Map<string, number>();
  readonly #listeners = new Set<() => void>();
  #events: AgentEvent[] = [];
  #figures: StateFigures = {};
  #figuresMs = 0;
  #measuredMs = Number.NEGATIVE_INFINITY;
  #connections: HostConnection[] = [];
  #desired: Desired = emptyDesired();
  #applied = 0;
  /** What is to be applied last: what waits before it need not be. */
  #next: Desired = emptyDesired();
  #scheduled = false;
  #routesDue = false;
  /** Components whose state shards are to be looked at: these of them, or all. */
  readonly #shardsDue = new Map<string, Set<number> | 'all'>();
  /** Instances whose sockets callers have been given. */
  #dialable: ReadonlySet<string> = new Set();
  #again: NodeJS.Timeout | undefined;
  #working: Promise<void> = Promise.resolve();
  #applying: Promise<void> = Promise.resolve();
  #opened = false;
  #closed = false;

  constructor(
    tools: AgentTools & {
      lease: SingletonLease;
      host?: { name: string; boot: string };
      snapshots?: SnapshotsOptions;
    },
    profilers: Profilers,
    fabric: FabricOptions | null = null,
  ) {
    this.#profilers = profilers;
    this.#watches = new InstanceWatches(profilers, tools.log);
    this.#lease = tools.lease;
    this.#tools = {
      ...tools,
      speaksSdk: new Map(),
      gate: new StartGate(STARTS_PER_CORE * availableParallelism(), START_HELD_MS_MAX),
      secrets: new SecretFiles(tools.paths.secrets, (app, name) => secretOf(this.#desired, app, name)),
      changed: () => this.#changed(),
      serves: () => this.#serves(),
      event: (instance, kind, message) => this.#event(instance, kind, message),
      imageCame: ({ app, component, id }, text) => this.#push(app, component, id, 'image', text),
      cgroupMade: (path, owner) => this.#watches.watch(path, owner),
      cgroupGone: (path) => this.#watches.unwatch(path),
      gone: (instance) => this.#gone(instance),
      wanted: (instance, component) => this.#wanted(instance.app, component),
      shardWaits: ({ app, component }, { shard, index }) => this.#copies.waits(`${app}/${component}`, shard, index),
      copiesWanted: (instance, shards) => this.#readCopies(instance, shards),
      shardsChanged: ({ app, component }) => this.#shardsChanged(`${app}/${component}`),
      openChannel: (instance, request) => this.#openChannel(instance, request),
      channelClosed: (instance, channel) => this.#channels.closed(instance, channel),
      ended: (instance) => this.#channels.forget(instance.id),
    };
    const counts = new ChannelCounts();
    this.#channels = new Channels(tools.native, counts);
    this.#segments = new Segments(tools.paths.shared);
    const local = {
      granted: (app: string, caller: string, callee: string) => this.#granted(app, caller, callee),
      changed: () => this.#routesChanged(),
      copies: (host: string, messages: readonly CopyEnvelope[]) => this.#copies.receive(host, messages),
    };
    const { name: host, boot } = tools.host ?? { name: '', boot: '' };
    this.#snapshots = new Snapshots(
      tools.snapshots ?? { folder: tools.paths.snapshots, bytesMax: LIMITS.stateSnapshotsBytesMax },
    );
    this.#copies = new Copies({
      host,
      boot,
      log: tools.log,
      path: (key, shard) => this.#segments.path(key, shard),
      send: (to, messages) => this.#between?.sendCopies(to, messages) ?? false,
      server: (key, shard) => this.#serverOf(key, shard),
      changed: (key, shard) => this.#shardsChanged(key, shard),
      came: (key, shard) => this.#shardCame(key, shard),
      tell: () => this.#tell(),
      known: (name) => this.#readers.changed(name),
      problem: (key, message) => this.#push(...partsOf(key), '', 'handover-failed', message),
      snapshots: this.#snapshots,
      restored: (key, message) => this.#push(...partsOf(key), '', 'state-restored', message),
      damaged: (key, message) => this.#push(...partsOf(key), '', 'snapshot-damaged', message),
    });
    this.#readers = new CopyReaders({
      now: monotonicMs,
      ask: (name) => this.#copies.ask(name),
      known: (name) => this.#copies.known(name),
      fileOf: (name) => this.#copies.fileOf(keyOfName(name), shardOfName(name)),
      open: (name) => {
        const { fd } = this.#segments.grant(keyOfName(name), shardOfName(name));
        return { fd, number: fstatSync(fd).ino };
      },
    });
    this.#round = new SnapshotRound({
      snapshots: this.#snapshots,
      log: tools.log,
      clock: tools.clock,
      path: (name) => this.#segments.path(keyOfName(name), shardOfName(name)),
      copies: () => this.#copies.whole(),
      copy: (name) => this.#copies.wholeOf(name),
      wanted: (key) => this.#snapshotsOf(key),
      problem: (key, message) => this.#push(...partsOf(key), '', 'snapshot-failed', message),
    });
    this.#between = fabric === null ? null : new BetweenHosts(fabric, tools, counts, local);
    this.#pool = new WarmPool(this.#tools);
    this.#caches = new CacheThread({ log: tools.log, news: (news) => this.#cacheNews(news) });
    this.#builds = new Builds({
      prepare: (source, onStep, told) => tools.rootfs.prepare(source, onStep, told),
      cancel: (id) => tools.rootfs.cancelBuild(id),
      idOf: (source) => tools.rootfs.buildId(source),
      clock: tools.clock,
      log: tools.log,
      changed: () => this.#tell(),
      event: (app, component, kind, message) => this.#push(app, component, '', kind, message),
    });
    this.#peers = new Peers(tools.paths, tools.log);
    this.#ports = new Ports(
      tools.paths,
      {
        wanted: (app, component) => this.#wanted(app, component),
        failed: (app, component, message) => this.#push(app, component, '', 'port-failed', message),
        listening: () => this.#tell(),
      },
      tools.log,
    );
  }

  /** Revision of the desired state that is in force; 0 before the first. */
  get applied(): number {
    return this.#applied;
  }

  /** What to ask with that the lease for the singletons of this host be prolonged; undefined: there are none. */
  get leaseAsked(): number | undefined {
    const { apps, instances } = this.#desired;
    const wanted = instances.some(({ app, component }) => apps[app]?.[component]?.singleton === true);
    return wanted ? this.#lease.now() : undefined;
  }

  /** The leader has answered what was asked then. */
  prolongLease(asked: number): Promise<void> {
    return this.#lease.prolong(asked);
  }

  /** HOST:PORT where it takes the agents of other hosts; undefined when it takes none. */
  get fabricAddress(): string | undefined {
    return this.#between?.address;
  }

  /** Called when a report would say something new. */
  onChange(listener: () => void): void {
    this.#listeners.add(listener);
  }

  /** Takes over what is there: adopts instances that run, reaps dead ones, applies the last known desired state. */
  async open(): Promise<void> {
    const { paths, log } = this.#tools;
    for (const folder of [paths.run, paths.instances, paths.rootfs])
      await mkdir(folder, { recursive: true, mode: 0o711 });
    await mkdir(paths.crunRoot, { recursive: true, mode: 0o700 });
    await this.#peers.clear();
    this.#desired = await this.#stored();
    await this.#snapshots.open();
    this.#copies.apply(this.#desired);
    for (const entry of await readdir(paths.instances, { withFileTypes: true })) {
      const body = entry.name;
      const record = await readRecord(paths.instance(body).record);
      if (entry.isSymbolicLink()) {
        // The id of one that was warm; what it names is in the list as well.
        if (record?.id !== body) await rm(paths.instance(body).directory);
        continue;
      }
      if (record === null || bodyOf(record) !== body) {
        log.warn({ instance: body }, 'an instance without a record is removed');
        await reapInstance(paths, this.#tools.crun, body);
        await rm(paths.instance(body).directory, { recursive: true, force: true });
        continue;
      }
      const instance = new Instance(this.#tools, record);
      if (record.warm) {
        await this.#pool.end(instance);
        continue;
      }
      this.#instances.set(record.id, instance);
      await instance.adopt();
    }
    await this.#removeStrayCgroups();
    await this.#tools.cores.settle();
    await this.#between?.open();
    void this.#tools.rootfs.collect();
    this.#profilers.recorder?.start();
    this.#builds.open();
    this.#opened = true;
    this.#changed();
  }

  /** The last known desired state. One that cannot be read is as none: the coordinator sends it again. */
  async #stored(): Promise<Desired> {
    const stored = await readJson(this.#tools.paths.desired);
    if (stored === null) return emptyDesired();
    try {
      return parseDesired(stored);
    } catch (error) {
      this.#tools.log.error({ err: error, file: this.#tools.paths.desired }, 'the stored desired state is damaged');
      return emptyDesired();
    }
  }

  /**
   * Makes the desired state this host's own. It is written down before anything is done about it, but that processes which wait
   * become instances: who has begun to wait for those shall not wait for a file, and a next agent ends what it knows as warm.
   */
  apply(desired: Desired): Promise<void> {
    const activated = this.#activateWaiting(desired);
    this.#next = desired;
    // One after the other: they share a file.
    const applied = this.#applying.then(() => this.#apply(desired, activated));
    this.#applying = applied.catch(() => undefined);
    return applied;
  }

  async #apply(desired: Desired, activated: readonly Instance[]): Promise<void> {
    const before = this.#desired;
    try {
      if (desired.revision < this.#desired.revision) return;
      if (desired.revision < this.#next.revision && activated.length === 0) return;
      await writeWhole(this.#tools.paths.desired, desiredText(desired));
      this.#desired = desired;
    } finally {
      for (const instance of activated) {
        this.#activated.delete(instance);
        this.#instances.set(instance.id, instance);
      }
    }
    this.#copies.apply(desired);
    // While state moves that is all, again and again; what it changes for instances the copies say.
    const isSettled = this.#applied === before.revision && activated.length === 0;
    if (!isSettled || !isOnlyRecords(before, desired)) return this.#sync();
    this.#applied = desired.revision;
  }

  /** Of the instances whose process runs, by a name that no other one has. */
  cgroups(): ReadonlyMap<string, Cgroup> {
    const running = [...this.#instances.values()].filter((each) => each.running);
    return new Map(running.map(({ cgroup }) => [cgroup.path, cgroup]));
  }

  /** Statuses of all instances, with a sample each; what has happened; the host ports that listen. */
  async report(): Promise<AgentReport> {
    const instances = [...this.#instances.values()];
    await this.#measure(instances);
    const events = this.#events;
    this.#events = [];
    const { recorder } = this.#profilers;
    return {
      ...(recorder === null ? {} : { profiler: recorder.figures() }),
      instances: instances.map((each) => each.status()),
      events,
      ports: this.#ports.listening(),
      warm: await this.#pool.cost(),
      builds: this.#builds.statuses(),
      images: this.#tools.rootfs.imageFigures,
      connections: this.#connections,
      copies: this.#copies.reports(),
      state: this.#stateFigures(),
      caches: this.#caches.figures,
      lags: lagsOf(instances),
    };
  }

  async #measure(instances: readonly Instance[]): Promise<void> {
    const nowMs = performance.now();
    const isDue = nowMs - this.#measuredMs >= MEASURE_MS;
    // One that is new has no sample to tell again.
    const due = isDue ? instances : instances.filter((each) => !each.isMeasured);
    if (due.length === 0 && !isDue) return;
    if (isDue) this.#measuredMs = nowMs;
    if (isDue) this.#connections = this.#between?.connections() ?? [];
    this.#watches.retry();
    const figures = this.#readFigures();
    if (figures === null) return;
    const { cpu, activity } = figures;
    for (const { cgroup, stateAccess } of due) {
      if (stateAccess !== undefined) this.#profilers.recorder?.noteAccess(cgroup.path, stateAccess);
    }
    await Promise.all(
      due.map((each) =>
        each.measure(cpu?.get(each.cgroup.path), activity?.get(each.cgroup.path)).catch((error: unknown) => {
          this.#tools.log.warn({ err: error, instance: each.id }, 'cannot measure an instance');
        }),
      ),
    );
  }

  /**
   * Null where the kernel refuses for once: a report has more to tell than these, and samples stay as they are, since those of
   * the cgroup's own accounting begin elsewhere.
   */
  #readFigures() {
    const { cpu, activity } = this.#profilers;
    try {
      return { cpu: cpu?.read(), activity: activity?.read() };
    } catch (error) {
      this.#tools.log.warn({ err: error }, 'cannot read figures of instances');
      return null;
    }
  }

  /** Read now and then: a header is read from each segment. */
  #stateFigures(): StateFigures {
    const nowMs = Date.now();
    if (Math.abs(nowMs - this.#figuresMs) < FIGURES_MS) return this.#figures;
    this.#figuresMs = nowMs;
    this.#figures = this.#segments.allFigures();
    return this.#figures;
  }

  /** Events that could not be delivered come first next time. */
  keep(events: readonly AgentEvent[]): void {
    this.#events = [...events, ...this.#events].slice(-EVENTS_MAX);
  }

  /** Ends all instances of this host and waits until they are gone. */
  async stopInstances(): Promise<void> {
    await this.apply({ ...emptyDesired(), revision: Math.max(1, this.#desired.revision) });
    while (this.#instances.size > 0 || this.#pool.all.length > 0) {
      await new Promise<void>((resolve) => {
        const listener = () => {
          this.#listeners.delete(listener);
          resolve();
        };
        this.#listeners.add(listener);
      });
    }
  }

  /** The agent stops; its instances go on. */
  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#again);
    this.#builds.close();
    this.#tools.rootfs.close();
    await this.#working;
    await this.#round.close();
    this.#readers.close();
    this.#copies.close();
    await this.#caches.close();
    for (const handover of this.#handovers.values()) handover.stop();
    for (const instance of this.#bodies) instance.detach();
    this.#ports.close();
    this.#between?.close();
    this.#profilers.cpu?.close();
    await this.#profilers.recorder?.close();
    this.#profilers.activity?.close();
  }

  /** What a component did here. Throws SHOAL_E_HOST where stacks cannot be had. */
  async profile(request: ProfileRequest): Promise<Profile> {
    const { recorder, stacksProblem } = this.#profilers;
    if (recorder !== null) return recorder.read(request);
    throw new ShoalError('SHOAL_E_HOST', `no profiles: ${stacksProblem ?? 'the agent runs with --profile-hertz 0'}`);
  }

  /** A piece of the log of an instance or a build, also of one that is no more while its folder is there. */
  readLog({ kind, id, from }: LogQuestion): Promise<LogPiece> {
    const { paths } = this.#tools;
    return readLogPiece(dirname(kind === 'instance' ? paths.instance(id).log : paths.buildLog(id)), from);
  }

  /** Starts a command in an instance. Throws SHOAL_E_NOT_FOUND, or SHOAL_E_CONFLICT while none of its processes runs. */
  async startCommand(id: string, command: readonly string[], terminal: TerminalSize | null): Promise<InsideProcess> {
    const instance = this.#instances.get(id);
    if (instance === undefined) throw new ShoalError('SHOAL_E_NOT_FOUND', `there is no ${id} on this host now`);
    return instance.startCommand(command, terminal);
  }

  /** What a state shard holds that this host owns. Rejects with SHOAL_E_NOT_FOUND, SHOAL_E_SHARD_MOVED or as readShard. */
  async readShard(key: string, shard: number): Promise<ShardImage> {
    this.#assertOwned(key, shard);
    const image = await readShard(this.#segments.path(key, shard));
    // Else it may be what was there before another host had the shard.
    this.#assertOwned(key, shard);
    return image;
  }

  /** Has the owner of a state shard take in entries, as ordinary writes. Rejects with SHOAL_E_SHARD_MOVED, or the owner's reason. */
  async writeShard(key: string, part: WritePart): Promise<number> {
    const { shard } = part;
    this.#assertOwned(key, shard);
    const owner = [...this.#instances.values()].find(({ app, component, control }) => {
      const holds = control.connected && control.shards?.includes(shard) === true && !control.frozen.includes(shard);
      return `${app}/${component}` === key && holds;
    });
    if (owner === undefined)
      throw new ShoalError('SHOAL_E_SHARD_MOVED', `no instance serves state shard ${shard} here`);
    return owner.control.command({ ...part, type: 'shard-import' });
  }

  /** While nothing is known of what shall be here, all stays. */
  #snapshotsOf(key: string): { everyMs: number; shards: number } | null {
    const [app, component] = partsOf(key);
    const partition = partitionOf(componentsOf(this.#desired, app)[component]);
    const everyMs = this.#desired.revision === 0 ? Number.POSITIVE_INFINITY : partition?.snapshotMs;
    return everyMs === undefined ? null : { everyMs, shards: partition?.shards ?? 0 };
  }

  #assertOwned(key: string, shard: number): void {
    const map = Object.hasOwn(this.#desired.shards, key) ? this.#desired.shards[key] : undefined;
    const isKnown = map === undefined || shard < map.owners.length;
    if (!isKnown) throw new ShoalError('SHOAL_E_NOT_FOUND', `${key} has no state shard ${shard}`);
    if (map !== undefined && this.#copies.serves(key, shard)) return;
    throw new ShoalError('SHOAL_E_SHARD_MOVED', `this host does not own state shard ${shard} of ${key}`);
  }

  #changed(): void {
    if (this.#scheduled || this.#closed || !this.#opened) return;
    this.#scheduled = true;
    setImmediate(() => void this.#sync());
  }

  /** What could not be done may be possible in a while, and nothing else need change until then. */
  #tryAgain(): void {
    if (this.#again !== undefined || this.#closed) return;
    this.#again = setTimeout(() => {
      this.#again = undefined;
      this.#changed();
    }, LIMITS.heartbeatMs);
    this.#again.unref();
  }

  /** One after the other; a failure is logged, and tried again with the next change or in a second. */
  #sync(): Promise<void> {
    this.#working = this.#working.then(async () => {
      this.#scheduled = false;
      if (this.#closed) return;
      try {
        await this.#act();
        await this.#publish();
      } catch (error) {
        this.#tools.log.error({ err: error }, 'cannot bring the host to the desired state; trying again');
        this.#tryAgain();
      }
      this.#tell();
    });
    return this.#working;
  }

  async #act(): Promise<void> {
    const desired = this.#desired;
    // Nothing is known of what shall be here: what runs goes on until the coordinator says otherwise.
    if (desired.revision === 0) return;
    this.#segments.keepOnly(
      new Set([...Object.keys(desired.shards), ...Object.keys(desired.copies ?? {}).map(keyOfName)]),
    );
    for (const action of reconcile(desired, [...this.#instances.values()])) await this.#do(action);
    // Records of copies may have come meanwhile.
    this.#applied = Math.max(this.#applied, desired.revision);
    this.#builds.sync(desired);
    const starting = [...this.#instances.values(), ...this.#activated];
    // What takes the place of a warm process takes no CPU from the first calls of the instance that it has become.
    const busy = starting.some(({ isNewStart, isFresh }) => isNewStart || isFresh);
    const heldUp = await this.#pool.sync(desired, !busy, () => this.#freeSlot());
    if (heldUp) this.#tryAgain();
  }

  #activateWaiting(desired: Desired): Instance[] {
    const isStale = desired.revision < this.#desired.revision;
    if (isStale || !this.#opened || this.#closed || this.#pool.all.length === 0) return [];
    const activated: Instance[] = [];
    for (const action of reconcile(desired, [...this.#instances.values(), ...this.#activated])) {
      const warm = action.kind === 'create' ? this.#activate(action) : undefined;
      if (warm !== undefined) activated.push(warm);
    }
    for (const warm of activated) this.#activated.add(warm);
    return activated;
  }

  /** A warm process that is this instance from now on; undefined: none waits. */
  #activate({ instance, component }: Extract<Action, { kind: 'create' }>): Instance | undefined {
    const warm = this.#pool.take(instance, component);
    warm?.activate(instance).catch((error: unknown) => {
      this.#tools.log.error({ err: error, instance: instance.id }, 'cannot write down an activated instance');
    });
    return warm;
  }

  async #do(action: Action): Promise<void> {
    if (action.kind === 'create') {
      const warm = this.#activate(action);
      if (warm !== undefined) {
        this.#instances.set(warm.id, warm);
        return;
      }
      const slot = this.#freeSlot();
      if (slot === null) throw new Error('every range of user ids of this host is in use');
      const instance = new Instance(this.#tools, newRecord(action.instance, action.component, slot));
      this.#instances.set(instance.id, instance);
      // Not awaited: a slow image holds up nobody else.
      void instance.start();
      return;
    }
    const instance = this.#instances.get(action.id);
    if (action.kind === 'resize') await instance?.resize(action.size);
    else if (action.kind === 'drain') instance?.drain();
    else if (action.kind === 'pause') await instance?.pause(action.paused);
    else await instance?.terminate();
  }

  /** All that has processes here, or is to have some. */
  get #bodies(): Instance[] {
    return [...this.#instances.values(), ...this.#activated, ...this.#pool.all];
  }

  #freeSlot(): number | null {
    return freeSlot(new Set(this.#bodies.map((each) => each.slot)));
  }

  /** Links, routes, ports and state shards by what runs now. */
  async #publish(): Promise<void> {
    const instances = [...this.#instances.values()];
    // So that routes need not wait for the links when it is ready.
    const linked = instances.filter((each) => isUp(each) || each.listensEarly);
    const grants = Object.entries(this.#desired.apps).flatMap(([app, components]) =>
      Object.entries(components).flatMap(([caller, { calls }]) =>
        linked.flatMap((callee) =>
          callee.app === app && calls.includes(callee.component) ? [{ app, caller, callee }] : [],
        ),
      ),
    );
    this.#dialable = await this.#peers.sync(grants);
    if (grants.some(({ callee }) => !this.#dialable.has(callee.id))) this.#tryAgain();
    this.#tellRoutes();
    this.#wantCaches();
    await this.#ports.sync(this.#wantedPorts());
    this.#handOver(instances);
  }

  /** To instances of this host where their calls go, and to other hosts what is served here. */
  #tellRoutes(): void {
    const weightOf = this.#weightOf();
    const instances = [...this.#instances.values()];
    const routables: Routable[] = instances.filter(isUp).map((each) => ({
      id: each.id,
      app: each.app,
      component: each.component,
      serving: each.phase === 'ready' && !each.draining && this.#dialable.has(each.id),
      shards: each.control.shards ?? [],
      frozen: each.control.frozen,
      weight: weightOf(each.id),
    }));
    this.#between?.want(this.#desired);
    const all = [...(this.#between?.routables() ?? []), ...routables];
    for (const instance of instances) {
      const components = componentsOf(this.#desired, instance.app);
      const caller = components[instance.component] ?? instance.made;
      instance.sendRoutes(this.#desired.revision, routesFor(instance.app, instance.component, caller, components, all));
    }
    this.#between?.serve(this.#desired, routables.map(servedHere));
  }

  #wantedPorts(): WantedPort[] {
    const serving = [...this.#instances.values()].filter(({ phase, draining }) => phase === 'ready' && !draining);
    return wantedPorts(this.#desired.apps, serving, this.#weightOf());
  }

  /** Calls and connections may wait for one that serves now: they come before all that is looked at besides. */
  #serves(): void {
    this.#routesChanged();
    if (this.#ports.areAwaited) this.#ports.lead(this.#wantedPorts());
  }

  #weightOf(): (id: string) => number {
    const weights = new Map(this.#desired.instances.map(({ id, weight = 1 }) => [id, weight]));
    return (id) => weights.get(id) ?? 1;
  }

  /** Who serves, here or on other hosts: told at once, since calls wait for it. */
  #routesChanged(): void {
    if (this.#routesDue || this.#closed || !this.#opened || this.#desired.revision === 0) return;
    this.#routesDue = true;
    setImmediate(() => {
      this.#routesDue = false;
      if (!this.#closed) this.#tellRoutes();
    });
  }

  #wantCaches(): void {
    const desired = this.#desired;
    const instances = this.#bodies.filter(({ listening }) => listening);
    const cached = instances.map((each) => ({
      app: each.app,
      component: each.component,
      made: each.made,
      owner: each.ids.base,
      socket: (name: string) => each.socket(name),
    }));
    const componentOf = (app: string, component: string) => componentsOf(desired, app)[component];
    this.#caches.want(wantedCaches(cached, componentOf, (app, name) => secretOf(desired, app, name)));
  }

  #cacheNews({ of, trouble }: CacheNews): void {
    const [app, component] = partsOf(of);
    if (trouble === null) this.#push(app, component, '', 'cache-reached', 'its cache answers');
    else this.#push(app, component, '', 'cache-failed', `its cache cannot be reached: ${trouble}`);
    this.#tell();
  }

  #openChannel(caller: Instance, request: OpenRequest): void {
    const { component, instance: id } = request;
    const there = this.#instances.has(id) ? undefined : this.#between?.find(id);
    if (there?.app === caller.app && there.component === component) {
      this.#between?.call(caller, request, there, () => this.#assertGranted(caller.app, caller.component, component));
      return;
    }
    this.#channels.open(caller, request, () => {
      this.#assertGranted(caller.app, caller.component, component);
      const callee = this.#granted(caller.app, caller.component, id);
      if (callee.component === component) return callee;
      throw new ShoalError('SHOAL_E_NO_INSTANCE', `${id} is no instance of ${caller.app}/${component}`);
    });
  }

  #assertGranted(app: string, caller: string, callee: string): void {
    if (componentsOf(this.#desired, app)[caller]?.calls.includes(callee)) return;
    const detail = `${app}/${caller} may not call ${callee}: add it to its \`calls\` in the manifest`;
    throw new ShoalError('SHOAL_E_NOT_GRANTED', detail);
  }

  /** The instance of this host that a caller may have a channel to; throws when it is not there or not granted. */
  #granted(app: string, caller: string, id: string): Instance {
    const callee = this.#instances.get(id);
    if (callee?.app !== app || !isUp(callee)) {
      throw new ShoalError('SHOAL_E_NO_INSTANCE', `${id} is no instance of ${app} that serves on this host`);
    }
    this.#assertGranted(app, caller, callee.component);
    return callee;
  }

  #handOver(instances: readonly Instance[]): void {
    for (const [key, handover] of this.#handovers) {
      if (Object.hasOwn(this.#desired.shards, key)) continue;
      handover.stop();
      this.#handovers.delete(key);
    }
    for (const key of Object.keys(this.#desired.shards)) {
      if (!this.#handovers.has(key)) {
        const handover = new Handover(this.#tools.log, key, this.#segments, {
          changed: () => this.#shardsChanged(key),
          note: (instance, kind, message) => this.#event(instance, kind, message),
          fileOf: (shard) => this.#copies.fileOf(key, shard),
          heldOf: (shard) => this.#copies.heldOf(key, shard),
        });
        this.#handovers.set(key, handover);
      }
      this.#handOverOf(key, instances);
    }
  }

  #handOverOf(key: string, instances: Iterable<Instance>): void {
    const map = this.#desired.shards[key];
    if (map === undefined) return;
    const ours = ownersOf(key, instances);
    for (const instance of ours) {
      for (const shard of this.#copies.strays(key, instance.control.shards ?? [])) this.#loseStray(instance, shard);
    }
    const here = this.#copies.owners(key, map, new Set(ours.map(({ id }) => id)));
    this.#handovers.get(key)?.run(map, here, ours, this.#copies.waiting(key));
  }

  #shardCame(key: string, shard: number): void {
    if (!this.#closed && this.#opened) this.#handOverShard(key, shard, ownersOf(key, this.#instances.values()));
  }

  #handOverShard(key: string, shard: number, ours: readonly Instance[]): void {
    const map = this.#desired.shards[key];
    if (map === undefined) return;
    for (const instance of ours) {
      const holds = instance.control.shards?.includes(shard) === true;
      if (holds && this.#copies.strays(key, [shard]).length > 0) this.#loseStray(instance, shard);
    }
    const owner = this.#copies.ownerOf(key, shard, map, new Set(ours.map(({ id }) => id)));
    this.#handovers.get(key)?.look(shard, owner, ours);
    for (const file of this.#copies.waitingIn(key, shard)) this.#handovers.get(key)?.wait(shard, file, map, ours);
  }

  /** As after a time in which this agent was not there. */
  #loseStray(instance: Instance, shard: number): void {
    const name = `${instance.id} ${shard}`;
    if (!instance.control.connected || this.#losing.has(name)) return;
    this.#losing.add(name);
    lose(instance, shard)
      .catch((error: unknown) => this.#tools.log.warn({ err: error, shard }, 'a state shard could not be taken away'))
      .finally(() => this.#losing.delete(name));
  }

  /** Before the next look at everything, since calls wait for it; once for all that changes together. */
  #shardsChanged(key: string, shard: number | null = null): void {
    if (this.#closed || !this.#opened) return;
    const isScheduled = this.#shardsDue.size > 0;
    const due = this.#shardsDue.get(key) ?? new Set();
    this.#shardsDue.set(key, due === 'all' || shard === null ? 'all' : due.add(shard));
    if (isScheduled) return;
    setImmediate(() => {
      const dues = [...this.#shardsDue];
      this.#shardsDue.clear();
      if (this.#closed) return;
      for (const [each, shards] of dues) {
        const ours = ownersOf(each, this.#instances.values());
        if (shards === 'all') this.#handOverOf(each, ours);
        else for (const one of shards) this.#handOverShard(each, one, ours);
      }
      this.#routesChanged();
      this.#tell();
    });
  }

  #readCopies(instance: Instance, shards: readonly number[]): void {
    const { id, app, component, restarts, control, channels, made } = instance;
    const { partition } = componentsOf(this.#desired, app)[component] ?? made;
    const { shards: count = 0, stalenessMs } = partition ?? {};
    if (stalenessMs === undefined) return;
    const reader = {
      id: `${id} ${restarts}`,
      offer: (shard: number, file: number, fd: number) => channels.send({ type: 'copy', shard, file }, [fd]),
      tell: (copies: KnownCopy[]) => control.sendKnown(copies),
    };
    const theirs = shards.filter((shard) => shard < count);
    this.#readers.want(`${app}/${component}`, reader, theirs, stalenessMs);
  }

  /** Who has the shard here and can be spoken with: between freeze and drop two have it, and one serves. */
  #serverOf(key: string, shard: number): Server | undefined {
    const holders = [...this.#instances.values()].filter(
      (each) => isOf(each, key) && each.control.connected && each.control.shards?.includes(shard) === true,
    );
    const instance = holders.find(({ control }) => !control.frozen.includes(shard)) ?? holders[0];
    if (instance === undefined) return undefined;
    return {
      freeze: (to) => freeze(instance, shard, to),
      drop: () => lose(instance, shard),
      held: (index, untilMs) => instance.control.sendHeld(shard, index, untilMs),
    };
  }

  async #removeStrayCgroups(): Promise<void> {
    const { paths, crun } = this.#tools;
    const bodies = new Set([...this.#instances.values(), ...this.#pool.all].map((each) => each.body));
    const entries = await readdir(paths.cgroupRoot, { withFileTypes: true });
    for (const entry of entries) {
      if (!entry.isDirectory() || bodies.has(entry.name)) continue;
      await reapInstance(paths, crun, entry.name);
    }
  }

  #gone(instance: Instance): void {
    if (this.#pool.forget(instance)) {
      this.#changed();
      return;
    }
    this.#instances.delete(instance.id);
    this.#event(instance, 'terminated', 'is gone from the host');
    this.#ports.forget(instance).catch((error: unknown) => this.#tools.log.warn({ err: error }, 'cannot remove links'));
    this.#changed();
  }

  #wanted(app: string, component: string): void {
    const key = `${app}/${component}`;
    const now = this.#tools.clock();
    if (now - (this.#wantedMs.get(key) ?? 0) < WANTED_MS) return;
    if (componentsOf(this.#desired, app)[component] === undefined) return;
    this.#wantedMs.set(key, now);
    this.#push(app, component, '', 'no-instance', 'is called but has no instance that serves');
    this.#tell();
  }

  /** A report would say something new. */
  #tell(): void {
    for (const listener of [...this.#listeners]) listener();
  }

  #event(instance: Instance, kind: string, message: string): void {
    this.#tools.log.info({ instance: instance.id, kind }, message);
    this.#push(instance.app, instance.component, instance.id, kind, message);
  }

  #push(app: string, component: string, instance: string, kind: string, message: string): void {
    this.#events.push({ atMs: this.#tools.clock(), app, component, instance, kind, message });
    if (this.#events.length > EVENTS_MAX) this.#events.shift();
  }
}

function servedHere({ id, app, component, serving, shards, frozen, weight }: Routable): ServedHere {
  return { id, app, component, serving, shards: [...shards], frozen: [...frozen], weight };
}

function isOf({ app, component }: Instance, key: string): boolean {
  return key === `${app}/${component}`;
}

/** Instances of the component that may own state shards. */
function ownersOf(key: string, instances: Iterable<Instance>): Instance[] {
  return [...instances].filter((each) => isOf(each, key) && !each.stopping);
}

function partsOf(key: string): [app: string, component: string] {
  const cut = key.indexOf('/');
  return [key.slice(0, cut), key.slice(cut + 1)];
}

/** Whether it has been ready: calls that it has begun go on, whether or not it gets new ones. */
function isUp({ phase }: Instance): boolean {
  return phase === 'ready' || phase === 'draining' || phase === 'unready' || phase === 'paused';
}

/** The agent's loop measures and reports this often. */
export const REPORT_MS = LIMITS.heartbeatMs;

/** By id: those that tell one. */
function lagsOf(instances: readonly Instance[]): Record<string, number> {
  return Object.fromEntries(
    instances.flatMap(({ id, stateLagMs }) => (stateLagMs === undefined ? [] : [[id, stateLagMs]])),
  );
}
