import type { CachesFigures } from './cache-figures.js';
import type { CalleeChannels, ShardHeat } from './control.js';
import type { ErrorCode } from './errors.js';
import type { TerminalSize } from './exec.js';
import type { InstanceNews } from './instance-news.js';
import type { LogPiece, LogQuestion } from './log.js';
import type { Component } from './manifest.js';
import type { Profile, ProfileRequest } from './profile.js';
import type { CopyRecord, CopyReport } from './state-copies.js';
import type { StateFigures } from './state-figures.js';

/**
 * Messages between an agent and the coordinator. Frames as in frame.ts. The agent dials and says the version it speaks; the
 * coordinator answers with the same one or, when that is later than its own, with its own, in which the agent then dials.
 */
export const LINK_VERSION = 13;
/**
 * Before version 4 samples had other fields; version 5 adds requests for profiles, 6 changes and leases, 7 fields of samples,
 * 8 commands run in instances, 9 terminals for these, 10 what certificates are revoked, 11 exports and imports of state,
 * 12 questions which hosts have an image, 13 logs.
 */
export const LINK_VERSION_MIN = 4;
/** From this version on an agent takes changes of the desired state, is answered, and keeps a lease for its singletons. */
export const LINK_VERSION_CHANGES = 6;
/** From this version on an agent runs commands in its instances. */
export const LINK_VERSION_EXEC = 8;
/** From this version on such a command can have a terminal. */
export const LINK_VERSION_TERMINAL = 9;
/** From this version on an agent is told which certificates are revoked. */
export const LINK_VERSION_REVOKED = 10;
/** From this version on an agent exports and imports the state of its components. */
export const LINK_VERSION_STATE = 11;

/** From this version on an agent may ask which hosts have an image. */
export const LINK_VERSION_SEEDS = 12;
/** From this version on an agent tells what is in the logs of its instances and builds. */
export const LINK_VERSION_LOGS = 13;

const BUILD_PREFIX = 'build:';

export interface Size {
  /** Cores, for example 0.25. */
  cpu: number;
  /** Bytes. */
  memory: number;
}

export interface DesiredInstance {
  /** `<app>-<component>-<n>`; never reused. */
  id: string;
  app: string;
  component: string;
  size: Size;
  /** Draining: receives no new calls and no shards; terminated when it has left the list. */
  draining: boolean;
  /** Share of calls that it gets beside one of weight 1; absent: 1. */
  weight?: number;
  /** Its processes are to be frozen. Absent: false. */
  paused?: boolean;
}

/** Processes of a component that wait on a host, to become instances at once. */
export interface DesiredWarm {
  app: string;
  component: string;
  count: number;
  /** What one that becomes an instance is expected to get. */
  size: Size;
}

export interface ShardMap {
  /** Rises with every change. */
  epoch: number;
  /** Index: state shard; value: instance id or null when nobody owns it yet. */
  owners: (string | null)[];
}

/** What another host has to do with this one: its instances that this host's may call, or that may call this host's. */
export interface Elsewhere {
  host: string;
  /** Where its agent takes those of other hosts, HOST:PORT; null: not known (now). */
  address: string | null;
  instances: { id: string; app: string; component: string }[];
}

/** All that one host shall be. Applying it twice changes nothing. */
export interface Desired {
  /** Store revision: an older one than already applied is ignored. */
  revision: number;
  /** app → component → its description. */
  apps: Record<string, Record<string, Component>>;
  instances: DesiredInstance[];
  /** Absent: none. */
  warm?: DesiredWarm[];
  /** `<app>/<component>` → owners, for partitioned components. */
  shards: Record<string, ShardMap>;
  /** Absent: no other host has to do with this one. */
  elsewhere?: Elsewhere[];
  /**
   * `<app>/<component>/<shard>` → where its copies are, of components of which something is on this host. Absent: of none;
   * such a component's shards are where their owners are.
   */
  copies?: Record<string, CopyRecord>;
  /** app → name → value in base64, of the apps that have an instance here. Absent: none. */
  secrets?: Record<string, Record<string, string>>;
}

