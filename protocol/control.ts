import type { ErrorCode } from './errors.js';
import type { WritePart } from './state-transfer.js';

/**
 * Messages between the agent and the SDK inside an instance, on the Unix socket /run/shoal/agent.sock. Frames as in
 * frame.ts. The instance dials, and dials again when the agent restarts; nothing is lost meanwhile.
 */
export const CONTROL_SOCKET = '/run/shoal/agent.sock';
/** The instance listens here for calls; the agent links the socket into the folders of granted callers. */
export const FABRIC_SOCKET = '/run/shoal/fabric.sock';
/** One with replicated state listens here, too, for its own component alone: the agent links it into no other's folder. */
export const FABRIC_OWN_SOCKET = '/run/shoal/fabric-own.sock';
/** Granted callees: PEERS_FOLDER/<component>/<instance>.sock. */
/** Where an instance has the secrets that its manifest names, a file each. */
export const SECRETS_FOLDER = '/run/secrets';
export const PEERS_FOLDER = '/run/shoal-peers';
/** Folder of Unix sockets that the agent forwards host ports to: PORTS_FOLDER/<port name>.sock. */
export const PORTS_FOLDER = '/run/shoal';

/** Environment variable of an instance whose component has state: its settings, in JSON. */
export const STATE_VARIABLE = 'SHOAL_STATE';

export type StateSettings = ShardedSettings | CachedSettings;

/** As in the manifest. `replicated`: the entries of the one shard are in all instances. */
export interface ShardedSettings {
  mode: 'partitioned' | 'replicated';
  shards: number;
  shardBytesMax: number;
  valueBytesMax: number;
  /** What other instances own may be read, as it was at most so long ago; absent: it may not. */
  stalenessMs?: number;
}

/** `near`: what may be kept here of values that were read; absent: nothing. */
export interface CachedSettings {
  mode: 'cache';
  valueBytesMax: number;
  near?: { bytesMax: number; entriesMax: number };
}

export interface Route {
  /** Those of the caller's own host first. */
  instances: string[];
  /** How many of them are on the caller's own host; absent: all. */
  near?: number;
  /** Shares in which they are to get calls, above 0 and at most 1, in the order of `instances`; absent: all alike. */
  weights?: number[];
  /** Where calls go by their keys: owner of each state shard. */
  owners?: (string | null)[];
}

export type ToInstance =
  /** To a process that waits: it is this instance from now on, and dials again as such. */
  | { type: 'activate'; instance: string }
  | { type: 'routes'; revision: number; routes: Record<string, Route> }
  /** Stop accepting calls when those in flight are done, then exit with 0. */
  | { type: 'drain' }
  /** Read what is in the shard's segment, which comes on the socket for channels, to own it sooner afterwards. */
  | { type: 'shard-prepare'; shard: number; epoch: number; requestId: number }
  /** Serve the shard from its segment of this epoch, which comes on the socket for channels. `held`: as shard-held says it. */
  | {
      type: 'shard-own';
      shard: number;
      epoch: number;
      requestId: number;
      held?: { index: number; untilMs: number };
    }
  /**
   * Stop serving the shard once no call works on it; it stays mapped here until dropped or owned again. `to`: the instance that
   * owns it next, to which callers are sent on.
   */
  | { type: 'shard-freeze'; shard: number; requestId: number; to?: string }
  | { type: 'shard-drop'; shard: number; requestId: number }
  /** Take in a part of what is imported into the shard; answered when as many copies hold it as the component asks for. */
  | ({ type: 'shard-import'; requestId: number } & WritePart)
  /**
   * Answers shard-waits: other copies hold the shard's log up to this index, and until then, in ms of CLOCK_MONOTONIC of the
   * host, nobody else serves it.
   */
  | { type: 'shard-held'; shard: number; index: number; untilMs: number }
  /** Answers copies-wanted, again and again. */
  | { type: 'copies-known'; copies: KnownCopy[] };

/**
 * The copy of a shard on this host, in this file, which comes on the socket for channels: it holds the log up to `index`, of
 * which nothing is taken back, and no write that was acknowledged before `atMs`, in ms of CLOCK_MONOTONIC, is beyond it.
 */
export type KnownCopy = [shard: number, file: number, index: number, atMs: number];

