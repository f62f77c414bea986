import assert from 'node:assert/strict';
import { access, readFile, rm, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import type { Logger } from 'pino';
import type { Activity, CpuTimes, NativeHost, PidWatch } from '../native/index.js';
import type { ChannelRequest } from '../protocol/channels.js';
import { type InstanceStats, PORTS_FOLDER, type Route, type StateAccess } from '../protocol/control.js';
import { ShoalError, toShoalError } from '../protocol/errors.js';
import type { TerminalSize } from '../protocol/exec.js';
import { LIMITS } from '../protocol/limits.js';
import type { DesiredInstance, InstancePhase, InstanceStatus, Sample, Size } from '../protocol/link.js';
import type { Component, Probe } from '../protocol/manifest.js';
import { restartDelayMs, restartsInARow } from './backoff.js';
import { Cgroup, type Usage } from './cgroup.js';
import { ChannelSocket } from './channel-socket.js';
import { Control, type ShardWaits } from './control.js';
import { reapInstance } from './crun.js';
import { type Ended, endCommandsIn, execInside, type InsideProcess, startInside, startInTerminal } from './exec.js';
import {
  type Exit,
  type LaunchTools,
  launch,
  makeSocketFolder,
  ownCoresOf,
  portSockets,
  readExit,
  readPid,
} from './launch.js';
import type { SingletonLease } from './lease.js';
import { ask, type Probed } from './probe.js';
import { activityFields } from './profiles/activity.js';
import { bodyOf, type InstanceRecord, idsOfSlot, writeRecord } from './record.js';
import type { Resized } from './resize.js';
import { Sizing } from './sizing.js';
import { captureSocket } from './sockets.js';
import { START_HELD_MS_MAX, type StartGate } from './start-gate.js';

export interface InstanceTools extends LaunchTools {
  native: NativeHost;
  clock: () => number;
  log: Logger;
  lease: Pick<SingletonLease, 'holds'>;
  /** Processes start through it. */
  gate: StartGate;
  /** By app/component: whether its processes speak the SDK. Those that came up without a word of it are up as soon as they run. */
  speaksSdk: Map<string, boolean>;
  /** Something that routes, plan or report depend on has changed. */
  changed(): void;
  /** It gets calls from now on, for which some may wait. */
  serves(): void;
  event(instance: Instance, kind: string, message: string): void;
  /** The cgroup of an instance is about to go. */
  cgroupGone(path: string): void;
  /** An instance is gone from the host and its folder removed. */
  gone(instance: Instance): void;
  wanted(instance: Instance, component: string): void;
  /** Calls on a state shard wait for its other copies. */
  shardWaits(instance: Instance, message: ShardWaits): void;
  /** It reads state shards that others own. */
  copiesWanted(instance: Instance, shards: readonly number[]): void;
  /** It holds other state shards than it said before. */
  shardsChanged(instance: Instance): void;
  /** The instance asks for a channel to another. */
  openChannel(instance: Instance, request: Extract<ChannelRequest, { type: 'open' }>): void;
  channelClosed(instance: Instance, channel: number): void;
  /** The process of an instance has ended. */
  ended(instance: Instance): void;
}

const SIGTERM = 15;
/** How often readiness is looked for in an instance that does not use the SDK. */
const PROBE_MS = 25;
/** How often one that serves is asked at most whether it still is ready. */
const STILL_READY_MS_MIN = 1_000;
/** How often it is looked whether a singleton may start. */
const LEASE_LOOK_MS = 100;
/** A process without SDK and ports counts as ready when it has run for so long; longer where others of its component had the SDK. */
const PLAIN_READY_MS = 1_000;
const SLOW_TO_SPEAK_MS = 10_000;
/** Most processes that have waited are ready so long after they were told who they are. */
const ACTIVATION_MS = 10;
/** First calls come within this, where somebody waits for an instance. */
const FRESH_MS = 250;
/** So many ends in a row are told as a loop, once. */
const CRASH_LOOP = 5;
/** That a process says too much is told at most so often. */
const FLOOD_TOLD_MS = 60_000;

/**
 * One micro-instance from its creation to its removal: starts it, starts it again when it ends unasked, notices that it
 * is ready, resizes it and ends it. Survives the agent: everything needed to go on is in the record and the shim.
 */
export class Instance {
  /** First of the host ids that its users have, and how many. */
  readonly ids: { base: number; count: number };
  readonly #tools: InstanceTools;
  #record: InstanceRecord;
  readonly #control: Control;
  readonly #channels: ChannelSocket;
  readonly #cgroup: Cgroup;
  readonly #sizing: Sizing;
  #phase: InstancePhase = 'starting';
  #draining = false;
  #isUnpausable = false;
  #paused = false;
  /** Why its own probe fails since it was ready; null while it does not. */
  #unreadyFor: string | null = null;
  #watch: PidWatch | undefined;
  #shimPid: number | undefined;
  #pid: number | undefined;
  #startedMs = 0;
  #createdMs: number;
  #inARow = 0;
  #saidReady = false;
  #waiting = false;
  /** So that it speaks the SDK's protocol, and is ready when it says so. */
  #hasWaited = false;
  #routes = '';
  #exit: Exit | undefined;
  /** Why the agent has killed the process that runs now, told as the reason of its end. */
  #killedFor: string | undefined;
  /** Why the last resize was not carried out; null when it was. */
  #resizeRefused: string | null = null;
  /** Why the probe for readiness has failed last. */
  #notReadyFor: string | null = null;
  /** Failures of the probe for liveness, in a row. */
  #failures = 0;
  #heardMs: number | null = null;
  #floodToldMs = Number.NEGATIVE_INFINITY;
  #stats: InstanceStats | undefined;
  /** When they came, by the clock. */
  #statsMs = 0;
  #sample: Sample | undefined;
  #timers = new Set<NodeJS.Timeout>();
  /** Between the decision to start a process and its shim; what ends the instance then waits for the shim. */
  #launching = false;
  #listening = false;
  #whenReady: () => void = () => undefined;
  /** Gives back the place that its start has. */
  #leaveGate: () => void = () => undefined;
  #saving: Promise<void> = Promise.resolve();
  /** Its record and its sockets are there, without which nothing of it may run. */
  #kept: Promise<unknown> = Promise.resolve();

  constructor(tools: InstanceTools, record: InstanceRecord) {
    this.#tools = tools;
    this.#record = record;
    this.ids = idsOfSlot(tools.paths.run, record.slot);
    this.#createdMs = tools.clock();
    const cgroup = new Cgroup(tools.paths.cgroup(bodyOf(record)));
    this.#cgroup = cgroup;
    this.#sizing = new Sizing(
      {
        limit: async (size) => {
          // How many cores are its own goes by its size.
          if (this.made.exclusive === true) await tools.cores.set(cgroup, ownCoresOf(this.made, size));
          await cgroup.limit(size);
        },
        usage: () => cgroup.usage(),
        reclaim: (bytes) => cgroup.reclaim(bytes),
        hold: (bytes) => cgroup.hold(bytes),
      },
      () => this.#phase === 'starting' && !this.#waiting,
    );
    this.#control = new Control(record.id, {
      hello: () => tools.changed(),
      ready: () => this.#sayReady(),
      warm: () => this.#becomeWarm(),
      stats: (stats) => this.#takeStats(stats),
      wanted: (component) => tools.wanted(this, component),
      waits: (message) => tools.shardWaits(this, message),
      copiesWanted: (shards) => tools.copiesWanted(this, shards),
      flooded: () => this.#flooded(),
      closed: () => tools.changed(),
    });
    this.#channels = new ChannelSocket(tools.native, {
      connected: () => tools.changed(),
      open: (request) => tools.openChannel(this, request),
      closed: (channel) => tools.channelClosed(this, channel),
      hungUp: (why) => tools.log.warn({ instance: this.id, why }, 'hung up on an instance that asks for channels'),
    });
  }

  get id(): string {
    return this.#record.id;
  }
  /** Name of its folder, cgroup and container. */
  get body(): string {
    return bodyOf(this.#record);
  }
  /** Whether its process is warm and waits to be told which instance it is. */
  get waiting(): boolean {
    return this.#waiting;
  }
  /** It starts, and has not done so for long: what waits for its image, or never gets ready, is no reason to hold up others. */
  get isNewStart(): boolean {
    const isStarting = this.#phase === 'starting' && !this.#waiting;
    return isStarting && this.#tools.clock() - this.#createdMs < START_HELD_MS_MAX;
  }
  /** It was decided on or told who it is so lately that its first calls may be on their way. */
  get isFresh(): boolean {
    return this.#tools.clock() - this.#createdMs < FRESH_MS;
  }
  /** Its process has waited, and listens though it is not ready. */
  get listensEarly(): boolean {
    return this.#hasWaited && this.#phase === 'starting';
  }
  get app(): string {
    return this.#record.app;
  }
  get component(): string {
    return this.#record.component;
  }
  get made(): Component {
    return this.#record.made;
  }
  get slot(): number {
    return this.#record.slot;
  }
  get phase(): InstancePhase {
    return this.#phase;
  }
  get size(): Size {
    return this.#record.size;
  }
  get restarts(): number {
    return this.#record.restarts;
  }
  get draining(): boolean {
    return this.#draining;
  }
  get paused(): boolean {
    return this.#paused;
  }
  get pausable(): boolean {
    return this.#phase === 'ready' || this.#phase === 'unready';
  }
  get stopping(): boolean {
    return this.#phase === 'stopping';
  }
  /** Its folder of sockets is there. */
  get listening(): boolean {
    return this.#listening;
  }
  get running(): boolean {
    return this.#shimPid !== undefined;
  }
  /** Whether there is a sample of its use. */
  get isMeasured(): boolean {
    return this.#sample !== undefined || !this.running;
  }
  get control(): Control {
    return this.#control;
  }
  get channels(): ChannelSocket {
    return this.#channels;
  }
  get cgroup(): Cgroup {
    return this.#cgroup;
  }
  get stats(): InstanceStats | undefined {
    return this.#stats;
  }
  socket(name: string): string {
    return join(this.#tools.paths.instance(this.body).socket, `${name}.sock`);
  }

  /** Tells the process where its calls go, when that has changed. */
  sendRoutes(revision: number, routes: Record<string, Route>): void {
    const text = JSON.stringify(routes);
    if (text === this.#routes) return;
    this.#routes = text;
    this.#control.sendRoutes(revision, routes);
  }

  /** Starts the first process. Never rejects: what goes wrong leads to a restart. */
  async start(): Promise<void> {
    this.#launching = true;
    try {
      await makeSocketFolder(this.#tools.paths, this.#record);
    } catch (error) {
      this.#ended({ code: null, signal: null, reason: `start-failed: ${toShoalError(error).message}` });
      return;
    }
    this.#keep();
    await this.#launch();
  }

  /** Writes its record down and has its sockets listen, where they do not yet. */
  #keep(): void {
    this.#kept = Promise.all([this.#save(), this.listening ? undefined : this.#listen()]);
    // Looked at by the launch, which may have to wait for its turn.
    this.#kept.catch(() => undefined);
  }

  /**
   * Makes a waiting process this instance: it is told its id, and goes on from where it waits. Its record is written while it does
   * so; a crash meanwhile leaves a warm process that the next agent ends. The rest would take the CPU from it, and follows when it
   * is ready or takes longer than most.
   */
  async activate({ id, size }: DesiredInstance): Promise<void> {
    assert(this.#waiting, `${this.body} waits for nothing`);
    this.#waiting = false;
    this.#createdMs = this.#tools.clock();
    this.#record = { ...this.#record, id, size, warm: false };
    this.#control.activate(id);
    this.#awaitReady();
    const upOrSlow = new Promise<void>((resolve) => {
      this.#whenReady = resolve;
      setTimeout(resolve, ACTIVATION_MS);
    });
    await Promise.all([this.#save(), upOrSlow]);
    if (this.stopping) return;
    // When it gets ready its size is set anyway.
    await Promise.all([this.#linkId(), this.#phase === 'starting' ? this.#limit() : undefined]);
  }

  /** By its id it is looked for where people read logs. */
  async #linkId(): Promise<void> {
    if (this.body === this.id) return;
    const link = this.#tools.paths.instance(this.id).directory;
    await rm(link, { force: true });
    await symlink(this.body, link);
  }

  /** Takes over what an earlier agent started; a shim that is dead is reaped and counts as an end of the process. */
  async adopt(): Promise<void> {
    const here = this.#tools.paths.instance(this.body);
    this.#tools.rootfs.hold(this.made, this.body);
    if (!this.#record.warm) await this.#linkId();
    await makeSocketFolder(this.#tools.paths, this.#record);
    await this.#listen();
    const shimPid = await readPid(here.shimPid);
    if (shimPid !== undefined && this.#tools.native.lockIsHeld(here.lock)) {
      this.#pid = await readPid(here.pid);
      await this.#tools.cores.adopt(this.#cgroup, this.made.exclusive === true);
      // Where the agent before was killed in the middle of a resize.
      await this.#cgroup.release();
      await endCommandsIn(this.#tools.paths, this.body);
      this.#tools.cgroupMade(this.#cgroup.path, this.#record);
      this.#watchShim(shimPid);
      this.#tools.event(this, 'adopted', `goes on with pid ${this.#pid ?? 'still to come'}`);
      if (this.#record.ready) {
        this.#paused = await this.#cgroup.isFrozen();
        this.#setPhase(this.#servingPhase);
        this.#keepAlive();
        this.#keepReady();
      } else this.#awaitReady();
      return;
    }
    await this.#shimGone();
  }

  /** Sets the new size on the running cgroup: takes effect at once, nothing restarts, and a failure ends nothing. */
  async resize(wanted: Size): Promise<void> {
    const keep = (resized: Resized) => this.#resized(resized);
    if (this.running) await this.#sizing.resize(() => this.#record.size, wanted, keep);
    else await keep({ size: wanted, refused: null });
  }

  /** From the size that it was launched with to the one that the record has by now. */
  #catchUp(launched: Size): void {
    const keep = (resized: Resized) => this.#resized(resized);
    this.#sizing
      .resize(() => launched, this.#record.size, keep)
      .catch((error: unknown) => {
        this.#tools.log.error({ err: error, instance: this.id }, 'cannot set the size of an instance');
      });
  }

  async #resized({ size, refused }: Resized): Promise<void> {
    // Tried again whenever the host is looked at; told only once.
    if (refused !== null && refused !== this.#resizeRefused) this.#tools.event(this, 'resize-refused', refused);
    this.#resizeRefused = refused;
    const { cpu, memory } = this.#record.size;
    if (size.cpu === cpu && size.memory === memory) return;
    this.#record = { ...this.#record, size };
    await this.#save();
    this.#tools.changed();
  }

  /** No more calls and state shards come; it goes on until terminate(). */
  drain(): void {
    this.#draining = true;
    if (this.#hasBeenReady) this.#setPhase(this.#servingPhase);
    else this.#tools.changed();
  }

  /**
   * Freezes all its processes, or lets them go on where they were. Frozen it gets no new calls, is asked no probe and is not
   * ended for its silence; calls that it had begun wait.
   */
  async pause(paused: boolean): Promise<void> {
    if (paused === this.#paused || (paused && !this.pausable)) return;
    // Who calls it is told before it falls silent.
    this.#paused = paused;
    this.#heardMs = this.#tools.clock();
    if (this.#hasBeenReady) this.#setPhase(this.#servingPhase);
    if (await this.#cgroup.freeze(paused)) {
      this.#tools.event(this, paused ? 'paused' : 'resumed', paused ? 'is frozen' : 'goes on');
      return;
    }
    this.#paused = false;
    if (this.#hasBeenReady) this.#setPhase(this.#servingPhase);
    if (!this.#isUnpausable) this.#tools.event(this, 'pause-refused', 'this kernel cannot freeze: it needs Linux 5.2');
    this.#isUnpausable = true;
  }

  get #hasBeenReady(): boolean {
    return ['ready', 'unready', 'paused', 'draining'].includes(this.#phase);
  }

  /** Of one that has been ready. */
  get #servingPhase(): InstancePhase {
    if (this.#paused) return 'paused';
    if (this.#draining) return 'draining';
    return this.#unreadyFor === null ? 'ready' : 'unready';
  }

  /** Ends it: SIGTERM, or the signal that its image names, and after a while SIGKILL to all that is left; then its folder goes. */
  async terminate(): Promise<void> {
    if (this.stopping) return;
    this.#setPhase('stopping');
    this.#clearTimers();
    // What is frozen cannot end in good order.
    if (this.#paused) await this.#cgroup.freeze(false);
    if (this.#launching) return;
    if (this.#shimPid === undefined) return this.#remove();
    this.#endProcess(this.#shimPid);
  }

  #endProcess(shimPid: number): void {
    this.#tools.native.signalPid(shimPid, SIGTERM);
    this.#later(LIMITS.stopMsMax, () => {
      this.#tools.event(this, 'killed', `did not end within ${LIMITS.stopMsMax} ms of being asked to`);
      this.#kill();
    });
  }

  /** Kills all that runs in it; what the kernel refuses is tried again until the shim has seen the end. */
  #kill(): void {
    this.#cgroup.kill().catch((error: unknown) => {
      this.#tools.log.error({ err: error, instance: this.id }, 'cannot kill an instance; trying again');
      this.#later(LIMITS.restartBackoffMsMin, () => this.#kill());
    });
  }

  /** The agent stops; the instance goes on. */
  detach(): void {
    this.#clearTimers();
    this.#watch?.close();
    this.#control.close();
    this.#channels.close();
  }

  /** Takes the sample of this second; CPU time from the profiler where it works, else from the cgroup; I/O too. */
  async measure(profiled: CpuTimes | undefined, activity: Activity | undefined): Promise<void> {
    if (!this.running) return;
    const before = this.#sample;
    // What has not run since the last sample uses what it used: reading that is most of what idle instances cost the agent.
    const isStill = before !== undefined && before.cpuSeconds === profiled?.cpuSeconds;
    const usage = isStill ? usageOf(before) : await this.#cgroup.usage();
    const { arrived = 0, finished = 0, failed = 0, outstanding = 0, latencyBuckets = [] } = this.#stats ?? {};
    const { busyMs, heat, called } = this.#stats ?? {};
    const { cpuSeconds = usage.cpuSeconds, ...scheduled } = profiled ?? {};
    const counted = {
      ...scheduled,
      ...activityFields(activity),
      ...(busyMs === undefined ? {} : { busyMs }),
      ...(heat === undefined || heat.length === 0 ? {} : { heat }),
      ...(called === undefined ? {} : { called }),
    };
    this.#sample = { ...usage, cpuSeconds, arrived, finished, failed, outstanding, latencyBuckets, ...counted };
  }

  /** Reads and writes of its state, as it has last said; undefined while it has said nothing or holds no state. */
  get stateAccess(): StateAccess | undefined {
    const { access, shards = [] } = this.#stats ?? {};
    return access ?? (shards.length > 0 ? { shards: [], keys: [] } : undefined);
  }

  /** With replicated state: entries here lag so many ms behind at most; undefined while they are not here. */
  get stateLagMs(): number | undefined {
    const told = this.#stats?.stateLagMs;
    return told === undefined ? undefined : Math.round(told + this.#tools.clock() - this.#statsMs);
  }

  status(): InstanceStatus {
    const { id, app, component, size, restarts, startMs } = this.#record;
    const { channels = {} } = this.#stats ?? {};
    return {
      id,
      app,
      component,
      phase: this.#phase,
      size,
      restarts,
      shards: this.#control.shards ?? [],
      ...(this.#pid === undefined ? {} : { pid: this.#pid }),
      ...(startMs === null ? {} : { startMs }),
      ...(this.#exit === undefined ? {} : { exit: this.#exit }),
      ...(Object.keys(channels).length === 0 ? {} : { channels }),
      ...(this.#sample === undefined ? {} : { sample: this.#sample }),
    };
  }

  /** Its process has loaded all that it can without knowing which instance it is. */
  #becomeWarm(): void {
    if (!this.#record.warm || this.#phase !== 'starting') return;
    this.#waiting = true;
    this.#hasWaited = true;
    this.#leaveGate();
    void this.#limit();
    this.#tools.changed();
  }

  #isNotWarm(): void {
    this.#tools.event(this, 'not-warm', 'its process does not wait to be told which instance it is: it needs the SDK');
    this.#setPhase('failed');
  }

  /** A limit that the kernel refuses is told, and the old one stays in force. */
  async #limit(): Promise<void> {
    try {
      await this.#sizing.set(() => this.#record.size);
    } catch (error) {
      this.#tools.log.error({ err: error, instance: this.id }, 'cannot set the size of an instance');
    }
  }

  async #listen(): Promise<void> {
    const { socket } = this.#tools.paths.instance(this.body);
    await this.#control.listen(socket, this.ids.base);
    await this.#channels.listen(socket, this.ids.base);
    this.#listening = true;
    if (this.made.cache !== undefined) this.#tools.changed();
  }

  async #launch(): Promise<void> {
    if (this.made.singleton === true && !this.#tools.lease.holds) {
      // It may run elsewhere until the leader says that it does not.
      this.#launching = false;
      if (this.stopping) await this.#remove();
      else this.#later(LEASE_LOOK_MS, () => void this.#launch());
      return;
    }
    this.#launching = true;
    this.#leaveGate = await this.#tools.gate.enter();
    if (this.stopping) {
      this.#leaveGate();
      this.#launching = false;
      await this.#remove();
      return;
    }
    this.#startedMs = this.#tools.clock();
    this.#saidReady = false;
    try {
      const { size } = this.#record;
      const shimPid = await launch(this.#tools, this.#record, this.#kept);
      this.#launching = false;
      this.#watchShim(shimPid);
      if (this.stopping) this.#endProcess(shimPid);
      else this.#awaitReady();
      // It may have got another size meanwhile, of which only the record knows.
      if (this.#record.size !== size) this.#catchUp(size);
    } catch (error) {
      await this.#removeCgroup().catch((cause: unknown) => {
        // The next start takes the folder as it is; the removal of the instance tries again.
        this.#tools.log.warn({ err: cause, instance: this.id }, 'cannot remove the cgroup of a failed start');
      });
      this.#ended({ code: null, signal: null, reason: `start-failed: ${toShoalError(error).message}` });
    }
  }

  #watchShim(pid: number): void {
    this.#shimPid = pid;
    const gone = () => void this.#shimGone();
    try {
      this.#watch = this.#tools.native.watchPid(pid, gone);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
      setImmediate(gone); // It ended between spawn and here.
    }
  }

  async #shimGone(): Promise<void> {
    this.#watch?.close();
    this.#watch = undefined;
    const here = this.#tools.paths.instance(this.body);
    try {
      this.#tools.cgroupGone(this.#cgroup.path);
      await this.#tools.cores.leave(this.#cgroup.path);
      let exit = await readExit(here.exit);
      if (exit === null) {
        await reapInstance(this.#tools.paths, this.#tools.crun, this.body);
        exit = { code: null, signal: 9, reason: 'its supervisor was killed' };
      }
      this.#shimPid = undefined;
      this.#pid = undefined;
      this.#ended(exit);
    } catch (error) {
      this.#tools.log.error({ err: error, instance: this.id }, 'cannot clean up after an instance');
      this.#later(LIMITS.restartBackoffMsMin, () => void this.#shimGone());
    }
  }

  /** The process has ended, or could not be started, and nothing of it is left. */
  #ended(exit: Exit): void {
    this.#launching = false;
    this.#leaveGate();
    this.#clearTimers();
    this.#exit = this.#killedFor === undefined ? exit : { ...exit, reason: this.#killedFor };
    this.#killedFor = undefined;
    this.#stats = undefined;
    this.#heardMs = null;
    this.#sample = undefined;
    this.#waiting = false;
    this.#hasWaited = false;
    this.#paused = false;
    this.#unreadyFor = null;
    this.#control.forget();
    this.#tools.ended(this);
    if (this.stopping) {
      void this.#remove();
      return;
    }
    const how =
      exit.signal !== null ? `signal ${exit.signal}` : exit.code !== null ? `code ${exit.code}` : 'no process';
    this.#inARow = restartsInARow(this.#inARow, this.#tools.clock() - this.#startedMs);
    const delayMs = restartDelayMs(this.#inARow);
    this.#record = { ...this.#record, ready: false, restarts: this.#record.restarts + 1 };
    this.#setPhase('backoff');
    this.#tools.event(
      this,
      'exited',
      `${this.#exit.reason} (${how}); restart ${this.#record.restarts} in ${delayMs} ms`,
    );
    if (this.#inARow === CRASH_LOOP) {
      const told = `ended ${CRASH_LOOP} times in a row, each within a minute of its start; last: ${this.#exit.reason} (${how})`;
      this.#tools.event(this, 'crash-loop', `${told}; \`shoal logs ${this.id}\` shows what it said`);
    }
    if (this.#draining) return;
    this.#later(delayMs, () => {
      this.#setPhase('starting');
      this.#createdMs = this.#tools.clock();
      this.#launching = true;
      this.#keep();
      void this.#launch();
    });
  }

  /** The SDK says when it is ready; without it the listeners of all ports, or for a plain process its mere running, do. */
  #awaitReady(): void {
    const deadline = this.#tools.clock() + LIMITS.readyMsMax;
    const key = `${this.app}/${this.component}`;
    const sockets = portSockets(this.#tools.paths.instance(this.body).socket, this.#record);
    const probe = async () => {
      if (this.#phase !== 'starting' || !this.running || this.#waiting) return;
      const now = this.#tools.clock();
      if (this.#pid === undefined) await this.#findPid();
      const speaksSdk = this.#control.shards !== null || this.#hasWaited;
      if (speaksSdk) this.#tools.speaksSdk.set(key, true);
      // One that is to wait has nothing yet that could be ready.
      const mayBePlain = !speaksSdk && !this.#record.warm && this.#pid !== undefined;
      const spoke = this.#tools.speaksSdk.get(key);
      if (this.#pid !== undefined && spoke === false) this.#leaveGate();
      const asked = this.made.ready;
      const plainMs = spoke === true ? SLOW_TO_SPEAK_MS : PLAIN_READY_MS;
      const plain = sockets.length === 0 && (asked !== undefined || (mayBePlain && (await this.#hasRun(plainMs))));
      const listens = sockets.length > 0 && (await allExist(sockets));
      const says = this.#saidReady || (mayBePlain && (plain || listens));
      this.#notReadyFor = says && asked !== undefined ? await ask(asked, this.#probed) : null;
      // The answer may have taken a while.
      if (this.#phase !== 'starting' || !this.running) return;
      if (says && this.#notReadyFor === null) {
        if (!speaksSdk) this.#tools.speaksSdk.set(key, false);
        return this.#becomeReady();
      }
      if (now >= deadline && this.#record.warm) return this.#isNotWarm();
      if (now >= deadline) {
        const without = speaksSdk ? 'it never called ready()' : await this.#whyNotReady();
        const why = this.#notReadyFor ?? without;
        this.#killedFor = `not ready within ${LIMITS.readyMsMax / 1000} s: ${why}`;
        this.#tools.event(this, 'not-ready', `${this.#killedFor}; is started anew`);
        this.#kill();
        return;
      }
      this.#later(
        says && asked !== undefined ? asked.everyMs : PROBE_MS,
        () => void probe().catch((error: unknown) => this.#tools.log.error({ err: error })),
      );
    };
    void probe().catch((error: unknown) => this.#tools.log.error({ err: error }));
  }

  /** Whether its first process has run for so long, without the time in which it waited for a processor: a host may be busy. */
  async #hasRun(ms: number): Promise<boolean> {
    const runMs = this.#tools.clock() - this.#startedMs;
    return runMs >= ms && this.#pid !== undefined && runMs - (await waitedMs(this.#pid)) >= ms;
  }

  /** What probes ask of it. */
  get #probed(): Probed {
    const { directory } = this.#tools.paths.instance(this.body);
    return {
      socket: async (port) => {
        const link = join(directory, `probe-${port}.sock`);
        await captureSocket(this.socket(port), link, this.ids);
        return link;
      },
      exec: (command, timeoutMs) => this.exec(command, timeoutMs),
      silentMs: () => (this.#heardMs === null ? null : Math.round(this.#tools.clock() - this.#heardMs)),
    };
  }

  /** Runs a command inside. Throws SHOAL_E_CONFLICT while no process of it runs. */
  async exec(command: readonly string[], timeoutMs: number): Promise<Ended> {
    this.#assertEnterable();
    return execInside(this.#tools, this.body, command, timeoutMs);
  }

  /** Starts a command inside, with which somebody then talks. Throws SHOAL_E_CONFLICT while no process of it runs. */
  async startCommand(command: readonly string[], terminal: TerminalSize | null): Promise<InsideProcess> {
    this.#assertEnterable();
    if (terminal !== null) return startInTerminal(this.#tools, this.body, command, terminal);
    return startInside(this.#tools, this.body, command);
  }

  #assertEnterable(): void {
    if (this.#paused) throw new ShoalError('SHOAL_E_CONFLICT', `${this.id} is paused: resume it first`);
    if (this.#pid === undefined) throw new ShoalError('SHOAL_E_CONFLICT', `no process of ${this.id} runs now`);
  }

  /** Asks whether it is alive until its process ends. */
  #keepAlive(): void {
    const { alive } = this.made;
    if (alive === undefined) return;
    this.#failures = 0;
    // From here on its silence counts.
    this.#heardMs = this.#tools.clock();
    this.#askWhileRunning(alive, alive.everyMs, (why) => {
      this.#failures = why === null ? 0 : this.#failures + 1;
      if (this.#failures >= alive.failures) {
        this.#killedFor = `not alive: ${why}, ${this.#failures} times in a row`;
        this.#tools.event(this, 'not-alive', `${this.#killedFor}; is started anew`);
        this.#kill();
        return false;
      }
      return true;
    });
  }

  /** Asks whether it is still ready until its process ends: one that is not gets no new calls until it is again. */
  #keepReady(): void {
    const { ready } = this.made;
    if (ready === undefined) return;
    let failures = 0;
    this.#askWhileRunning(ready, Math.max(ready.everyMs, STILL_READY_MS_MIN), (why) => {
      failures = why === null ? 0 : failures + 1;
      const was = this.#unreadyFor;
      if (why === null) this.#unreadyFor = null;
      else if (failures >= ready.failures) this.#unreadyFor = why;
      if ((was === null) === (this.#unreadyFor === null)) return true;
      if (this.#hasBeenReady) this.#setPhase(this.#servingPhase);
      if (why === null) this.#tools.event(this, 'ready-again', 'gets calls again');
      else this.#tools.event(this, 'unready', `gets no new calls: ${why}, ${failures} times in a row`);
      return true;
    });
  }

  /** Asks again and again while the process that runs now does, except while it is paused, until an answer is not wanted. */
  #askWhileRunning(probe: Probe, everyMs: number, take: (why: string | null) => boolean): void {
    const startedMs = this.#startedMs;
    const isOver = () => !this.running || this.stopping || this.#startedMs !== startedMs;
    const look = async () => {
      if (isOver()) return;
      const why = this.#paused ? undefined : await ask(probe, this.#probed);
      if (isOver()) return;
      // An answer that a pause has come between says nothing.
      if (why === undefined || this.#paused || take(why)) next();
    };
    const next = () =>
      this.#later(everyMs, () => void look().catch((error: unknown) => this.#tools.log.error({ err: error })));
    next();
  }

  async #whyNotReady(): Promise<string> {
    for (const { name } of this.#record.made.ports) {
      if (await allExist([this.socket(name)])) continue;
      return `nothing listens on ${join(PORTS_FOLDER, `${name}.sock`)}`;
    }
    return 'no process of it was seen';
  }

  async #findPid(): Promise<void> {
    const pid = await readPid(this.#tools.paths.instance(this.body).pid);
    // Left from the process before until crun writes the new one.
    if (pid !== undefined && (await this.#cgroup.pids()).includes(pid)) this.#pid = pid;
  }

  /** The SDK says so; with a probe that has to succeed as well. */
  #sayReady(): void {
    this.#saidReady = true;
    if (this.made.ready === undefined || this.#record.warm) this.#becomeReady();
  }

  #becomeReady(): void {
    this.#saidReady = true;
    this.#leaveGate();
    if (this.#phase !== 'starting') return;
    if (this.#record.warm) {
      this.#isNotWarm();
      return;
    }
    const startMs = this.#tools.clock() - this.#createdMs;
    this.#record = { ...this.#record, ready: true, startMs };
    this.#setPhase(this.#servingPhase);
    this.#tools.serves();
    this.#whenReady();
    void this.#limit();
    this.#tools.event(this, 'ready', `after ${startMs} ms`);
    this.#keepAlive();
    this.#keepReady();
    this.#save().catch((error: unknown) => this.#tools.log.error({ err: error }, 'cannot write the record'));
    if (this.#pid !== undefined) return;
    this.#findPid().catch((error: unknown) => this.#tools.log.warn({ err: error }, 'cannot read the pid'));
  }

  #takeStats(stats: InstanceStats): void {
    const shardsChanged = String(stats.shards) !== String(this.#stats?.shards);
    this.#stats = stats;
    this.#statsMs = this.#tools.clock();
    this.#heardMs = this.#tools.clock();
    if (shardsChanged) this.#tools.shardsChanged(this);
  }

  #flooded(): void {
    const now = this.#tools.clock();
    if (now - this.#floodToldMs < FLOOD_TOLD_MS) return;
    this.#floodToldMs = now;
    const most = `${LIMITS.controlMessagesPerSecondMax} messages/s`;
    this.#tools.event(this, 'control-flood', `says more to the agent than ${most}, and is read no faster than that`);
  }

  async #remove(): Promise<void> {
    const here = this.#tools.paths.instance(this.body);
    // What is still being made would else come after its removal.
    await Promise.allSettled([this.#kept]);
    this.#control.close();
    this.#channels.close();
    this.#listening = false;
    try {
      await this.#saving;
      await this.#removeCgroup();
      if (this.body !== this.id) await rm(this.#tools.paths.instance(this.id).directory, { force: true });
      await rm(here.directory, { recursive: true, force: true });
      await this.#tools.secrets.remove(this.body);
      this.#tools.rootfs.release(this.body);
      this.#tools.gone(this);
    } catch (error) {
      this.#tools.log.error({ err: error, instance: this.id }, 'cannot remove an instance; trying again');
      this.#later(LIMITS.restartBackoffMsMin, () => void this.#remove());
    }
  }

  async #removeCgroup(): Promise<void> {
    await this.#cgroup.remove();
    await this.#tools.cores.leave(this.#cgroup.path);
  }

  /** One write after the other: they share a temporary file. */
  #save(): Promise<void> {
    const write = () => writeRecord(this.#tools.paths.instance(this.body).record, this.#record);
    const saved = this.#saving.then(write, write);
    this.#saving = saved.catch(() => undefined);
    return saved;
  }

  #setPhase(phase: InstancePhase): void {
    this.#phase = phase;
    this.#tools.changed();
  }

  #later(ms: number, action: () => void): void {
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      action();
    }, ms);
    this.#timers.add(timer);
  }

  #clearTimers(): void {
    for (const timer of this.#timers) clearTimeout(timer);
    this.#timers.clear();
  }
}

/** The record of a new instance. */
export function newRecord(
  { id, app, component, size }: DesiredInstance,
  made: Component,
  slot: number,
): InstanceRecord {
  return { format: 1, id, app, component, made, slot, size, restarts: 0, ready: false, startMs: null };
}

function usageOf({ cpuSeconds, memoryBytes, ioReadBytes, ioWriteBytes }: Sample): Usage {
  return { cpuSeconds, memoryBytes, ioReadBytes, ioWriteBytes };
}

/** How long a process has waited for a processor so far; 0 where nothing is known of it (Linux, Documentation/scheduler/sched-stats.rst). */
async function waitedMs(pid: number): Promise<number> {
  const text = await readFile(`/proc/${pid}/schedstat`, 'utf8').catch(() => '');
  return Number(text.split(' ')[1] ?? 0) / 1e6;
}

async function allExist(paths: string[]): Promise<boolean> {
  const found = await Promise.all(
    paths.map((path) =>
      access(path).then(
        () => true,
        () => false,
      ),
    ),
  );
  return found.every(Boolean);
}