/** How the desired state of a host differs from that of an earlier revision. What is absent is as it was. */
export interface DesiredChange {
  /** Revision of the desired state that it changes: an agent that holds another one asks for the whole. */
  from: number;
  revision: number;
  /** Null: gone. */
  apps?: Record<string, Record<string, Component> | null>;
  /** New ones and changed ones, whole. */
  instances?: DesiredInstance[];
  /** Ids. */
  removed?: string[];
  /** All of them. */
  warm?: DesiredWarm[];
  /** Null: gone. */
  shards?: Record<string, ShardMap | null>;
  /** All of them. */
  elsewhere?: Elsewhere[];
  /** Null: gone. */
  copies?: Record<string, CopyRecord | null>;
  /** Null: gone. */
  secrets?: Record<string, Record<string, string> | null>;
}

/** `unready`: was ready, and its own probe fails; `paused`: frozen. Of these two nothing is to be heard before LINK_VERSION_EXEC. */
export type InstancePhase =
  | 'starting'
  | 'ready'
  | 'unready'
  | 'paused'
  | 'draining'
  | 'stopping'
  | 'backoff'
  | 'failed';

/** Totals since the instance started; the coordinator takes differences. */
export interface Sample {
  cpuSeconds: number;
  /** In which it could have run but had to wait for a CPU; absent where the host cannot tell. */
  runDelaySeconds?: number;
  memoryBytes: number;
  /** Page faults served from memory, and those that waited for a disk. These and the next ones: absent where not counted. */
  faultsMinor?: number;
  faultsMajor?: number;
  systemCalls?: number;
  /** In system calls that have returned, waiting included. */
  systemCallSeconds?: number;
  ioReadBytes: number;
  ioWriteBytes: number;
  /** Block I/O asked for, and from then until done. */
  ioOperations?: number;
  ioSeconds?: number;
  /** By sockets of IPv4 and IPv6. */
  sentBytes?: number;
  receivedBytes?: number;
  /** TCP segments sent again. */
  retransmits?: number;
  /** TCP connections it made, and the time that took. */
  connects?: number;
  connectSeconds?: number;
  /** Calls that arrived, finished, and failed at this instance. */
  arrived: number;
  finished: number;
  failed: number;
  /** Calls running or waiting now. */
  outstanding: number;
  /** Latency in ms, cumulative counts; bucket i counts calls below 2^(i/2) × 0.1 ms, 48 buckets. */
  latencyBuckets: number[];
  /** As in InstanceStats; absent from a process that does not count them. */
  busyMs?: number;
  heat?: ShardHeat[];
  called?: Record<string, number>;
}

export interface InstanceStatus {
  id: string;
  app: string;
  component: string;
  phase: InstancePhase;
  size: Size;
  restarts: number;
  /** Host pid of the container's first process; absent before it runs. */
  pid?: number;
  /** Milliseconds from the agent's decision to create until ready. */
  startMs?: number;
  exit?: { code: number | null; signal: number | null; reason: string };
  /** State shards this instance says it owns. */
  shards: number[];
  /** As in InstanceStats; absent from an instance that has called nobody. */
  channels?: Record<string, CalleeChannels>;
  sample?: Sample;
}

export interface Degraded {
  what: string;
  remedy: string;
  part?: string;
}

/** What the profiler of a host goes without. */
export interface ProfilerFigures {
  /** Samples, and counts of what instances do, for which the kernel's maps had no place, since the agent started. */
  samplesLost: number;
  countsLost: number;
  /** Files now whose unwind table, or whose debug information, is left out. */
  tablesLeftOut: number;
  inlinesLeftOut: number;
  /** CPU time of the processes that read debug information, in s, since the agent started; older agents do not say. */
  inlinesSeconds?: number;
}

export interface HostInfo {
  name: string;
  cores: number;
  memoryBytes: number;
  kernel: string;
  /** Given to the agent by its operator: `zone` is the one that spreading knows of. Absent: none. */
  labels?: Record<string, string>;
  /** What keeps instances away whose component does not tolerate it. Absent: none. */
  taints?: string[];
  /** Where its agent takes those of other hosts, HOST:PORT. Absent: from an agent that takes none. */
  fabric?: string;
  /** Tells this boot of the host from others: what is in its memory is gone with it. Absent: from an agent that holds no copies. */
  boot?: string;
  /** Cores that it can give to single instances. Absent: none. */
  ownCores?: number;
  /** What this host lacks, each with its remedy. `part` names it in few words, the same on all hosts; absent: an older agent. */
  degraded: Degraded[];
}

