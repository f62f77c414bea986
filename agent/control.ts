import { createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import {
  type CalleeChannels,
  type FromInstance,
  type InstanceStats,
  type KnownCopy,
  LATENCY_BUCKETS,
  type Route,
  type ShardHeat,
  type StateAccess,
  type ToInstance,
} from '../protocol/control.js';
import { isErrorCode, ShoalError, toShoalError } from '../protocol/errors.js';
import { encodeFrame, FrameReader } from '../protocol/frame.js';
import { LIMITS } from '../protocol/limits.js';
import { NAME_PATTERN } from '../protocol/manifest-schema.js';
import type { WritePart } from '../protocol/state-transfer.js';
import { TokenBucket } from '../protocol/token-bucket.js';
import { listenForInstance } from './instance-socket.js';

export interface ControlEvents {
  hello(): void;
  ready(): void;
  /** Asked for with Control.sendHeld. */
  waits(message: ShardWaits): void;
  /** The process waits to be told which instance it is. */
  warm(): void;
  stats(stats: InstanceStats): void;
  /** The process reads these state shards, which others own. */
  copiesWanted(shards: readonly number[]): void;
  /** The instance wants to call a component of its app that has no instance. */
  wanted(component: string): void;
  /** The process says more than it may, and is read more slowly; called each time that it has to wait. */
  flooded(): void;
  /** The process broke the protocol or hung up; it may dial again. */
  closed(why: string): void;
}

interface Pending {
  resolve(removed: number): void;
  reject(error: ShoalError): void;
  timer: NodeJS.Timeout;
}

export type ShardCommand =
  | { type: 'shard-prepare'; shard: number; epoch: number }
  | { type: 'shard-own'; shard: number; epoch: number; held?: { index: number; untilMs: number } }
  | { type: 'shard-freeze'; shard: number; to?: string }
  | { type: 'shard-drop'; shard: number }
  | ({ type: 'shard-import' } & WritePart);

/** Of a shard: its calls wait until other copies hold its log up to this index. */
export type ShardWaits = Extract<FromInstance, { type: 'shard-waits' }>;

/** Routes to a full cluster and commands for every state shard are far below. */
const QUEUED_BYTES_MAX = LIMITS.frameBytesMax;

/** So many bytes count as a message of their own. */
const COUNTED_BYTES = 64 * 1024;
/** What the process may say for one command: that it is done, and its numbers. */
const COMMAND_CREDIT = 3;

function newRate(): TokenBucket {
  return new TokenBucket(LIMITS.controlMessagesPerSecondMax, LIMITS.controlMessagesBurstMax);
}

/**
 * The agent's end of the control connection with the process inside one instance, which is not trusted: what breaks
 * the protocol is disconnected and harms nothing else. The last process to dial is the one that is talked to. One that
 * says too much, by messages or bytes, is not read until that has been waited off, also when it dials again.
 */
export class Control {
  #id: string;
  readonly #events: ControlEvents;
  #server: Server | undefined;
  #socket: Socket | undefined;
  #rate = newRate();
  #paused: NodeJS.Timeout | undefined;
  #lastRoutes: Buffer | undefined;
  readonly #pending = new Map<number, Pending>();
  #nextRequest = 1;
  /** State shards that the process says it holds; null before its first word. */
  shards: number[] | null = null;
  /** Those of them that it holds but no longer serves. */
  frozen: number[] = [];

  constructor(id: string, events: ControlEvents) {
    this.#id = id;
    this.#events = events;
  }

  get connected(): boolean {
    return this.#socket !== undefined;
  }

  /** Listens in the instance's socket folder, on which only its own user may dial. */
  async listen(folder: string, owner: number): Promise<void> {
    const path = join(folder, 'agent.sock');
    const server = createServer((socket) => this.#accept(socket));
    await listenForInstance(server, path, owner);
    server.on('error', (error) => this.#events.closed(error.message));
    this.#server = server;
  }

  sendRoutes(revision: number, routes: Record<string, Route>): void {
    this.#lastRoutes = encodeFrame({ type: 'routes', revision, routes } satisfies ToInstance);
    this.#write(this.#lastRoutes);
  }

  /** Tells the process that waits which instance it is. It dials anew, as that one. */
  activate(id: string): void {
    this.#id = id;
    this.#write(encodeFrame({ type: 'activate', instance: id } satisfies ToInstance));
  }

  /** Answers shard-waits, which then counts as asked for. */
  sendHeld(shard: number, index: number, untilMs: number): void {
    this.#rate.give(1);
    this.#write(encodeFrame({ type: 'shard-held', shard, index, untilMs } satisfies ToInstance));
  }

  sendKnown(copies: KnownCopy[]): void {
    this.#write(encodeFrame({ type: 'copies-known', copies } satisfies ToInstance));
  }

  sendDrain(): void {
    this.#write(encodeFrame({ type: 'drain' } satisfies ToInstance));
  }

  /** Has the process do something with a state shard. Answers how many entries an import has removed. */
  command(command: ShardCommand): Promise<number> {
    if (this.#socket === undefined)
      return Promise.reject(new ShoalError('SHOAL_E_PEER_DIED', `${this.#id} is not connected`));
    const requestId = this.#nextRequest++;
    const { type, shard } = command;
    const frame = encodeFrame({ ...command, requestId } satisfies ToInstance);
    this.#rate.give(COMMAND_CREDIT);
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#pending.delete(requestId);
        reject(new ShoalError('SHOAL_E_DEADLINE', `${this.#id} did not answer ${type} of shard ${shard}`));
      }, LIMITS.handoverMsMax);
      this.#pending.set(requestId, { resolve, reject, timer });
      this.#write(frame);
    });
  }

  /** A process that does not read is cut off before what waits for it fills the agent's memory. */
  #write(frame: Buffer): void {
    const socket = this.#socket;
    if (socket === undefined) return;
    socket.write(frame);
    if (socket.writableLength > QUEUED_BYTES_MAX) this.#lost(socket, 'the process does not read');
  }

  /** The process is gone: what it held is gone with it. */
  forget(): void {
    this.#disconnect('the process ended');
    this.shards = null;
    this.frozen = [];
    this.#resume();
    this.#rate = newRate();
  }

  close(): void {
    this.#resume();
    this.#server?.close();
    this.#server = undefined;
    this.#disconnect('the agent closed the connection');
  }

  #accept(socket: Socket): void {
    if (this.#rate.debtMs() > 0) {
      socket.destroy();
      this.#events.flooded();
      return;
    }
    this.#rate.take(1);
    this.#disconnect('another connection took its place');
    this.#socket = socket;
    const reader = new FrameReader();
    socket.on('data', (chunk: Buffer) => {
      try {
        const messages = reader.push(chunk);
        this.#rate.take(messages.length + chunk.length / COUNTED_BYTES);
        for (const message of messages) this.#take(parseFromInstance(message));
        this.#slowDown(socket);
      } catch (error) {
        this.#lost(socket, toShoalError(error).message);
      }
    });
    socket.on('error', (error) => this.#lost(socket, error.message));
    socket.on('close', () => this.#lost(socket, 'the process closed its connection'));
  }

  /** What comes waits in the socket, and then in the process itself, until the debt is waited off. */
  #slowDown(socket: Socket): void {
    const waitMs = this.#rate.debtMs();
    if (waitMs === 0 || this.#paused !== undefined) return;
    socket.pause();
    this.#paused = setTimeout(() => {
      this.#resume();
      socket.resume();
    }, waitMs);
    this.#events.flooded();
  }

  #resume(): void {
    clearTimeout(this.#paused);
    this.#paused = undefined;
  }

  #lost(socket: Socket, why: string): void {
    socket.destroy();
    if (this.#socket === socket) this.#disconnect(why);
  }

  #disconnect(why: string): void {
    const socket = this.#socket;
    if (socket === undefined) return;
    this.#socket = undefined;
    socket.destroy();
    for (const { reject, timer } of this.#pending.values()) {
      clearTimeout(timer);
      reject(new ShoalError('SHOAL_E_PEER_DIED', `${this.#id}: ${why}`));
    }
    this.#pending.clear();
    this.#events.closed(why);
  }

  #take(message: FromInstance): void {
    if (message.type === 'hello') {
      if (message.instance !== this.#id) {
        throw new ShoalError('SHOAL_E_FRAME', `the process says that it is ${message.instance}`);
      }
      this.#note(message.shards, message.frozen);
      if (this.#lastRoutes !== undefined) this.#write(this.#lastRoutes);
      this.#events.hello();
    } else if (message.type === 'ready') {
      this.#events.ready();
    } else if (message.type === 'warm') {
      this.#events.warm();
    } else if (message.type === 'wanted') {
      this.#events.wanted(message.component);
    } else if (message.type === 'shard-waits') {
      this.#events.waits(message);
    } else if (message.type === 'copies-wanted') {
      this.#events.copiesWanted(message.shards);
    } else if (message.type === 'stats') {
      this.#note(message.stats.shards, message.stats.frozen);
      this.#events.stats(message.stats);
    } else {
      this.#answered(message);
    }
  }

  #note(shards: number[], frozen: number[] | undefined): void {
    this.shards = shards;
    this.frozen = frozen ?? [];
  }

  #answered(message: Extract<FromInstance, { type: 'shard-done' }>): void {
    const pending = this.#pending.get(message.requestId);
    if (pending === undefined) return; // Answered too late; the one who asked has gone on.
    this.#pending.delete(message.requestId);
    clearTimeout(pending.timer);
    const { shard, error, code = 'SHOAL_E_HANDLER', removed = 0 } = message;
    if (error === undefined) pending.resolve(removed);
    else pending.reject(new ShoalError(code, `${this.#id}: shard ${shard}: ${error}`));
  }
}