export type FromInstance =
  /** `frozen`: those of `shards` that are held but no longer served. */
  | { type: 'hello'; instance: string; shards: number[]; frozen?: number[] }
  | { type: 'ready' }
  /** In place of hello, of a process that was started before there is an instance for it to be. */
  | { type: 'warm' }
  /** A caller waits for an instance of the component; sent at most once a second. */
  | { type: 'wanted'; component: string }
  /** Calls on the shard wait until other copies hold its log up to this index; said again only after shard-held. */
  | { type: 'shard-waits'; shard: number; index: number }
  /** Entries of these shards, which others own, are read here; said again at most once a second while they are. */
  | { type: 'copies-wanted'; shards: number[] }
  | { type: 'stats'; stats: InstanceStats }
  /** `code`: of the error; `removed`: entries, by an import. */
  | { type: 'shard-done'; requestId: number; shard: number; error?: string; code?: ErrorCode; removed?: number };

/** Totals since the process started; sent once a second. */
export interface InstanceStats {
  arrived: number;
  finished: number;
  failed: number;
  outstanding: number;
  latencyBuckets: number[];
  shards: number[];
  frozen?: number[];
  /** Time that the finished calls took, all together. */
  busyMs?: number;
  /** Of the state shards that calls have worked on. */
  heat?: ShardHeat[];
  /** With partitioned state that was read or written. */
  access?: StateAccess;
  /** Calls that this process made, by the component called. */
  called?: Record<string, number>;
  /** With replicated state: what is read here lacks no write that is older; absent while no entries are here. */
  stateLagMs?: number;
  /** What they go over, by the component called. */
  channels?: Record<string, CalleeChannels>;
}

/** Reads and writes of state: by state shard exactly, and of the heaviest keys at least, or so many as drawn by lot stand for. */
export interface StateAccess {
  shards: [shard: number, reads: number, writes: number][];
  keys: KeyAccess[];
}

/** Since the key has been among the heaviest. */
export type KeyAccess = [shard: number, state: string, key: string, reads: number, writes: number];

/** Open channels to the instances of one component, by carrier, and why the last one that is no ring is none. */
export interface CalleeChannels {
  ring: number;
  unix: number;
  whyNoRing?: string;
}

/**
 * Calls that worked on a state shard and finished, and their share of the time that the process worked, waiting for
 * nothing; a call on several shards is split evenly.
 */
export type ShardHeat = [shard: number, calls: number, workMs: number];

/** Fabric frames between two instances (first carrier: Unix sockets). */
export type FabricRequest =
  /**
   * `deadlineMs`: time left; a call with a stream may have none. `shards`: state shards that the call is to work on, all of
   * which the callee must serve. `stream`: the answer is to be a stream, of which so many bytes may come. `input`: items
   * follow as the callee grants credit. `moved`: who had the state shards before has sent the caller here, and they may come a
   * moment later.
   */
  | {
      type: 'call';
      id: number;
      handler: string;
      key?: string;
      shards?: number[];
      deadlineMs?: number;
      stream?: number;
      input?: boolean;
      moved?: boolean;
      body: unknown;
    }
  | { type: 'cancel'; id: number }
  /** There are no more items. */
  | { type: 'end'; id: number }
  | StreamMessage;
/** Of the streams of a call, in both directions. */
export type StreamMessage =
  /** One item, in msgpack. */
  | { type: 'item'; id: number; bytes: Uint8Array }
  /** So many bytes more may be sent, with what each item counts beside them (LIMITS.streamItemOverheadBytes). */
  | { type: 'credit'; id: number; bytes: number };
export type FabricResponse =
  | StreamMessage
  /** No more items of the input are wanted. */
  | { type: 'stop'; id: number }
  /** Ends the answer's stream, too; then without a body. */
  | { type: 'result'; id: number; body: unknown /** Calls running at the callee. */; outstanding: number }
  /**
   * `refused`: the handler has not begun, so that the call may go elsewhere without running twice. `owner`: the instance that
   * has the call's state shard next.
   */
  | {
      type: 'error';
      id: number;
      code: string;
      detail: string;
      outstanding: number;
      refused?: boolean;
      owner?: string;
    }
  /** The callee leaves: send no more calls here; hang up when those under way are answered. */
  | { type: 'leaving' };

/** Upper bound in ms of latency bucket i: 0.1 × 2^(i/2). */
export const LATENCY_BUCKETS = 48;
export function latencyBucket(ms: number): number {
  if (ms <= 0.1) return 0;
  return Math.min(LATENCY_BUCKETS - 1, Math.ceil(2 * Math.log2(ms / 0.1)));
}