export interface AgentEvent {
  atMs: number;
  app: string;
  component: string;
  instance: string;
  kind: string;
  message: string;
}

/** A host port of a component that takes connections. */
export interface ListeningPort {
  app: string;
  component: string;
  host: number;
}

/** Processes of a component that wait on a host, and the memory that they take: what the pool costs. */
export interface WarmProcesses {
  app: string;
  component: string;
  waiting: number;
  memoryBytes: number;
}

/** One build that a host has made or makes. */
export interface BuildStatus {
  /** Of what is built from which revision; names its log on that host. */
  id: string;
  app: string;
  component: string;
  /** A commit, or the digest of a folder's content; empty when it could not be found out. */
  revision: string;
  state: 'building' | 'built' | 'failed' | 'cancelled';
  /** What is done, or was done last, such as `3/5 RUN npm ci`. */
  step: string;
  /** Why it has failed or was cancelled; empty otherwise. */
  why: string;
  startedMs: number;
  /** Absent while it builds. */
  endedMs?: number;
  /** Digest of the manifest of the image that was made. Absent until then, and from agents that give it to no other host. */
  image?: string;
}

export interface BlobCount {
  blobs: number;
  bytes: number;
}

/** What the image store of a host has fetched and given since its agent started. */
export interface ImageFigures {
  fromHosts: BlobCount;
  /** Registries, and whatever else an image was fetched from. */
  fromSources: BlobCount;
  /** To other hosts, to their end. */
  given: BlobCount;
  /** Questions of other hosts that were refused, since so many were answered already. */
  refused: number;
  /** Blobs that another host sent wrong, too slowly or not to their end. */
  failed: number;
}

/** How a host is connected with another that it has to do with. */
export interface HostConnection {
  host: string;
  carrier: 'none' | 'tcp' | 'verbs';
  /** Whether what is carried is encrypted. Absent: an agent of before, which never does. */
  encrypted?: boolean;
  /** Why this carrier. */
  reason: string;
  /** Channels open between the two. */
  channels: number;
  /** What is said of copies of state shards goes so. Absent: an agent of before, by the link. */
  copies?: CopiesWay;
}

/** How one host's agent sends another's what is said of copies of state shards: hand-overs and replication. */
export interface CopiesWay {
  /** By RDMA, or by the link between the agents. */
  by: 'rdma' | 'link';
  /** Why. */
  reason: string;
  /** Bytes that this host has sent by RDMA, in all. */
  rdmaBytes: number;
}

export interface Hello {
  type: 'hello';
  version: number;
  host: HostInfo;
  revision: number;
  /** The highest term that the agent has obeyed. Absent: none. */
  term?: number;
}

/** With samples as bytes on the wire, as numbers once they have been read. */
export interface Report<Samples> extends InstanceNews<Samples> {
  type: 'report';
  atMs: number;
  revision: number;
  events: AgentEvent[];
  /** Absent: none. */
  ports?: ListeningPort[];
  /** Absent: none. */
  warm?: WarmProcesses[];
  /** The last of each component that is built here. Absent: none. */
  builds?: BuildStatus[];
  /** Absent: as it was said last on this connection. */
  images?: ImageFigures;
  /** Absent: none. */
  connections?: HostConnection[];
  /** Absent: it takes no profiles. */
  profiler?: ProfilerFigures;
  /** Of the copies of state shards here, those of which something is new since it was last said on this connection; null: gone. */
  copies?: Record<string, CopyReport | null>;
  /** Of the components of whose state shards something is new since it was last said on this connection; empty: gone. */
  state?: StateFigures;
  /** What was done with the caches of components here; absent: as it was said last on this connection. */
  caches?: CachesFigures;
  /** Of instances with replicated state that have all entries, by id: ms that these lag behind at most. Absent: there are none. */
  lags?: Record<string, number>;
  /**
   * Asks that the lease for its singletons be prolonged: ms since the host was booted, by the agent's clock, when it asked.
   * Absent: it has none of them.
   */
  lease?: number;
}