const TEXT_LENGTH_MAX = 1000;
const NAME = new RegExp(NAME_PATTERN);
const STATE_NAME = /^[a-z0-9][a-z0-9-]*$/;

/** The message when it has the shape that control.ts of the protocol gives; throws SHOAL_E_FRAME otherwise. */
export function parseFromInstance(value: unknown): FromInstance {
  const fail = (what: string) => new ShoalError('SHOAL_E_FRAME', `control message: ${what}`);
  if (!isRecord(value)) throw fail('is not a map');
  switch (value.type) {
    case 'hello': {
      const { instance, shards, frozen } = value;
      if (!isText(instance) || !areShards(shards) || !optional(frozen, areShards))
        throw fail('hello has a wrong shape');
      return { type: 'hello', instance, shards, ...(frozen === undefined ? {} : { frozen }) };
    }
    case 'ready':
    case 'warm':
      return { type: value.type };
    case 'wanted': {
      if (!isText(value.component)) throw fail('wanted names no component');
      return { type: 'wanted', component: value.component };
    }
    case 'shard-waits': {
      const { shard, index } = value;
      if (!isCount(shard) || shard >= LIMITS.shardCountMax || !isCount(index)) {
        throw fail('shard-waits has a wrong shape');
      }
      return { type: 'shard-waits', shard, index };
    }
    case 'copies-wanted': {
      if (!areShards(value.shards)) throw fail('copies-wanted has a wrong shape');
      return { type: 'copies-wanted', shards: value.shards };
    }
    case 'stats': {
      if (!isStats(value.stats)) throw fail('stats have a wrong shape');
      return { type: 'stats', stats: value.stats };
    }
    case 'shard-done': {
      const { requestId, shard, error, code, removed } = value;
      const isAnswer = isCount(requestId) && isCount(shard) && optional(error, isText);
      if (!isAnswer || !optional(code, isErrorCode) || !optional(removed, isCount)) {
        throw fail('shard-done has a wrong shape');
      }
      return {
        type: 'shard-done',
        requestId,
        shard,
        ...(error === undefined ? {} : { error }),
        ...(code === undefined ? {} : { code }),
        ...(removed === undefined ? {} : { removed }),
      };
    }
    default:
      throw fail(`unknown type ${JSON.stringify(value.type)?.slice(0, TEXT_LENGTH_MAX)}`);
  }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
function isText(value: unknown): value is string {
  return typeof value === 'string' && value.length <= TEXT_LENGTH_MAX;
}
function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}
function isAmount(value: unknown): value is number {
  return typeof value === 'number' && Number.isFinite(value) && value >= 0;
}
function isHeat(value: unknown): value is ShardHeat[] {
  if (!Array.isArray(value) || value.length > LIMITS.shardCountMax) return false;
  return value.every((each) => {
    if (!Array.isArray(each) || each.length !== 3) return false;
    const [shard, calls, workMs] = each;
    return isCount(shard) && shard < LIMITS.shardCountMax && isCount(calls) && isAmount(workMs);
  });
}
function isAccess(value: unknown): value is StateAccess {
  if (!isRecord(value)) return false;
  const { shards, keys } = value;
  if (!Array.isArray(shards) || shards.length > LIMITS.shardCountMax) return false;
  if (!Array.isArray(keys) || keys.length > LIMITS.heaviestKeysMax) return false;
  const areCounted = shards.every((each) => isList(each, 3) && isShard(each[0]) && each.slice(1).every(isCount));
  return areCounted && keys.every((each) => isList(each, 5) && isShard(each[0]) && isKeyAccess(each));
}
function isKeyAccess([, state, key, reads, writes]: readonly unknown[]): boolean {
  const isNamed = typeof state === 'string' && STATE_NAME.test(state) && state.length <= LIMITS.nameLengthMax;
  return (
    isNamed && typeof key === 'string' && key.length <= LIMITS.keyToldLengthMax && isCount(reads) && isCount(writes)
  );
}
function isList(value: unknown, length: number): value is readonly unknown[] {
  return Array.isArray(value) && value.length === length;
}
function isShard(value: unknown): boolean {
  return isCount(value) && value < LIMITS.shardCountMax;
}
function areCallees(value: unknown): value is Record<string, number> {
  if (!isRecord(value)) return false;
  const entries = Object.entries(value);
  return (
    entries.length <= LIMITS.componentsPerAppMax && entries.every(([name, calls]) => NAME.test(name) && isCount(calls))
  );
}
function areChannels(value: unknown): value is Record<string, CalleeChannels> {
  if (!isRecord(value)) return false;
  const entries = Object.entries(value);
  return (
    entries.length <= LIMITS.componentsPerAppMax && entries.every(([name, each]) => NAME.test(name) && isWay(each))
  );
}
function isWay(value: unknown): value is CalleeChannels {
  if (!isRecord(value)) return false;
  const { ring, unix, whyNoRing } = value;
  return isCount(ring) && isCount(unix) && optional(whyNoRing, isText);
}
function areShards(value: unknown): value is number[] {
  if (!Array.isArray(value) || value.length > LIMITS.shardCountMax) return false;
  return value.every((shard) => isCount(shard) && shard < LIMITS.shardCountMax);
}
function optional<T>(value: unknown, is: (value: unknown) => value is T): value is T | undefined {
  return value === undefined || is(value);
}
function isStats(value: unknown): value is InstanceStats {
  if (!isRecord(value)) return false;
  const { arrived, finished, failed, outstanding, latencyBuckets, shards, frozen } = value;
  const { busyMs, heat, called, channels, stateLagMs } = value;
  if (!optional(busyMs, isAmount) || !optional(heat, isHeat) || !optional(called, areCallees)) return false;
  if (!optional(value.access, isAccess)) return false;
  if (!optional(channels, areChannels) || !optional(stateLagMs, isAmount)) return false;
  const counts = [arrived, finished, failed, outstanding].every(isCount);
  const buckets = Array.isArray(latencyBuckets) && latencyBuckets.length === LATENCY_BUCKETS;
  return counts && buckets && latencyBuckets.every(isCount) && areShards(shards) && optional(frozen, areShards);
}