/** The agent does not hold what a change was made from, and asks for the whole. */
export interface Resync {
  type: 'resync';
  /** What it holds. */
  revision: number;
}

/**
 * Which hosts have the image of this reference, or of what was built (buildReference), answered by `seeds` with the same
 * number. Who asks for a build is, from then on, the one that builds it, unless the answer names another.
 */
export interface SeedsWanted {
  type: 'seeds-wanted';
  request: number;
  image: string;
}

/** A host that runs something of an image, and where its agent takes those of others, HOST:PORT. */
export interface Seed {
  host: string;
  address: string;
}

/** The name of what is built from code, by the id of a BuildStatus. No transport of images is called so. */
export function buildReference(id: string): string {
  return `${BUILD_PREFIX}${id}`;
}

/** The id in such a name. */
export function buildIdOf(reference: string): string {
  return reference.slice(BUILD_PREFIX.length);
}

export function isBuildReference(reference: string): boolean {
  return reference.startsWith(BUILD_PREFIX);
}

/** Of what is built from code: hosts that have made this image of it, or else one that makes it now. */
export interface Built {
  hosts: Seed[];
  /** Digest of the manifest; absent: nobody has made it. */
  manifest?: string;
  /** Absent: nobody but who asks. */
  builder?: string;
}

/** Why there is no profile for the request of this number. */
export interface NoProfile {
  type: 'no-profile';
  request: number;
  why: string;
}

/** The answer to the request of this number. */
export type ProfileAnswer = { type: 'profile'; request: number; profile: Profile } | NoProfile;

/** Why there is no piece of a log for the request of this number. */
export interface NoLog {
  type: 'no-log';
  request: number;
  why: string;
}

/** The answer to the request of this number. */
export type LogAnswer = ({ type: 'log'; request: number } & LogPiece) | NoLog;

/** What was asked for with this ticket, a command or access to state, cannot be had. */
export interface NoExec {
  type: 'no-exec';
  ticket: string;
  code: ErrorCode;
  why: string;
}

/**
 * The first message on a connection of its own, for what was asked for with this ticket; answered with a welcome. What follows is
 * said between the agent and who asked (exec.ts, state-transfer.ts).
 */
export interface Attach {
  type: 'attach';
  ticket: string;
}

export type ToCoordinator =
  | Hello
  | Report<Uint8Array>
  | Resync
  | ProfileAnswer
  | LogAnswer
  | NoExec
  | Attach
  | SeedsWanted;

/** `term`: of the leader who says it; an agent obeys none that is lower than one it has obeyed. */
export type ToAgent =
  | { type: 'welcome'; version: number; term?: number }
  | { type: 'desired'; desired: Desired; term?: number }
  | { type: 'change'; change: DesiredChange; term: number }
  /**
   * Answers each report, so that an agent notices when its leader is cut off. `lease`: singletons may run until
   * LIMITS.singletonLeaseMs after what the report asked with.
   */
  | { type: 'heard'; term: number; lease?: number }
  /** This coordinator does not lead; the leader's agents dial it at `link`, HOST:PORT, where that is known. */
  | { type: 'elsewhere'; link: string | null }
  /** Serials of the certificates that are revoked, all of them: nobody who shows one is a coordinator or an agent. */
  | { type: 'revoked'; term: number; serials: string[] }
  | { type: 'profile'; request: number; of: ProfileRequest }
  /** What the log holds from there on, and where that ends. The agent keeps nothing between two such questions. */
  | { type: 'log'; request: number; of: LogQuestion }
  | ({ type: 'seeds'; request: number } & Built)
  /** Run a command in an instance, with a terminal where its size is given, and attach it with this ticket. */
  | {
      type: 'exec';
      ticket: string;
      term: number;
      instance: string;
      command: string[];
      terminal?: TerminalSize | null;
    }
  /** Attach a connection with this ticket on which state shards of the component are read, or also written. */
  | { type: 'state'; ticket: string; term: number; app: string; component: string; writes: boolean };
